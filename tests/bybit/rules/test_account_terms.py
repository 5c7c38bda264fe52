"""What the ledger judges by: margin basis, dated ladders, tick rounding, the insurance fund, step-downs."""

from collections import Counter
from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeRates, Liquidity
from bybit.rules.ledger import BarEvent, Contract, Event, FillEvent
from bybit.rules.liquidation import MARK_BASED_FROM, LiquidationMode, MarginBasis
from bybit.rules.margin import MaintenanceTier, mm_deductions
from bybit.rules.periods import to_ms
from tests.bybit.rules.amounts import derivatives

TAKER = Liquidity.TAKER
RATES = FeeRates(maker=D(0), taker=D("0.001"))
NARROW = [MaintenanceTier(None, D("0.01"), D(0))]
WIDE = [MaintenanceTier(None, D("0.05"), D(0))]
CHANGE = to_ms(MARK_BASED_FROM)


def chain(bounds: list[str], rates: list[str]) -> list[MaintenanceTier]:
    limits, shares = [*map(D, bounds), None], list(map(D, rates))
    return [
        MaintenanceTier(limit, rate, deduction)
        for limit, rate, deduction in zip(limits, shares, mm_deductions(limits, shares), strict=True)
    ]


STEPS = chain(["1000", "2000"], ["0.01", "0.02", "0.04"])


def account(cash="1000", *, category=Category.LINEAR, leverage="10", tiers=NARROW, ladders=(), **changes) -> Account:
    names = ("tick_size", "qty_step")
    terms = {name: changes.pop(name) for name in names if name in changes}
    contract = Contract("AAAUSDT", category, D(leverage), () if ladders else tiers, ladders, **terms)
    return Account(D(cash), contracts=[contract], fees=RATES, **changes)


def test_before_the_change_maintenance_followed_the_entry_and_since_then_the_mark() -> None:
    # Entry based: 100 - 10 + 1 = 91. Mark based: 90 / 0.99 = 90.909...
    for time, price in ((CHANGE - 1, D(91)), (CHANGE, D(90) / D("0.99"))):
        ledger = account(basis=MarginBasis.BY_DATE)
        row = ledger.fill(time, "AAAUSDT", D(1), D(100), TAKER)
        assert row["liq_price"] == pytest.approx(price, rel=D("1e-25"))
        assert ledger.mark(time, "AAAUSDT", price + D("0.0001"))["kind"] == "mark"
        assert ledger.mark(time, "AAAUSDT", price - D("0.0001"))["kind"] == "liquidation"


def test_the_change_of_basis_prices_what_is_held_anew() -> None:
    ledger = account(basis=MarginBasis.BY_DATE)
    ledger.fill(CHANGE - 5, "AAAUSDT", D(1), D(100), TAKER)
    assert ledger.positions["AAAUSDT"].liquidation_price == 91
    assert ledger.bar(CHANGE - 1, "AAAUSDT", D(95), D(95), D("91.01"), D(95))["kind"] == "bar"
    assert ledger.bar(CHANGE, "AAAUSDT", D(95), D(95), D("90.95"), D(95))["kind"] == "bar"
    row = ledger.bar(CHANGE + 1, "AAAUSDT", D(95), D(95), D("90.5"), D(95))
    assert row["trigger_mark"] == row["liq_price"] == pytest.approx(D(90) / D("0.99"), rel=D("1e-25"))


def test_one_basis_may_be_asked_for_at_any_time() -> None:
    for basis, price in ((MarginBasis.ENTRY, D(91)), (MarginBasis.MARK, D(90) / D("0.99"))):
        for time in (1, CHANGE + 1):
            ledger = account(basis=basis)
            row = ledger.fill(time, "AAAUSDT", D(1), D(100), TAKER)
            assert row["liq_price"] == pytest.approx(price, rel=D("1e-25"))


def test_the_tier_of_an_entry_based_margin_is_that_of_the_entry_value() -> None:
    ledger = account("10000", basis=MarginBasis.ENTRY, tiers=STEPS)
    # Value 3,000 in the third tier: 120 - 50 = 70 of maintenance, 300 of margin: 3000 - 230 = 2770 / 30.
    row = ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    assert row["liq_price"] == pytest.approx(D(2770) / 30, rel=D("1e-25"))


