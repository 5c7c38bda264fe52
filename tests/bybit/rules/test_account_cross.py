"""Cross margin in the ledger: one balance carries every position, and all are lost together."""

from decimal import Decimal as D
from decimal import localcontext
from fractions import Fraction as F

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import (
    BackingEvent,
    BarEvent,
    BarsEvent,
    Contract,
    Event,
    FillEvent,
    FundingEvent,
    MarkCandle,
    MarkEvent,
    MarksEvent,
    Unmarked,
)
from bybit.rules.margin import MaintenanceTier
from tests.bybit.rules.amounts import derivatives
from tests.bybit.rules.plain_ledger import PlainLedger

TAKER, MAKER = Liquidity.TAKER, Liquidity.MAKER
RATES = FeeRates(maker=D("0.0002"), taker=D("0.001"))
FLAT_1 = [MaintenanceTier(None, D("0.01"), D(0))]
# 0.5 % up to 1,000 and 1 % above, chained.
TWO_TIERS = [MaintenanceTier(D(1000), D("0.005"), D(0)), MaintenanceTier(None, D("0.01"), D(5))]


def account(cash="100", *, symbols=("AAAUSDT", "BBBUSDT"), leverage="10", category=Category.LINEAR, **changes):
    terms = {"fees": RATES, "margin_mode": "cross", "unmarked": Unmarked.LAST_FILL} | changes
    tiers = terms.pop("tiers", FLAT_1)
    return Account(D(cash), contracts=[Contract(s, category, D(leverage), tiers) for s in symbols], **terms)


def gap_of_identity(ledger: Account, start: D) -> D:
    totals = ledger.totals
    with localcontext(prec=50):
        return start + totals.realized - totals.fees - totals.funding - totals.liquidation_loss - ledger.cash


def test_the_whole_balance_carries_a_position_that_isolated_margin_would_lose() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    # Isolated, 50 of margin end at about 90.9. Here 99.5 of cash carry the loss of 90 with a maintenance of 4.1.
    assert ledger.mark(2, "AAAUSDT", D(82))["kind"] == "mark"
    assert ledger.positions["AAAUSDT"].liquidation_price is None
    assert ledger.positions["AAAUSDT"].margin == 50


def test_equality_of_balance_and_maintenance_liquidates() -> None:
    # 99.5 + 5 (p - 100) = 5 p 0.01 at p = 400.5 / 4.95 = 8010 / 99 = 80.9090...
    for price, kind in ((D("80.91"), "mark"), (D("80.909"), "liquidation")):
        ledger = account()
        ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
        assert ledger.mark(2, "AAAUSDT", price)["kind"] == kind
    exact = account("105.5")
    exact.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    # 105 + 5 (p - 100) = 0.05 p at p = 395 / 4.95 = 79.7979...; with cash of 104 it is 80 exactly: 104 - 100 = 4.
    exact.funding(2, "AAAUSDT", D("0.002"), D(100))
    assert exact.cash == 104
    assert exact.mark(3, "AAAUSDT", D("80.0000000000000000001"))["kind"] == "mark"
    assert exact.mark(4, "AAAUSDT", D(80))["kind"] == "liquidation"


def test_all_positions_go_together_each_at_its_mark_and_pays_the_taker_fee() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)  # fee 0.5
    ledger.fill(1, "BBBUSDT", D(-20), D(10), MAKER)  # fee 0.04
    ledger.marks(2, {"AAAUSDT": D(100), "BBBUSDT": D(9)})
    assert ledger.equity == D("119.46")
    # Loss of 110 on the long, gain of 20 on the short: 9.46 left against 3.9 + 1.8 of maintenance.
    assert ledger.mark(3, "AAAUSDT", D(78))["kind"] == "mark"
    # 99.46 - 115 + 20 = 4.46 against 3.85 + 1.8 = 5.65.
    row = ledger.mark(4, "AAAUSDT", D(77))
    long, short = ledger.liquidations
    assert (long["symbol"], long["qty"], long["trigger_mark"], long["fee"], long["loss"]) == (
        "AAAUSDT",
        5,
        77,
        D("0.385"),
        115,
    )
    assert (short["symbol"], short["qty"], short["trigger_mark"], short["fee"], short["loss"]) == (
        "BBBUSDT",
        -20,
        9,
        D("0.18"),
        -20,
    )
    assert row == short
    assert {line["i"] for line in ledger.liquidations} == {4}
    assert {line["how"] for line in ledger.liquidations} == {"cross"}
    assert ledger.cash == D("3.895")
    assert ledger.totals.liquidation_loss == 95
    assert ledger.totals.fees == D("1.105")
    assert ledger.totals.fund == 0
    assert not any(position.size for position in ledger.positions.values())


