"""The proof end to end: orders on the sandbox, its replies as they came, every row recomputed to the last digit."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pybit.unified_trading import HTTP

from bybit.client import Breaker, BybitClient, Reply, Timeout, TokenBucket
from bybit.sandbox import SandboxConfig
from bybit.sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from bybit.sandbox.faults import FaultPlan
from tests.sandbox import running
from tests.sandbox_clients.simulated import ALIVE, InProcessTransport, SimulatedTime
from validation.reconcile import AccountTerms, Reconciliation, reconcile
from validation.reconcile_bookings import Kind, Source
from validation.reconcile_rows import Verdict
from validation.reconcile_totals import totals_of

NOW = datetime(2025, 3, 1, 7, 30, tzinfo=UTC)
LISTS = {
    "/v5/execution/list": "executions",
    "/v5/account/transaction-log": "log",
    "/v5/position/closed-pnl": "closed",
}


class Recorder(InProcessTransport):
    """Keeps the lists of the account as they came."""

    pages: list[tuple[str, bytes]]

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: Timeout) -> Reply:
        reply = super().send(method, url, headers, body, timeout)
        for path, name in LISTS.items():
            if path in url:
                self.pages.append((f"{name}-{len(self.pages)}.json", reply.body))
        return reply


@contextmanager
def trading(tier: str) -> Iterator[tuple[BybitClient, Recorder, SimulatedTime]]:
    time = SimulatedTime(NOW)
    config = SandboxConfig(now=NOW, speed=0.0, balance="1000000", tier=tier)
    transport = Recorder(time, FaultPlan(), config)
    transport.pages = []
    keys = (DEFAULT_KEY, DEFAULT_SECRET)
    yield (
        BybitClient(
            *keys,
            base_urls=[ALIVE],
            transport=transport,
            clock=time,
            limiter=TokenBucket(clock=time),
            breaker=Breaker(clock=time),
            rng=random.Random(1),
        ),
        transport,
        time,
    )
    transport.close()


def trade_for_a_day(client: BybitClient, time: SimulatedTime) -> None:
    draw = random.Random(5)
    for turn in range(48):
        symbol, step = (("BTCUSDT", "0.001"), ("SOLUSDT", "0.1"))[turn % 2]
        side = draw.choice(("Buy", "Sell"))
        order: dict[str, Any] = {"orderType": "Market"}
        if turn % 4 == 2:
            # A touch away from the price, so that some rest and are made.
            (ticker,) = client.get_tickers("linear", symbol)
            away = Decimal("0.9995") if side == "Buy" else Decimal("1.0005")
            price = (ticker.last_price * away).quantize(Decimal("0.1") if symbol == "BTCUSDT" else Decimal("0.01"))
            order = {"orderType": "Limit", "price": str(price), "timeInForce": "GTC"}
        qty = str(Decimal(step) * draw.randint(1, 400))
        client.place_order(category="linear", symbol=symbol, side=side, qty=qty, **order)
        time.sleep(1_800)


def explain(found: Reconciliation) -> list[str]:
    return [
        f"{j.booking.place}: {j.verdict} {j.reason} {j.detail}" for j in found.judgements if j.verdict != Verdict.EXACT
    ] + [problem.text for problem in found.problems]


@pytest.fixture(scope="module", params=["vip0", "vip3"])
def day(request: pytest.FixtureRequest) -> tuple[str, list[tuple[str, bytes]]]:
    with trading(request.param) as (client, transport, time):
        trade_for_a_day(client, time)
        client.get_executions()
        client.get_transactions(NOW)
        client.get_closed_pnl()
        return request.param, transport.pages


def test_a_day_of_the_sandbox_is_exact_in_fills_funding_log_and_closed_pnl(
    day: tuple[str, list[tuple[str, bytes]]],
) -> None:
    tier, pages = day
    found = reconcile(pages, AccountTerms(tier=tier))
    assert [text for text in explain(found) if "closed-" not in text] == []
    assert found.is_explained
    kinds = {(j.booking.source, j.booking.kind) for j in found.judgements}
    assert {
        (Source.EXECUTIONS, Kind.FUNDING),
        (Source.TRANSACTION_LOG, Kind.TRADE),
        (Source.CLOSED_PNL, Kind.CLOSED),
    } <= kinds
    assert {j.booking.liquidity for j in found.judgements if j.booking.source is Source.EXECUTIONS} >= {
        "maker",
        "taker",
    }


def test_the_money_of_the_day_is_what_the_wallet_lost(day: tuple[str, list[tuple[str, bytes]]]) -> None:
    tier, pages = day
    found = reconcile(pages, AccountTerms(tier=tier))
    log = [j.booking for j in found.judgements if j.booking.source is Source.TRANSACTION_LOG]
    balance = max(log, key=lambda line: line.time_ms or 0).balance
    assert balance is not None
    assert balance - 1_000_000 == totals_of(found).by_coin["USDT"].net


def test_an_event_in_executions_and_log_counts_its_money_once(day: tuple[str, list[tuple[str, bytes]]]) -> None:
    tier, pages = day
    both = totals_of(reconcile(pages, AccountTerms(tier=tier))).by_coin["USDT"]
    alone = totals_of(reconcile([p for p in pages if p[0].startswith("exec")], AccountTerms(tier=tier))).by_coin["USDT"]
    assert (both.fees_paid, both.funding_paid) == (alone.fees_paid, alone.funding_paid)
    assert both.n_rows == alone.n_rows


def test_the_wrong_tier_explains_fees_by_the_rate_the_rows_name_only() -> None:
    with trading("vip3") as (client, transport, _):
        client.place_order(category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.5")
        client.get_executions()
    rows = reconcile(transport.pages, AccountTerms(tier="vip0")).judgements
    assert {(row.verdict, row.reason) for row in rows} == {(Verdict.EXACT, "symbol rate")}
    assert all("the row itself names 0.00035" in row.source for row in rows)


def test_a_page_left_out_is_noticed(day: tuple[str, list[tuple[str, bytes]]]) -> None:
    tier, pages = day
    logs = [page for page in pages if page[0].startswith("log")]
    lines = orjson.loads(logs[0][1])
    del lines["result"]["list"][3]
    found = reconcile([(logs[0][0], orjson.dumps(lines)), *logs[1:]], AccountTerms(tier=tier))
    assert not found.is_explained
    assert any("missing" in problem.text for problem in found.problems)


def test_what_pybit_fetches_page_by_page_is_exact() -> None:
    with running(SandboxConfig(address_limit=None, account_limits=False)) as url:
        session = HTTP(api_key=DEFAULT_KEY, api_secret=DEFAULT_SECRET, max_retries=1)
        session.endpoint = url
        for qty in ("0.011", "0.007", "0.003"):
            for side in ("Buy", "Sell"):
                session.place_order(category="linear", symbol="BTCUSDT", side=side, orderType="Market", qty=qty)
        files: list[tuple[str, bytes]] = []
        calls = {"executions": session.get_executions, "log": session.get_transaction_log}
        for name, call in calls.items():
            asked: dict[str, Any] = {"category": "linear", "limit": 4}
            while True:
                reply = call(**asked)
                files.append((f"{name}-{len(files)}.json", orjson.dumps(reply)))
                asked["cursor"] = reply["result"]["nextPageCursor"]
                if not asked["cursor"]:
                    break
        session.client.close()
    found = reconcile(files, AccountTerms())
    assert explain(found) == []
    assert len(files) >= 4
    assert totals_of(found).rows["exact"] == 12
    # Every page but the last of each list: the end is open.
    found = reconcile([file for file in files if b'"nextPageCursor":""' not in file[1]], AccountTerms())
    assert not found.is_explained