def test_entry_based_maintenance_counts_in_cross_too() -> None:
    for basis, price in ((MarginBasis.ENTRY, "80.2"), (MarginBasis.MARK, "80.0")):
        ledger = account("99", margin_mode="cross", basis=basis, leverage="100")
        ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
        # Cash 98.5: entry based 98.5 + 5 (p - 100) = 5 at p = 81.3; mark based at 401.5 / 4.95 = 81.11...
        assert ledger.mark(2, "AAAUSDT", D("81.31"))["kind"] == "mark"
        kind = ledger.mark(3, "AAAUSDT", D("81.2"))["kind"]
        assert kind == ("liquidation" if basis is MarginBasis.ENTRY else "mark"), price


def test_a_ladder_holds_from_its_day_and_prices_what_is_held_anew() -> None:
    for mode in ("isolated", "cross"):
        ledger = account("20", ladders=[(100, WIDE), (0, NARROW)], margin_mode=mode)
        ledger.fill(1, "AAAUSDT", D(1), D(100), TAKER)
        assert ledger.mark(99, "AAAUSDT", D(93))["kind"] == "mark"
        price = ledger.positions["AAAUSDT"].liquidation_price
        assert ledger.mark(100, "AAAUSDT", D(96))["kind"] == "mark"
        if mode == "isolated":
            assert price == pytest.approx(D(90) / D("0.99"), rel=D("1e-25"))
            assert ledger.positions["AAAUSDT"].liquidation_price == pytest.approx(D(90) / D("0.95"), rel=D("1e-25"))
            assert ledger.mark(101, "AAAUSDT", D("94.7"))["kind"] == "liquidation"
        else:
            # 19.9 + p - 100 = 0.05 p at p = 84.3157...; under the old ladder at 80.90...
            assert ledger.mark(101, "AAAUSDT", D("84.32"))["kind"] == "mark"
            assert ledger.mark(102, "AAAUSDT", D("84.31"))["kind"] == "liquidation"


def test_before_the_first_ladder_nothing_is_assumed() -> None:
    ledger = account(ladders=[(100, NARROW)])
    with pytest.raises(NotEstablished, match="no margin ladder of AAAUSDT is known at 99"):
        ledger.fill(99, "AAAUSDT", D(1), D(100), TAKER)
    assert ledger.cash == 1000
    assert ledger.mark(99, "AAAUSDT", D(100))["kind"] == "mark"


@pytest.mark.parametrize(
    "terms",
    [
        {"tiers": NARROW, "ladders": [(0, NARROW)]},
        {"ladders": [(0, [])]},
        {"tiers": NARROW, "tick_size": D(0)},
        {"tiers": NARROW, "qty_step": D("NaN")},
    ],
)
def test_a_contract_whose_terms_contradict_each_other_is_refused(terms: dict) -> None:
    with pytest.raises(InvalidInput):
        Contract("AAAUSDT", Category.LINEAR, D(10), **terms)


def test_prices_are_rounded_to_the_tick_against_the_holder_and_trigger_there() -> None:
    for qty, liq, bust, before, at in (("1", "91", "90", "91.01", "91"), ("-1", "108.5", "110", "108.49", "108.5")):
        ledger = account(tick_size=D("0.5"))
        # 90.909... is rounded up, 108.91... down.
        row = ledger.fill(1, "AAAUSDT", D(qty), D(100), TAKER)
        assert row["liq_price"] == D(liq)
        assert ledger.positions["AAAUSDT"].bankruptcy_price == D(bust)
        assert ledger.mark(2, "AAAUSDT", D(before))["kind"] == "mark"
        row = ledger.mark(3, "AAAUSDT", D(at))
        assert (row["kind"], row["loss"]) == ("liquidation", 10)


def test_a_price_below_one_tick_is_one_tick() -> None:
    ledger = account(tick_size=D(500), leverage="2")
    # A short's 148.5 would be rounded to 0: no mark could ever lie below it.
    assert ledger.fill(1, "AAAUSDT", D(-1), D(100), TAKER)["liq_price"] == 500


