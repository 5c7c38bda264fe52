"""Fees: the schedule that a tier's name stands for, and the account's own rates."""

from collections.abc import Sequence
from typing import Any

from bybit.client.rest import BybitClient
from bybit.history.manager import HistoricalDataManager
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fees import FeeSchedule
from tasks.connections import LIVE_URL, store
from tasks.plans import ACCOUNT_TIER, table_tier
from tasks.settings import settings


def schedule_of(tier: str, category: Category) -> tuple[FeeSchedule, str, dict[str, str]]:
    """Return the fee schedule of ``tier``, the tier's name in it, and what is assumed, in words.

    ``account`` stands for what the account itself was told it pays, from the day on which it asked; before that day
    the table's vip0 holds, which the result says.

    Raises
    ------
    InvalidInput
        For ``account`` when none of its rates is stored.
    """
    if tier != ACCOUNT_TIER:
        return FeeSchedule.builtin(), tier, {}
    snapshots = store().fees.snapshots(category)
    if not snapshots:
        raise InvalidInput(
            f"no fee rates of an account for {category} contracts are stored: perpflow ingest --fee-rates asks the"
            " venue for them (needs a key)"
        )
    first = min(snapshot.time for snapshot in snapshots)
    words = {"fees_before_the_account_told_its_own": f"{table_tier(tier)} before {first:%Y-%m-%d %H:%M} UTC"}
    return FeeSchedule.builtin().with_snapshots(snapshots), table_tier(tier), words


def ingest_fee_rates(base_url: str, symbols: Sequence[str], category: Category) -> list[dict[str, Any]]:
    """Store what the account pays for ``symbols`` today; return the rates as plain values. Needs a key.

    Idempotent: rates that have not changed are not written twice.

    Raises
    ------
    InvalidInput
        When the key would go to the main venue although ``BYBIT_ENVIRONMENT`` says that it belongs elsewhere.
    """
    known = settings()
    if base_url == LIVE_URL and known.bybit_environment != "mainnet":
        raise InvalidInput(
            f"--fee-rates would send the key to {base_url}, and BYBIT_ENVIRONMENT is {known.bybit_environment}: set"
            " it to mainnet if the key is one of the main venue, or give --base-url"
        )
    with BybitClient(known.bybit_api_key, known.bybit_api_secret, base_urls=[base_url]) as client:
        found = HistoricalDataManager(client, store()).ingest_fee_rates(category, symbols)
    return [
        {
            "symbol": snapshot.symbol,
            "maker": str(snapshot.rates.maker),
            "taker": str(snapshot.rates.taker),
            "time": snapshot.time.isoformat(),
        }
        for snapshot in found
    ]