def test_cash_floors_at_zero_and_the_fund_bears_the_rest() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.mark(2, "AAAUSDT", D(70))
    # 99.5 - 150 - 0.35: the fund pays 50.85.
    assert ledger.cash == 0
    assert ledger.totals.fund == D("-50.85")
    assert ledger.totals.liquidation_loss == D("99.15")
    assert ledger.totals.fees == D("0.85")
    assert gap_of_identity(ledger, D(100)) == 0


def test_the_funds_payment_is_shared_by_value() -> None:
    ledger = account("200")
    ledger.fill(1, "AAAUSDT", D(10), D(100), TAKER)
    ledger.fill(1, "BBBUSDT", D(50), D(10), TAKER)
    ledger.marks(2, {"AAAUSDT": D(60), "BBBUSDT": D(6)})
    # Cash 198.5, losses 400 and 200, fees 0.6 and 0.3: 402.4 short, two thirds of the value is the first contract's.
    first, second = ledger.liquidations
    assert float(first["fund"]) == pytest.approx(-402.4 * 2 / 3, rel=1e-15)
    assert float(second["fund"]) == pytest.approx(-402.4 / 3, rel=1e-15)
    assert float(first["loss"]) == pytest.approx(400 - 402.4 * 2 / 3, rel=1e-15)
    assert ledger.cash == second["cash"] == 0
    assert abs(gap_of_identity(ledger, D(200))) < D("1e-40")


def test_cash_lands_on_the_floor_to_the_last_digit() -> None:
    ledger = account("0.3", symbols=("AAAUSD", "BBBUSD", "CCCUSD"), category=Category.INVERSE)
    prices = {"AAAUSD": D(7), "BBBUSD": D(3), "CCCUSD": D(11)}
    for symbol, price in prices.items():
        ledger.fill(1, symbol, D(1), price, TAKER)
    ledger.marks(2, {symbol: price / 3 for symbol, price in prices.items()})
    assert ledger.totals.fund < 0
    assert ledger.cash == ledger.log[-1]["cash"] == 0


def test_an_inverse_account_is_lost_in_coin() -> None:
    ledger = account("0.01", symbols=("BTCUSD",), category=Category.INVERSE)
    ledger.fill(1, "BTCUSD", D(3000), D(50000), TAKER)  # 0.06 BTC, fee 0.00006, cash 0.00994
    # 0.00994 + 0.06 - 3000/p = 30/p at p = 3030 / 0.06994 = 43322.8...
    assert ledger.mark(2, "BTCUSD", D(43323))["kind"] == "mark"
    row = ledger.mark(3, "BTCUSD", D(43322))
    with localcontext(prec=50):
        assert row["loss"] == D(3000) / D(43322) - D(3000) / D(50000)
        assert row["fee"] == D(3000) / D(43322) * D("0.001")
    assert abs(gap_of_identity(ledger, D("0.01"))) < D("1e-45")
    assert 0 < ledger.cash < D("0.0007")