def test_the_fund_gains_what_is_left_of_the_margin_and_pays_for_a_gap() -> None:
    # Taken over at the liquidation price, 0.909... remain; opened at 80 the fund pays the 10 beyond bankruptcy.
    for price, gap, fund in ((D(100), False, D(90) / D("0.99") - 90), (D(80), True, D(-10))):
        ledger = account()
        ledger.fill(1, "AAAUSDT", D(1), D(100), TAKER)
        row = ledger.bar(2, "AAAUSDT", price, D(100), D(75), D(90))
        assert (row["gap"], row["loss"]) == (gap, 10)
        assert row["fund"] == pytest.approx(fund, rel=D("1e-20"))
        assert ledger.totals.fund == row["fund"]


def test_a_step_down_closes_what_lies_above_the_next_lower_tier_at_the_trigger() -> None:
    ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
    ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)  # value 3,000, margin 300, fee 3
    # 300 + 30 (p - 100) = 1.2 p - 50 at p = 2650 / 28.8 = 92.0138...: value 2,760, third tier.
    ledger.bar(2, "AAAUSDT", D(100), D(100), D(92), D(95))
    (row,) = ledger.liquidations
    trigger = D(2650) / D("28.8")
    with localcontext(prec=50):
        closed = 30 - 2000 / (D(2650) / D("28.8"))
        assert row["trigger_mark"] == D(2650) / D("28.8")
        assert abs(row["qty"] - closed) < D("1e-40")
        assert abs(row["realized"] - closed * (D(2650) / D("28.8") - 100)) < D("1e-40")
        assert abs(row["fee"] - closed * (D(2650) / D("28.8")) * D("0.001")) < D("1e-40")
        left = ledger.positions["AAAUSDT"]
        assert abs(left.margin - 300 * left.size / 30) < D("1e-40")
        assert abs(ledger.cash - (1997 + row["realized"] - row["fee"])) < D("1e-40")
    assert (row["how"], row["loss"], row["fund"]) == ("step_down", 0, 0)
    assert left.entry_price == 100
    assert left.liquidation_price < trigger
    # It lives on, and the bar has its own row.
    assert [line["kind"] for line in ledger.log] == ["fill", "liquidation", "bar"]
    assert ledger.totals.realized == row["realized"]
    assert ledger.totals.liquidation_loss == 0


def test_tier_by_tier_down_to_the_takeover_in_the_lowest() -> None:
    ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
    ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    ledger.bar(2, "AAAUSDT", D(100), D(100), D(90), D(95))
    assert [row["how"] for row in ledger.liquidations] == ["step_down", "step_down", "takeover"]
    triggers = [row["trigger_mark"] for row in ledger.liquidations]
    assert triggers == sorted(triggers, reverse=True)
    assert sum(row["qty"] for row in ledger.liquidations) == pytest.approx(30, rel=D("1e-25"))
    assert ledger.positions["AAAUSDT"].size == 0
    whole = account("2000", tiers=STEPS)
    whole.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    whole.bar(2, "AAAUSDT", D(100), D(100), D(90), D(95))
    # What was closed before bankruptcy, less its fee, is what stepping down saves.
    assert ledger.cash > whole.cash


def test_a_gap_steps_down_at_the_open_as_often_as_it_must() -> None:
    ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
    ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    ledger.bar(2, "AAAUSDT", D("91.1"), D(100), D("91.1"), D(95))
    assert [(row["how"], row["gap"], row["trigger_mark"]) for row in ledger.liquidations] == [
        ("step_down", True, D("91.1")),
        ("step_down", True, D("91.1")),
    ]
    with localcontext(prec=50):
        assert ledger.positions["AAAUSDT"].size * D("91.1") == pytest.approx(1000, rel=D("1e-25"))


def test_at_or_beyond_bankruptcy_everything_is_taken_over() -> None:
    for price in (D(90), D(85)):
        ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
        ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)
        row = ledger.mark(2, "AAAUSDT", price)
        assert (row["how"], row["loss"], row["fund"]) == ("takeover", 300, 300 + 30 * (price - 100))


def test_a_position_in_the_lowest_tier_is_taken_over_whole() -> None:
    ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
    ledger.fill(1, "AAAUSDT", D(5), D(100), TAKER)
    assert ledger.bar(2, "AAAUSDT", D(100), D(100), D(90), D(95))["how"] == "takeover"


