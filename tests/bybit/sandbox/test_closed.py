"""A venue that closes for a while: what it shows, refuses and leaves undone, and how it opens again."""

from pathlib import Path

import pytest

from bybit.rules.candles import Category, Interval, PriceType, SeriesKey
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from bybit.sandbox import Maintenance, SandboxConfig
from bybit.sandbox.closed import ClosedMarket
from bybit.sandbox.market import Window
from tests.bybit.sandbox.desks import HOUR, NOW_MS, SYNTHETIC, Desk, ScriptedMarket
from tests.bybit.sandbox.wire import MINUTE, candle_file, minutes

BTC = {"category": "linear", "symbol": "BTCUSDT"}
SHUT = Maintenance(Period.from_ms(NOW_MS + 10 * MINUTE, NOW_MS + 40 * MINUTE), "upgrade")


def closing(*course: tuple[int, str, str], **terms: str) -> Desk:
    return Desk(ClosedMarket(ScriptedMarket((0, "50000", "50000"), *course), [SHUT]), **terms)


def opens(config: SandboxConfig, price: PriceType, interval: Interval, first: int, last: int) -> list[int]:
    key = SeriesKey(Category.LINEAR, "BTCUSDT", price, interval)
    rows = config.market().candles(key, Window(first, last, 1_000), last + HOUR)
    return [int(time - first) // MINUTE for time in rows[:, 0]]


def test_trades_leave_no_candles_while_mark_and_index_go_on() -> None:
    start = NOW_MS // HOUR * HOUR - 24 * HOUR
    config = SandboxConfig(maintenances=(Maintenance(Period.from_ms(start + 20 * MINUTE, start + 50 * MINUTE)),))
    open_minutes = [*range(20), *range(50, 60)]
    for price, expected in ((PriceType.LAST, open_minutes), (PriceType.MARK, [*range(60)]), (PriceType.INDEX, None)):
        found = opens(config, price, Interval.MINUTE_1, start, start + HOUR - 1)
        assert found == (expected or [*range(60)])
    # The hour was traded in before and after.
    assert opens(config, PriceType.LAST, Interval.HOUR_1, start, start + HOUR - 1) == [0]
    assert opens(config, PriceType.LAST, Interval.MINUTE_15, start, start + HOUR - 1) == [0, 15, 45]


def test_a_tape_keeps_a_candle_that_reaches_out_of_the_maintenance(tmp_path: Path) -> None:
    candle_file(tmp_path / "bybit_linear_BTCUSDT_1m.parquet", minutes(NOW_MS, 60))
    shut = Maintenance(Period.from_ms(NOW_MS + 10 * MINUTE, NOW_MS + 12 * MINUTE + 30_000))
    config = SandboxConfig(tape=tmp_path, maintenances=(shut,))
    found = opens(config, PriceType.LAST, Interval.MINUTE_1, NOW_MS, NOW_MS + HOUR - 1)
    assert found == [m for m in range(60) if m not in (10, 11)]


def test_it_is_announced_ahead_and_over_afterwards() -> None:
    rows = [SHUT.row(NOW_MS + n * MINUTE) for n in (0, 10, 39, 40)]
    assert [row["state"] for row in rows] == ["scheduled", "ongoing", "ongoing", "completed"]
    assert len({row["id"] for row in rows}) == 1
    assert (rows[0]["serviceTypes"], rows[0]["begin"]) == ([1], str(SHUT.period.start_ms))


def test_orders_are_refused_while_it_lasts_and_taken_again_after_it() -> None:
    desk = closing()
    waiting = desk.place("Buy", "0.1", "49000")
    desk.advance(10 * MINUTE)
    order = {**BTC, "side": "Buy", "orderType": "Market", "qty": "0.1"}
    assert desk.refusal("order/create", **order) == 110074
    assert desk.refusal("order/amend", **BTC, orderId=waiting, price="48000") == 110074
    assert desk.refusal("order/cancel", **BTC, orderId=waiting) == 110074
    assert desk.refusal("order/cancel-all", **BTC) == 110074
    desk.advance(30 * MINUTE)
    assert desk.refusal("order/create", **order) == 0
    assert desk.refusal("order/cancel", **BTC, orderId=waiting) == 0


def test_an_order_waits_however_far_the_price_goes_and_fills_when_it_opens() -> None:
    desk = closing((15 * MINUTE, "48000", "48000"), (20 * MINUTE, "51000", "51000"), (39 * MINUTE, "48500", "48500"))
    touched = desk.place("Buy", "0.1", "49000")
    passed_over = desk.place("Buy", "0.1", "48200")
    desk.advance(39 * MINUTE)
    assert desk.order(touched)["orderStatus"] == "New"
    assert desk.last() == 50_000
    desk.advance(MINUTE)
    assert desk.order(touched)["orderStatus"] == "Filled"
    assert desk.order(touched)["updatedTime"] == str(SHUT.period.end_ms)
    assert desk.order(passed_over)["orderStatus"] == "New"
    assert desk.last() == 48_500


@pytest.mark.parametrize("mode", ["REGULAR_MARGIN", "ISOLATED_MARGIN"])
def test_nobody_is_liquidated_while_nobody_can_trade(mode: str) -> None:
    ruin_and_back = (15 * MINUTE, "30000", "30000"), (30 * MINUTE, "50000", "50000"), (50 * MINUTE, "30000", "30000")
    desk = closing(*ruin_and_back, balance="1000", margin_mode=mode)
    desk.place("Buy", "0.15")
    desk.advance(45 * MINUTE)
    assert desk.position()["size"] == "0.15"
    desk.advance(10 * MINUTE)
    assert desk.position()["size"] == "0"


def test_funding_is_settled_at_the_mark_meanwhile() -> None:
    desk = closing((15 * MINUTE, "52000", "52000"))
    desk.place("Buy", "0.1")
    # 13:47 and 13 minutes: the hour lies in the maintenance.
    desk.advance(20 * MINUTE)
    (row,) = desk.rows("account/transaction-log", type="SETTLEMENT")
    assert (row["tradePrice"], row["funding"]) == ("50000", "-0.5")
    assert desk.position()["markPrice"] == "52000"


def test_maintenances_that_overlap_are_refused() -> None:
    later = Maintenance(Period.from_ms(SHUT.period.end_ms - 1, SHUT.period.end_ms + HOUR))
    with pytest.raises(InvalidInput, match="make them one"):
        ClosedMarket(SYNTHETIC, [later, SHUT])


def test_one_that_follows_at_once_keeps_the_venue_closed() -> None:
    later = Maintenance(Period.from_ms(SHUT.period.end_ms, SHUT.period.end_ms + HOUR))
    market = ClosedMarket(ScriptedMarket((0, "50000", "50000"), (41 * MINUTE, "1", "1")), [later, SHUT])
    ticks = list(market.ticks(Category.LINEAR, "BTCUSDT", NOW_MS, NOW_MS + 3 * HOUR))
    assert [(tick.time_ms, tick.jumps) for tick in ticks] == [(later.period.end_ms, True)]