def test_an_unrealized_loss_binds_what_an_opening_fill_may_use_and_a_gain_does_not_add() -> None:
    for mark, accepted in (("100", True), ("95", True), ("94", False), ("120", True)):
        ledger = account()
        ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
        ledger.mark(2, "AAAUSDT", D(mark))
        # 99.5 of cash less 50 locked: 49.5; a loss of 25 leaves 24.5, one of 30 leaves 19.5. The fill needs 20 + 0.2.
        row = ledger.fill(3, "BBBUSDT", D(20), D(10), TAKER)
        assert row["kind"] == ("fill" if accepted else "rejected"), mark
    richer = account()
    richer.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    richer.mark(2, "AAAUSDT", D(200))
    row = richer.fill(3, "BBBUSDT", D(50), D(10), TAKER)
    assert (row["kind"], row["needed"], row["available"]) == ("rejected", D("50.5"), D("49.5"))


def test_gains_and_losses_are_netted_before_a_loss_binds() -> None:
    ledger = account("200")
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.fill(1, "BBBUSDT", D(-50), D(10), TAKER)
    ledger.marks(2, {"AAAUSDT": D(90), "BBBUSDT": D("9.4")})
    # Cash 199, locked 100, net loss of 50 - 30 = 20.
    row = ledger.fill(3, "AAAUSDT", D(9), D(100), TAKER)
    assert (row["kind"], row["available"]) == ("rejected", 79)


def test_a_flip_counts_the_loss_it_realizes_once() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.mark(2, "AAAUSDT", D(90))
    # Closing realizes -50 and frees 50: 99.5 - 50 = 49.5 remain, and nothing is held that could lose more.
    row = ledger.fill(3, "AAAUSDT", D(-11), D(90), TAKER)
    assert (row["kind"], row["available"], row["needed"]) == ("rejected", D("49.5"), D("54.99"))
    assert ledger.fill(3, "AAAUSDT", D(-10), D(90), TAKER)["qty"] == -5


def test_a_pure_reduction_passes_whatever_the_balance_is() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(9), D(100), TAKER)
    ledger.mark(2, "AAAUSDT", D(91))
    row = ledger.fill(3, "AAAUSDT", D(-8), D(91), TAKER)
    assert (row["kind"], row["realized"], row["margin"]) == ("fill", -72, 10)


def test_backing_carries_what_cash_does_not_and_cash_may_fall_to_its_negative() -> None:
    ledger = account("0")
    ledger.back(0, D(100))
    assert ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)["kind"] == "fill"
    assert ledger.cash == D("-0.5")
    assert ledger.mark(2, "AAAUSDT", D(81))["kind"] == "mark"
    assert ledger.equity == D("-95.5")
    row = ledger.mark(3, "AAAUSDT", D(70))
    assert (row["kind"], ledger.cash) == ("liquidation", -100)
    # -0.5 - 150 - 0.35 would be 50.85 below the floor.
    assert ledger.totals.fund == D("-50.85")
    assert gap_of_identity(ledger, D(0)) == 0


def test_backing_that_loses_its_value_takes_the_account_with_it() -> None:
    ledger = account("50")
    ledger.back(0, D(60))
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.mark(2, "AAAUSDT", D(90))
    # 49.5 - 50 = -0.5 against 4.5 of maintenance: the other coins must be worth more than 5.
    ledger.replay([BackingEvent(3, D("5.01"))])
    assert not ledger.liquidations
    ledger.back(4, D(5), judge=False)
    assert not ledger.liquidations
    ledger.back(5, D(5))
    assert [row["kind"] for row in ledger.log[-2:]] == ["backing", "liquidation"]


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity"])
def test_backing_that_is_no_amount_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="0 or more"):
        account().back(1, D(value))


def test_backing_is_refused_in_isolated_margin() -> None:
    with pytest.raises(InvalidInput, match="for cross margin"):
        account(margin_mode="isolated").back(1, D(5))


def test_a_funding_payment_can_be_the_last_straw() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.mark(2, "AAAUSDT", D(81))
    # 99.5 - 95 = 4.5 against 4.05: a payment of 0.45 makes them equal, 405 x 0.45 / 405.
    ledger.funding(3, "AAAUSDT", D("0.001"), D(81))
    assert not ledger.liquidations
    ledger.funding(4, "AAAUSDT", D("0.0001"), D(81), judge=False)
    assert not ledger.liquidations
    ledger.funding(5, "AAAUSDT", D("0.00002"), D(81))
    assert [row["kind"] for row in ledger.log[-2:]] == ["funding", "liquidation"]
    assert [row["i"] for row in ledger.log[-2:]] == [4, 4]


