"""The venue's API, checked with the keys of this machine."""

from typing import Any

from bybit.client.rest import BybitClient
from bybit.rules.errors import InvalidInput
from tasks.settings import Settings, settings
from validation.api import BybitAPIValidator, environment_of

_DEMO = "https://api-demo.bybit.com"


def check_api(base_url: str | None, symbol: str, *, trade: bool) -> dict[str, Any]:
    """Return the report on one v5 endpoint: the one given, else that of ``BYBIT_ENVIRONMENT``.

    Reads only, unless ``trade`` asks for one order far from the market, cancelled at once.

    Raises
    ------
    InvalidInput
        When an order would reach the main venue although ``BYBIT_ENVIRONMENT`` does not say mainnet.
    """
    known = settings()
    with _client(known, base_url) as client:
        if trade and environment_of(client.base_urls) == "mainnet" and known.bybit_environment != "mainnet":
            raise InvalidInput(
                f"--trade would send an order to {client.base_urls[0]}, and BYBIT_ENVIRONMENT is"
                f" {known.bybit_environment}: real money needs both to say so"
            )
        return BybitAPIValidator(client, symbol=symbol, trade=trade).run().to_dict()


def _client(known: Settings, base_url: str | None) -> BybitClient:
    if base_url is not None:
        hosts: list[str] | None = [base_url]
    else:
        hosts = [_DEMO] if known.bybit_environment == "demo" else None
    return BybitClient(
        known.bybit_api_key,
        known.bybit_api_secret,
        testnet=known.bybit_environment != "mainnet",
        base_urls=hosts,
    )
