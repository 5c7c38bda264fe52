from decimal import Decimal as D
from decimal import localcontext
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.account import Account
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished, UnsupportedMarginMode
from bybit.rules.fees import FeeRates, Liquidity, Rounding
from bybit.rules.ledger import BarEvent, Contract, Event, FillEvent, FundingEvent, MarkEvent
from bybit.rules.margin import MaintenanceTier
from tests.bybit.rules.amounts import derivatives

RATES = FeeRates(maker=D("-0.00025"), taker=D("0.00055"))
TIERS = [MaintenanceTier(D(200000), D("0.005"), D(0)), MaintenanceTier(None, D("0.01"), D(1000))]
START = 1735693200000
HOUR = 3_600_000


def account(
    cash: str = "10000",
    *,
    leverage: str = "10",
    category: Category = Category.LINEAR,
    symbols: tuple[str, ...] = ("BTCUSDT",),
    rounding: Rounding = Rounding.EXACT,
) -> Account:
    contracts = [Contract(symbol, category, D(leverage), TIERS) for symbol in symbols]
    return Account(D(cash), contracts=contracts, fees=RATES, rounding=rounding)


def buy(ledger: Account, qty: str, price: str, time: int = START, liquidity: Liquidity = Liquidity.TAKER):
    return ledger.fill(time, "BTCUSDT", D(qty), D(price), liquidity)


def identity_gap(ledger: Account, start: D) -> D:
    totals = ledger.totals
    with localcontext(prec=50):
        return start + totals.realized - totals.fees - totals.funding - totals.liquidation_loss - ledger.cash