def test_what_a_step_down_leaves_is_a_multiple_of_the_quantity_step() -> None:
    ledger = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN, qty_step=D("0.1"))
    ledger.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    ledger.bar(2, "AAAUSDT", D(100), D(100), D(92), D(95))
    # 2,000 / 92.0138... = 21.73...
    assert ledger.positions["AAAUSDT"].size == D("21.7")
    coarse = account("2000", tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN, qty_step=D(25))
    coarse.fill(1, "AAAUSDT", D(30), D(100), TAKER)
    assert coarse.bar(2, "AAAUSDT", D(100), D(100), D(92), D(95))["how"] == "takeover"


@st.composite
def rides(draw: st.DrawFn) -> list[Event]:
    price = st.decimals(D(80), D(120), places=1)
    qty = draw(st.decimals(D(1), D(60), places=1)) * draw(st.sampled_from([1, -1]))
    events: list[Event] = [FillEvent(0, "AAAUSDT", qty, D(100), TAKER)]
    for time in range(1, draw(st.integers(2, 6))):
        low, first, second, high = sorted(draw(st.tuples(*[price] * 4)))
        events.append(BarEvent(time, "AAAUSDT", first, high, low, second))
    return events


@settings(max_examples=200, deadline=None)
@given(rides(), derivatives, st.sampled_from(MarginBasis), st.sampled_from([None, D("0.5")]))
def test_stepping_down_keeps_the_identity_and_ends_below_the_bound(events, category, basis, tick) -> None:
    if category is Category.INVERSE:
        first = events[0]
        events = [FillEvent(0, "AAAUSDT", first.qty * 10_000, first.price, TAKER), *events[1:]]
    ledger = account(
        "20000", category=category, tiers=STEPS, basis=basis, tick_size=tick, liquidation=LiquidationMode.STEP_DOWN
    )
    ledger.replay(events)
    totals = ledger.totals
    with localcontext(prec=50):
        gap = D(20000) + totals.realized - totals.fees - totals.funding - totals.liquidation_loss - ledger.cash
        assert abs(gap) < D("1e-35")
        size = events[0].qty
        for row in ledger.liquidations:
            assert abs(row["qty"]) <= abs(size)
            assert row["qty"] * size > 0
            size -= row["qty"]
        assert abs(size - ledger.positions["AAAUSDT"].size) < D("1e-35")
    steps = [row for row in ledger.liquidations if row["how"] == "step_down"]
    # A short grows as it loses: it would trim itself to one bound again and again.
    assert max(Counter(row["i"] for row in steps).values(), default=0) <= 2
    note(f"{len(steps)} steps, {len(ledger.liquidations) - len(steps)} takeovers")


def test_an_inverse_contract_at_its_bankruptcy_price_is_taken_over_whole() -> None:
    ledger = account("20000", category=Category.INVERSE, tiers=STEPS, liquidation=LiquidationMode.STEP_DOWN)
    ledger.fill(1, "AAAUSDT", D(-556_000), D(100), TAKER)
    with localcontext(prec=50):
        assert ledger.mark(2, "AAAUSDT", D(10_000) / D(90))["how"] == "takeover"


@settings(max_examples=200, deadline=None)
@given(rides(), st.sampled_from(MarginBasis))
def test_an_inverse_short_is_a_linear_long_seen_from_the_coin(events, basis) -> None:
    """Prices p and 10,000 / p: value, margin, loss, fees and liquidations are the same amounts."""
    turned: list[Event] = []
    with localcontext(prec=50):
        for event in events:
            if isinstance(event, FillEvent):
                turned.append(FillEvent(event.time_ms, event.symbol, -event.qty * 10_000, D(100), TAKER))
            else:
                prices = (10_000 / price for price in (event.open, event.low, event.high, event.close))
                turned.append(BarEvent(event.time_ms, event.symbol, *prices))
    ledgers = [
        account("20000", category=category, tiers=STEPS, basis=basis, liquidation=LiquidationMode.STEP_DOWN)
        for category in (Category.LINEAR, Category.INVERSE)
    ]
    for ledger, happenings in zip(ledgers, (events, turned), strict=True):
        ledger.replay(happenings)
    linear, inverse = ledgers
    assert [row["kind"] for row in linear.log] == [row["kind"] for row in inverse.log]
    assert abs(linear.cash - inverse.cash) < D("1e-30")
    assert abs(linear.totals.fund - inverse.totals.fund) < D("1e-30")
