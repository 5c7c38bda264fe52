"""A back-test beside reality: every cent of the gap has a name."""

from decimal import Decimal

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit.rules.periods import Period, parse_time
from tests.validation.exports import execution, page
from validation.reconcile import AccountTerms, reconcile
from validation.reconcile_comparison import comparison, simulated_trades
from validation.reconcile_run import Trade, compare

D = Decimal
START = 1735693200000
HOUR = 3_600_000


def trade(hours: float, side: str, qty: str, price: str, fee: str = "1", symbol: str = "BTCUSDT") -> Trade:
    return Trade(symbol, side, START + int(hours * HOUR), D(qty), D(price), D(fee))


def test_the_same_fills_have_no_gap() -> None:
    fills = [trade(0, "Buy", "1", "100"), trade(5, "Sell", "1", "110")]
    gap = compare(fills, fills)
    assert (gap.total, gap.price, gap.fees) == (0, 0, 0)
    assert gap.backtest_net == gap.reality_net == D(8)


def test_worse_prices_and_dearer_fees_are_told_apart() -> None:
    gap = compare(
        [trade(0, "Buy", "1", "100"), trade(5, "Sell", "1", "110")],
        [trade(0.01, "Buy", "1", "100.5", "1.2"), trade(5.01, "Sell", "1", "109", "1.2")],
    )
    assert (gap.price, gap.quantity, gap.fees, gap.total) == (D("-1.5"), 0, D("-0.4"), D("-1.9"))


def test_a_missed_fill_counts_with_all_it_would_have_made() -> None:
    expected = [trade(0, "Buy", "1", "100"), trade(5, "Sell", "1", "110")]
    gap = compare(expected, expected[1:])
    (missed,) = [pair for pair in gap.pairs if pair.kind == "missed"]
    assert missed.expected == expected[0]
    assert (gap.missed, gap.fees) == (D(-10), D(1))


def test_an_extra_fill_is_not_taken_for_one_hours_away() -> None:
    gap = compare([trade(0, "Buy", "1", "100")], [trade(3, "Buy", "1", "100")])
    assert [pair.kind for pair in gap.pairs] == ["missed", "extra"]


def test_order_in_time_decides_between_equal_fills() -> None:
    gap = compare(
        [trade(0, "Buy", "1", "100"), trade(0.5, "Buy", "1", "200")],
        [trade(0.6, "Buy", "1", "201"), trade(0.1, "Buy", "1", "101")],
    )
    assert [(p.expected and p.expected.price, p.real and p.real.price) for p in gap.pairs] == [(100, 101), (200, 201)]


trades = st.lists(
    st.builds(
        trade,
        st.floats(0, 30),
        st.sampled_from(["Buy", "Sell"]),
        st.decimals("0.001", "9", places=3).map(str),
        st.decimals("1", "500", places=2).map(str),
        st.decimals("-1", "5", places=4).map(str),
        st.sampled_from(["BTCUSDT", "SOLUSDT"]),
    ),
    max_size=12,
)
amounts = st.decimals("-9", "9", places=3)


@settings(max_examples=60, deadline=None)
@given(trades, trades, amounts, amounts)
def test_the_items_add_up_to_the_gap_without_a_rest(
    ours: list[Trade], theirs: list[Trade], our_funding: Decimal, their_funding: Decimal
) -> None:
    gap = compare(ours, theirs, our_funding, their_funding)
    items = gap.price + gap.quantity + gap.missed + gap.extra + gap.fees + gap.funding
    assert abs(items - gap.total) < D("1e-18")
    assert sorted(t.time_ms for t in ours) == sorted(p.expected.time_ms for p in gap.pairs if p.expected)
    assert sorted(t.time_ms for t in theirs) == sorted(p.real.time_ms for p in gap.pairs if p.real)


def frame(*rows: tuple[float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [("BTCUSDT", pd.Timestamp(START + hours * HOUR, unit="ms", tz="UTC"), q, p, f) for hours, q, p, f in rows],
        columns=["symbol", "fill_time", "qty", "price", "fee"],
    )


NO_LIQUIDATIONS = pd.DataFrame(
    columns=["symbol", "liquidation_time", "size", "entry_price", "loss", "realized_pnl", "fee"]
)


def test_executions_of_one_order_are_one_fill_and_others_are_left_out_by_name() -> None:
    expected = simulated_trades(frame((0, 0.2, 60000.0, 6.6)), NO_LIQUIDATIONS)
    found = reconcile(
        [("e", page(execution(), execution(execId="e-2"), execution(execId="e-3", symbol="ETHUSDT", orderId="o-9")))],
        AccountTerms(),
    )
    period = Period(parse_time("2025-01-01"), parse_time("2025-01-02"))
    told = comparison(expected, D(0), found, period, ["BTCUSDT"])
    assert (told["matched"], told["missed"], told["extra"], told["explained"]) == (1, 0, 0, True)
    assert told["gap"]["fees"] == "0"
    assert told["remarks"] == ["1 of 3 real rows lie outside the run's contracts or its period 2025-01-01..2025-01-02"]


def test_a_simulated_liquidation_closes_at_the_price_its_outcome_amounts_to() -> None:
    def liquidated(size: float, loss: float, realized_pnl: float, fee: float) -> pd.DataFrame:
        row = ("BTCUSDT", pd.Timestamp(START + HOUR, unit="ms", tz="UTC"), size, 100.0, loss, realized_pnl, fee)
        return pd.DataFrame([row], columns=NO_LIQUIDATIONS.columns)

    takeover = simulated_trades(frame((0, 1.0, 100.0, 0.0)), liquidated(1.0, 20.0, 0.0, 0.0))
    assert compare(takeover, []).backtest_net == -20
    step_down = simulated_trades(frame((0, 1.0, 100.0, 0.0)), liquidated(1.0, 0.0, -15.0, 0.05))
    assert compare(step_down, []).backtest_net == D("-15.05")