def test_what_is_held_without_any_mark_counts_at_its_last_fill_or_is_refused() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    assert ledger.mark(2, "BBBUSDT", D(10))["equity"] == D("99.5")
    strict = account(unmarked=Unmarked.REFUSE)
    strict.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    with pytest.raises(NotEstablished, match="AAAUSDT is held"):
        strict.mark(2, "BBBUSDT", D(10))
    with pytest.raises(NotEstablished, match="AAAUSDT is held"):
        strict.fill(2, "BBBUSDT", D(1), D(10), TAKER)
    strict.marks(2, {"AAAUSDT": D(100)}, judge=False)
    assert strict.fill(2, "BBBUSDT", D(1), D(10), TAKER)["kind"] == "fill"


def test_joint_marks_are_judged_once_and_single_marks_one_by_one() -> None:
    fills = [FillEvent(1, "AAAUSDT", D(5), D(100), TAKER), FillEvent(1, "BBBUSDT", D(-40), D(10), TAKER)]
    # The long loses 120, the short gains 120: harmless together, fatal one after the other.
    together, apart = account(), account()
    together.replay([*fills, MarksEvent(2, {"AAAUSDT": D(76), "BBBUSDT": D(7)})])
    assert not together.liquidations
    apart.replay([*fills, MarkEvent(2, "AAAUSDT", D(76)), MarkEvent(2, "BBBUSDT", D(7))])
    assert len(apart.liquidations) == 2


def test_marks_that_are_only_noted_neither_judge_nor_come_after_funding() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    row = ledger.marks(2, {"AAAUSDT": D(50)}, judge=False)
    assert (row["kind"], row["equity"]) == ("marks", D("-150.5"))
    ledger.funding(2, "AAAUSDT", D(0), D(100))
    assert ledger.positions["AAAUSDT"].size == 5


def test_a_bar_liquidates_at_the_first_price_on_the_way_down() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    row = ledger.bar(2, "AAAUSDT", D(100), D(110), D(70), D(105))
    assert row["gap"] is False
    assert F(row["trigger_mark"]).limit_denominator(10**6) == F(8010, 99)
    # What is left is maintenance less the fee on the same value.
    assert float(ledger.cash) == pytest.approx(5 * 8010 / 99 * (0.01 - 0.001), rel=1e-15)


def test_a_bar_that_opens_beyond_it_liquidates_at_the_open() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    row = ledger.bar(2, "AAAUSDT", D(80), D(110), D(70), D(105))
    assert (row["gap"], row["trigger_mark"]) == (True, 80)


def test_bars_of_one_instant_move_together_toward_what_hurts() -> None:
    fills = [FillEvent(1, "AAAUSDT", D(5), D(100), TAKER), FillEvent(1, "BBBUSDT", D(-20), D(10), TAKER)]
    ledger = account()
    # Cash 99.3. At a fraction f: -100 f on the long, -80 f on the short, maintenance 5 - f and 2 + 0.8 f.
    # 99.3 - 180 f = 7 - 0.2 f at f = 92.3 / 179.8.
    candles = {"AAAUSDT": MarkCandle(D(100), D(120), D(80), D(100)), "BBBUSDT": MarkCandle(D(10), D(14), D(6), D(10))}
    ledger.replay([*fills, BarsEvent(2, candles)])
    fraction = F(923, 1798)
    long, short = ledger.liquidations
    assert F(long["trigger_mark"]).limit_denominator(10**9) == 100 - 20 * fraction
    assert F(short["trigger_mark"]).limit_denominator(10**9) == 10 + 4 * fraction
    assert [row["kind"] for row in ledger.log] == ["fill", "fill", "liquidation", "liquidation"]


def test_bars_that_spare_the_account_leave_one_row_and_the_closes_as_marks() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    row = ledger.bars(2, {"AAAUSDT": MarkCandle(D(100), D(120), D(85), D(101))})
    assert (row["kind"], row["symbol"], row["equity"]) == ("bars", None, D("104.5"))