def near(low: str, high: str, places: int):
    return st.decimals(D(low), D(high), places=places)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Draw up to 15 events around a price of 100, several at one instant now and then."""
    events: list[Event] = []
    price = near("60", "160", 2)
    for _ in range(draw(st.integers(1, 15))):
        time = START + draw(st.integers(0, 6)) * HOUR
        symbol = draw(st.sampled_from(["BTCUSDT", "ETHUSDT"]))
        kind = draw(st.sampled_from(["fill", "fill", "funding", "bar", "mark"]))
        if kind == "fill":
            qty = draw(near("0.001", "300", 3)) * draw(st.sampled_from([1, -1]))
            events.append(FillEvent(time, symbol, qty, draw(price), draw(st.sampled_from(Liquidity))))
        elif kind == "funding":
            events.append(FundingEvent(time, symbol, draw(near("-0.01", "0.01", 5)), draw(price)))
        elif kind == "bar":
            low, first, second, high = sorted(draw(st.tuples(price, price, price, price)))
            events.append(BarEvent(time, symbol, first, high, low, second))
        else:
            events.append(MarkEvent(time, symbol, draw(price)))
    return events


@settings(max_examples=200)
@given(derivatives, event_lists(), st.sampled_from(Rounding))
def test_cash_is_the_start_plus_realized_less_every_cost(
    category: Category, events: list[Event], rounding: Rounding
) -> None:
    ledger = account(category=category, symbols=("BTCUSDT", "ETHUSDT"), rounding=rounding)
    ledger.replay(events)
    assert abs(identity_gap(ledger, D(10000))) < D("1e-30")
    assert len(ledger.log) == len(events)
    totals = ledger.totals
    assert abs(totals.fees - totals.maker_fees - totals.taker_fees) < D("1e-20")


@settings(max_examples=200)
@given(derivatives, event_lists())
def test_a_liquidation_costs_the_margin_and_nothing_else(category: Category, events: list[Event]) -> None:
    ledger = account(category=category, symbols=("BTCUSDT", "ETHUSDT"))
    ledger.replay(events)
    held: dict[str, D] = {}
    cash = D(10000)
    for row in ledger.log:
        if row["kind"] == "liquidation":
            assert row["loss"] == held[row["symbol"]]
            assert abs(cash - row["loss"] - row["cash"]) < D("1e-20")
        if row["kind"] == "fill":
            held[row["symbol"]] = row["margin"]
        cash = row["cash"]
    lost = sum((row["loss"] for row in ledger.liquidations), D(0))
    assert abs(ledger.totals.liquidation_loss - lost) < D("1e-20")


@given(derivatives, event_lists())
def test_locked_margin_never_exceeds_what_cash_covered_when_it_was_locked(
    category: Category, events: list[Event]
) -> None:
    ledger = account(category=category, symbols=("BTCUSDT", "ETHUSDT"))
    for event in sorted(events, key=lambda event: (event.time_ms, event.rank)):
        before = ledger.locked_margin
        ledger.replay([event])
        if isinstance(event, FillEvent) and ledger.locked_margin > before:
            assert ledger.locked_margin <= ledger.cash


def test_funding_settles_before_a_fill_of_the_same_instant() -> None:
    fill = FillEvent(START, "BTCUSDT", D(1), D(100), Liquidity.TAKER)
    settle = FundingEvent(START, "BTCUSDT", D("0.01"), D(100))
    mark = MarkEvent(START, "BTCUSDT", D(100))
    for order in permutations([fill, settle, mark]):
        ledger = account()
        ledger.replay(order)
        assert ledger.totals.funding == 0
        assert [row["kind"] for row in ledger.log] == ["funding", "fill", "mark"]
        assert [row["i"] for row in ledger.log] == [order.index(settle), order.index(fill), order.index(mark)]


def test_events_of_one_kind_at_one_instant_keep_their_order() -> None:
    ledger = account()
    ledger.replay([FillEvent(START, "BTCUSDT", D(qty), D(100), Liquidity.TAKER) for qty in ("1", "-3", "2")])
    assert [row["qty"] for row in ledger.log] == [1, -2, 0]


def test_settling_funding_after_a_fill_of_the_same_instant_is_refused() -> None:
    ledger = account()
    buy(ledger, "1", "100")
    with pytest.raises(InvalidInput, match="settle it first"):
        ledger.funding(START, "BTCUSDT", D("0.0001"), D(100))
    ledger.funding(START + 1, "BTCUSDT", D("0.0001"), D(100))


def test_time_never_goes_back() -> None:
    ledger = account()
    ledger.mark(START, "BTCUSDT", D(100))
    with pytest.raises(InvalidInput, match="before the last event"):
        buy(ledger, "1", "100", time=START - 1)


def test_an_opening_fill_beyond_free_cash_changes_nothing() -> None:
    ledger = account("100")
    row = buy(ledger, "10", "100.01")
    assert row["kind"] == "rejected"
    assert row["available"] == 100
    assert ledger.cash == 100
    assert ledger.positions["BTCUSDT"].size == 0
    assert ledger.totals.fees == 0


def test_exactly_enough_cash_is_enough() -> None:
    ledger = account("100.55")
    assert buy(ledger, "10", "100")["kind"] == "fill"
    poorer = account("100.54999999")
    assert buy(poorer, "10", "100")["kind"] == "rejected"


def test_a_flip_may_use_what_its_closing_part_frees() -> None:
    ledger = account("101.6")
    buy(ledger, "10", "100")
    # Free cash is 1.05 after the fee; closing frees the margin of 100, the other side needs 100 and a fee of 1.1.
    assert ledger.fill(START, "BTCUSDT", D(-20), D(100), Liquidity.TAKER)["kind"] == "rejected"
    assert ledger.positions["BTCUSDT"].size == 10
    gain = ledger.fill(START, "BTCUSDT", D(-20), D("100.1"), Liquidity.TAKER)
    assert gain["kind"] == "fill"
    assert gain["realized"] == 1
    assert gain["qty"] == -10
    assert gain["entry"] == D("100.1")


def test_a_pure_reduction_always_passes() -> None:
    ledger = account("100.55")
    buy(ledger, "10", "100")
    assert ledger.fill(START, "BTCUSDT", D(-5), D(95), Liquidity.TAKER)["kind"] == "fill"
    assert ledger.positions["BTCUSDT"].margin == 50


def test_reducing_leaves_the_entry_where_it_was() -> None:
    ledger = account()
    buy(ledger, "3", "100")
    before = ledger.positions["BTCUSDT"]
    ledger.fill(START, "BTCUSDT", D(-1), D(130), Liquidity.TAKER)
    after = ledger.positions["BTCUSDT"]
    assert after.entry_price == before.entry_price
    assert after.liquidation_price == before.liquidation_price


def test_a_maker_rebate_is_a_negative_fee() -> None:
    ledger = account()
    assert buy(ledger, "4", "100", liquidity=Liquidity.MAKER)["fee"] == D("-0.1")
    assert ledger.cash == D("10000.1")


def test_funding_moves_cash_but_no_margin_and_no_liquidation_price() -> None:
    ledger = account()
    buy(ledger, "-10", "100")
    before = ledger.positions["BTCUSDT"]
    row = ledger.funding(START + HOUR, "BTCUSDT", D("-0.001"), D(110))
    assert row["paid"] == D("1.1")
    assert ledger.positions["BTCUSDT"] == before


def test_venue_rounding_books_fees_and_funding_up() -> None:
    ledger = account(rounding=Rounding.VENUE)
    assert buy(ledger, "0.001", "29749.1")["fee"] == D("0.01636201")
    assert ledger.funding(START + 1, "BTCUSDT", D("0.000001"), D("29749.1"))["paid"] == D("0.00002975")


def test_a_bar_that_opens_beyond_the_price_is_a_gap_and_still_loses_only_the_margin() -> None:
    ledger = account()
    buy(ledger, "10", "100")
    row = ledger.bar(START, "BTCUSDT", D(80), D(120), D(70), D(110))
    assert (row["kind"], row["gap"], row["trigger_mark"]) == ("liquidation", True, D(80))
    assert row["loss"] == 100
    assert row["bankruptcy_price"] == 90
    assert ledger.cash == D("9899.45")


def test_a_short_is_judged_at_the_high_of_a_bar_and_a_long_at_the_low() -> None:
    for qty, trigger_is_above in (("10", False), ("-10", True)):
        ledger = account()
        buy(ledger, qty, "100")
        harmless = ledger.bar(START, "BTCUSDT", D(100), D(105), D(95), D(100))
        assert harmless["kind"] == "bar"
        row = ledger.bar(START + HOUR, "BTCUSDT", D(100), D(112), D(88), D(100))
        assert row["kind"] == "liquidation"
        assert row["gap"] is False
        assert row["trigger_mark"] == row["liq_price"]
        assert (row["trigger_mark"] > 100) is trigger_is_above


def test_a_flat_account_survives_any_bar() -> None:
    ledger = account()
    assert ledger.bar(START, "BTCUSDT", D(100), D(10000), D("0.01"), D(100))["equity"] == 10000


def test_equity_is_refused_while_a_held_contract_has_no_mark() -> None:
    ledger = account(symbols=("BTCUSDT", "ETHUSDT"))
    buy(ledger, "1", "100")
    with pytest.raises(NotEstablished, match="BTCUSDT is held"):
        _ = ledger.equity
    assert ledger.mark(START, "ETHUSDT", D(5))["equity"] is None
    ledger.mark(START, "BTCUSDT", D(101))
    assert ledger.equity == D("10000.945")


def test_fee_rates_change_at_their_instant() -> None:
    contract = Contract("BTCUSDT", Category.LINEAR, D(10), TIERS)
    steps = [(START + 1, FeeRates(D(0), D("0.002"))), (START, FeeRates(D(0), D("0.001")))]
    ledger = Account(D(10000), contracts=[contract], fees=steps)
    with pytest.raises(NotEstablished, match="no fee rate"):
        buy(ledger, "1", "100", time=START - 1)
    assert buy(ledger, "1", "100", time=START)["fee"] == D("0.1")
    assert buy(ledger, "1", "100", time=START + 1)["fee"] == D("0.2")


def test_a_refused_event_leaves_the_account_as_it_was() -> None:
    ledger = account()
    buy(ledger, "1", "100")
    state = (ledger.cash, ledger.totals, dict(ledger.positions), list(ledger.log))
    for attempt in (
        lambda: buy(ledger, "0", "100"),
        lambda: buy(ledger, "NaN", "100"),
        lambda: buy(ledger, "1", "0"),
        lambda: ledger.fill(START, "XRPUSDT", D(1), D(1), Liquidity.TAKER),
        lambda: ledger.fill(START, "BTCUSDT", D(1), D(1), "nobody"),
        lambda: ledger.funding(START + 1, "BTCUSDT", D("NaN"), D(100)),
        lambda: ledger.bar(START, "BTCUSDT", D(100), D(99), D(98), D(98)),
        lambda: ledger.mark(START, "BTCUSDT", D("Infinity")),
    ):
        with pytest.raises(InvalidInput):
            attempt()
    assert state == (ledger.cash, ledger.totals, dict(ledger.positions), list(ledger.log))
    buy(ledger, "1", "100")


@pytest.mark.parametrize("mode", ["portfolio", "REGULAR_MARGIN"])
def test_an_unknown_margin_mode_is_refused_by_name(mode: str) -> None:
    contract = Contract("BTCUSDT", Category.LINEAR, D(10), TIERS)
    with pytest.raises(UnsupportedMarginMode, match=mode):
        Account(D(1), contracts=[contract], fees=RATES, margin_mode=mode)


def test_linear_and_inverse_do_not_share_an_account() -> None:
    contracts = [Contract("BTCUSDT", Category.LINEAR, D(10), TIERS), Contract("BTCUSD", Category.INVERSE, D(10), TIERS)]
    for wrong in (contracts, []):
        with pytest.raises(InvalidInput, match="all linear or all inverse"):
            Account(D(1), contracts=wrong, fees=RATES)


@pytest.mark.parametrize(
    ("category", "leverage", "tiers"),
    [(Category.SPOT, "1", TIERS), (Category.LINEAR, "0.5", TIERS), (Category.LINEAR, "1", [])],
)
def test_a_contract_without_margin_terms_is_refused(category: Category, leverage: str, tiers: list) -> None:
    with pytest.raises(InvalidInput):
        Contract("BTCUSDT", category, D(leverage), tiers)


def test_the_callers_decimal_context_does_not_reach_the_ledger() -> None:
    with localcontext(prec=4):
        ledger = account()
        buy(ledger, "0.123456", "29749.123456")
    exact = D(10000) - D("0.123456") * D("29749.123456") * D("0.00055")
    assert ledger.cash == exact