def test_a_contract_without_a_candle_stays_at_its_last_mark() -> None:
    ledger = account()
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    ledger.fill(1, "BBBUSDT", D(10), D(10), TAKER)
    ledger.marks(1, {"BBBUSDT": D(9)})
    row = ledger.bars(2, {"AAAUSDT": MarkCandle(D(100), D(100), D(70), D(100))})
    assert (row["symbol"], row["trigger_mark"]) == ("BBBUSDT", 9)


@st.composite
def point_events(draw: st.DrawFn) -> list[Event]:
    """Draw events around a price of 100 that both ledgers of the conventions understand; everything is marked first."""
    price = st.decimals(D(40), D(200), places=1)
    symbol = st.sampled_from(["AAAUSDT", "BBBUSDT"])
    events: list[Event] = [MarkEvent(0, name, D(100)) for name in ("AAAUSDT", "BBBUSDT")]
    for time in range(1, draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(["fill", "fill", "funding", "mark", "mark"]))
        if kind == "fill":
            qty = draw(st.decimals(D("0.1"), D(60), places=1)) * draw(st.sampled_from([1, -1]))
            events.append(FillEvent(time, draw(symbol), qty, draw(price), draw(st.sampled_from(Liquidity))))
        elif kind == "funding":
            rate = draw(st.decimals(D("-0.02"), D("0.02"), places=4))
            events.append(FundingEvent(time, draw(symbol), rate, draw(price)))
        else:
            events.append(MarkEvent(time, draw(symbol), draw(price)))
    return events


def in_coin(events: list[Event]) -> list[Event]:
    """Return the same events with quantities of about the same value in coin."""
    return [
        FillEvent(e.time_ms, e.symbol, e.qty * 10_000, e.price, e.liquidity) if isinstance(e, FillEvent) else e
        for e in events
    ]


@settings(max_examples=300, deadline=None)
@given(point_events(), derivatives, st.booleans(), st.sampled_from(["100", "300", "1000"]))
def test_the_ledger_books_what_the_conventions_say_word_for_word(
    events: list[Event], category: Category, is_cross: bool, cash: str
) -> None:
    if category is Category.INVERSE:
        events = in_coin(events)
    mode = "cross" if is_cross else "isolated"
    ledger = account(cash, category=category, tiers=TWO_TIERS, margin_mode=mode)
    tiers = [(tier.max_notional, tier.maintenance_margin_rate, tier.mm_deduction) for tier in TWO_TIERS]
    plain = PlainLedger(cash, category, 10, tiers, RATES.maker, RATES.taker, is_cross)
    for happening in events:
        ledger.replay([happening])
        plain.apply(happening)
    assert [row["kind"] for row in ledger.log] == plain.kinds
    totals = ledger.totals
    pairs = [
        (ledger.cash, plain.cash),
        (totals.fees, plain.fees),
        (totals.funding, plain.funding),
        (totals.realized, plain.realized),
        (totals.liquidation_loss, plain.loss),
        (ledger.equity, plain.cash + plain.open_gain()),
    ]
    for ours, theirs in pairs:
        assert abs(F(ours) - theirs) < F(1, 10**30)
    assert {s: p.size for s, p in ledger.positions.items() if p.size} == {s: row[0] for s, row in plain.held.items()}
    note(f"{mode} {'with' if ledger.liquidations else 'without'} liquidation")


@st.composite
def any_events(draw: st.DrawFn) -> list[Event]:
    price = st.decimals(D(40), D(200), places=1)
    symbol = st.sampled_from(["AAAUSDT", "BBBUSDT"])
    events = draw(point_events())
    for event in draw(st.lists(st.sampled_from(["bar", "bars", "marks", "backing"]), max_size=6)):
        time = draw(st.integers(1, 14))
        candles = [MarkCandle(b, d, a, c) for a, b, c, d in (sorted(draw(st.tuples(*[price] * 4))) for _ in range(2))]
        if event == "bar":
            candle = candles[0]
            events.append(BarEvent(time, draw(symbol), candle.open, candle.high, candle.low, candle.close))
        elif event == "bars":
            events.append(BarsEvent(time, dict(zip(("AAAUSDT", "BBBUSDT"), candles, strict=True))))
        elif event == "marks":
            events.append(MarksEvent(time, {"AAAUSDT": draw(price), "BBBUSDT": draw(price)}))
        else:
            events.append(BackingEvent(time, draw(st.decimals(D(0), D(500), places=0))))
    return events


@settings(max_examples=200, deadline=None)
@given(any_events(), derivatives)
def test_cash_is_the_start_plus_realized_less_every_cost_and_rows_add_up(
    events: list[Event], category: Category
) -> None:
    ledger = account("1000", category=category, tiers=TWO_TIERS)
    ledger.replay(in_coin(events) if category is Category.INVERSE else events)
    assert abs(gap_of_identity(ledger, D(1000))) < D("1e-35")
    totals = ledger.totals
    with localcontext(prec=50):
        for key, total in (("loss", totals.liquidation_loss), ("fund", totals.fund)):
            assert abs(total - sum((row[key] for row in ledger.liquidations), D(0))) < D("1e-35")
    assert totals.fund <= 0
    for row in ledger.liquidations:
        assert row["fee"] > 0
    assert [row["i"] for row in ledger.log if row["kind"] != "liquidation"] == sorted(
        {row["i"] for row in ledger.log if row["kind"] != "liquidation"},
        key=lambda number: (events[number].time_ms, events[number].rank, number),
    )


@settings(max_examples=200, deadline=None)
@given(
    derivatives,
    st.sampled_from([1, -1]),
    st.decimals(D("0.5"), D(40), places=2),
    st.decimals(D("10"), D(300), places=2),
    st.decimals(D(1), D(400), places=2),
)
def test_one_position_with_all_cash_as_margin_is_lost_where_an_isolated_one_is(category, side, qty, cash, far) -> None:
    size = side * qty * (100 if category is Category.INVERSE else 1)
    free = FeeRates(maker=D(0), taker=D(0))
    cross = account(str(cash), symbols=("AAAUSDT",), leverage="1000", category=category, fees=free, tiers=TWO_TIERS)
    cross.fill(1, "AAAUSDT", size, D(100), TAKER)
    with localcontext(prec=60):
        value = qty * (1 if category is Category.INVERSE else 100)
        leverage = value / cash
    if leverage < 1:
        return
    # Locks all cash: value / leverage, to the rounding of the division.
    isolated = account(
        str(cash + D("1e-20")),
        symbols=("AAAUSDT",),
        leverage=str(leverage),
        category=category,
        fees=free,
        tiers=TWO_TIERS,
        margin_mode="isolated",
    )
    isolated.fill(1, "AAAUSDT", size, D(100), TAKER)
    low, high = min(far, D(100)), max(far, D(100))
    rows = [ledger.bar(2, "AAAUSDT", D(100), high, low, D(100)) for ledger in (cross, isolated)]
    assert rows[0]["kind"] == rows[1]["kind"]
    if rows[0]["kind"] == "liquidation":
        assert float(rows[0]["trigger_mark"]) == pytest.approx(float(rows[1]["trigger_mark"]), rel=1e-12)
        note("liquidated")
        # The isolated one forfeits its margin; here what the marks leave remains, never more than maintenance.
        assert isolated.cash < D("1e-15") <= cross.cash + D("1e-15")


@given(st.decimals(D(50), D(99), places=2), st.decimals(D(0), D(40), places=2))
def test_more_cash_never_liquidates_earlier(low: D, extra: D) -> None:
    poor, rich = account("100"), account(str(100 + extra))
    for ledger in (poor, rich):
        ledger.fill(1, "AAAUSDT", D(8), D(100), TAKER)
        ledger.bar(2, "AAAUSDT", D(100), D(100), low, low)
    if rich.liquidations:
        assert poor.liquidations[0]["trigger_mark"] >= rich.liquidations[0]["trigger_mark"]
