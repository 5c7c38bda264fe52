"""Which cells a run fans out over."""

from datetime import UTC, datetime

import pytest

from bybit.rules.candles import Category, Interval
from bybit.rules.errors import InvalidInput, NotEstablished
from tasks.amounts import amount
from tasks.matrix import most_in_common, plan_cases
from tasks.plans import (
    BacktestTerms,
    MatrixPlan,
    PipelineRequest,
    Span,
    SymbolPlan,
    checked,
    checked_strategies,
    contracts,
    one_settle_coin,
)


def span(start: str, end: str) -> Span:
    return Span(
        start=datetime.fromisoformat(start).replace(tzinfo=UTC), end=datetime.fromisoformat(end).replace(tzinfo=UTC)
    )


def symbol(
    name: str, candles: Span, mark: Span | None = None, funding: Span | None = None, coin: str = "USDT"
) -> SymbolPlan:
    return SymbolPlan(
        category="linear" if coin in ("USDT", "USDC") else "inverse",
        symbol=name,
        settle_coin=coin,
        interval="15m",
        candles=candles,
        mark_interval="1h",
        mark=mark or candles,
        funding=funding or candles,
    )


def matrix(*symbols: SymbolPlan, tiers: tuple[str, ...] = ("vip0",), n_periods: int = 4) -> MatrixPlan:
    return MatrixPlan(symbols=symbols, strategies=("trend", "breakout"), tiers=tiers, n_periods=n_periods)


def test_a_cell_for_every_strategy_tier_and_period_in_that_order() -> None:
    plan = matrix(symbol("BTCUSDT", span("2024-06-01", "2025-06-01")), tiers=("vip0", "vip2"), n_periods=3)
    cells, remarks = plan_cases(plan)
    assert len(cells) == 2 * 2 * 3
    assert [cell.strategy for cell in cells[:6]] == ["trend"] * 6
    assert [cell.tier for cell in cells[:6]] == ["vip0"] * 3 + ["vip2"] * 3
    assert remarks == []
    ends = [cell.span.end for cell in cells[:3]]
    assert [cell.span.start for cell in cells[1:3]] == ends[:2]


def test_every_cell_holds_the_same_symbols_over_the_span_they_share() -> None:
    plan = matrix(
        symbol("BTCUSDT", span("2024-06-01", "2025-06-01")),
        symbol("WIFUSDT", span("2024-10-15", "2025-08-01")),
        n_periods=2,
    )
    cells, _ = plan_cases(plan)
    assert {tuple(s.symbol for s in cell.symbols) for cell in cells} == {("BTCUSDT", "WIFUSDT")}
    assert cells[0].span.start == datetime(2024, 10, 15, tzinfo=UTC)
    assert cells[1].span.end == datetime(2025, 6, 1, tzinfo=UTC)


def test_unnamed_symbols_are_chosen_for_the_most_comparable_data() -> None:
    btc = symbol("BTCUSDT", span("2024-01-01", "2026-01-01"))
    wif = symbol("WIFUSDT", span("2024-04-01", "2025-12-01"))
    ada = symbol("ADAUSDT", span("2025-11-01", "2026-07-01"))
    assert most_in_common([btc, wif, ada], ["vip0"]) == [btc, wif]
    # Before 2024-03-07 no rate of vip2 is known: that time does not count.
    early = symbol("LTCUSDT", span("2020-06-01", "2024-03-10"))
    assert most_in_common([early, ada], ["vip2"]) == [ada]


def test_the_usable_span_is_what_candles_mark_and_funding_share() -> None:
    plan = symbol(
        "BTCUSDT",
        span("2024-01-01", "2025-01-01"),
        mark=span("2024-02-01", "2025-02-01"),
        funding=span("2023-01-01", "2024-12-01"),
    )
    assert plan.usable == span("2024-02-01", "2024-12-01").period


def test_back_tests_start_when_the_rate_of_every_tier_is_known_and_the_reader_is_told() -> None:
    plan = matrix(symbol("BTCUSDT", span("2023-12-01", "2025-01-01")), tiers=("vip0", "vip2"))
    cells, remarks = plan_cases(plan)
    assert cells[0].span.start == datetime(2024, 3, 7, tzinfo=UTC)
    assert "vip2" in remarks[0]
    assert "2024-03-07" in remarks[0]


def test_data_from_before_any_known_rate_is_refused() -> None:
    with pytest.raises(NotEstablished, match="vip2"):
        plan_cases(matrix(symbol("BTCUSDT", span("2023-01-01", "2023-06-01")), tiers=("vip2",)))


def test_the_uncertain_fee_windows_are_told() -> None:
    _, remarks = plan_cases(matrix(symbol("BTCUSDT", span("2023-05-01", "2023-12-01"))))
    assert any("uncertain" in remark for remark in remarks)


def test_series_without_a_common_span_are_refused_by_name() -> None:
    apart = symbol("ADAUSDT", span("2024-06-01", "2024-07-01"), mark=span("2025-06-01", "2025-07-01"))
    with pytest.raises(InvalidInput, match="ADAUSDT"):
        plan_cases(matrix(apart))


def test_what_a_person_typed_wrong_is_named_with_what_was_expected() -> None:
    with pytest.raises(InvalidInput, match=r"leverage.*0\.5"):
        checked(BacktestTerms, leverage=0.5)
    with pytest.raises(InvalidInput, match="8h"):
        checked(PipelineRequest, strategies=("trend",), interval="8h")
    with pytest.raises(InvalidInput, match="DROP"):
        checked(PipelineRequest, strategies=("trend",), symbols=("X'; DROP TABLE candles",))
    with pytest.raises(InvalidInput, match="ETHUSDT stands twice"):
        checked(PipelineRequest, strategies=("trend",), symbols=("ETHUSDT", "ETHUSDT"))
    with pytest.raises(InvalidInput, match="tiers"):
        checked(PipelineRequest, strategies=("trend",), tiers=())
    with pytest.raises(InvalidInput, match="vip77"):
        checked(PipelineRequest, strategies=("trend",), tiers=("vip77",))
    with pytest.raises(InvalidInput, match="martingale"):
        checked_strategies(["martingale"])


def test_a_run_counts_in_one_coin_and_a_mix_is_refused_by_name() -> None:
    year = span("2024-06-01", "2025-06-01")
    bitcoin, ether = symbol("BTCUSD", year, coin="BTC"), symbol("ETHUSD", year, coin="ETH")
    assert one_settle_coin([bitcoin, symbol("BTCUSDZ26", year, coin="BTC")]) == "BTC"
    with pytest.raises(InvalidInput, match="BTCUSD in BTC; ETHUSD in ETH"):
        one_settle_coin([bitcoin, ether])
    with pytest.raises(InvalidInput, match="BTCUSDT in USDT; BTCPERP in USDC"):
        one_settle_coin([symbol("BTCUSDT", year), symbol("BTCPERP", year, coin="USDC")])


def test_the_cells_of_inverse_contracts_are_of_their_category_and_coin() -> None:
    cells, remarks = plan_cases(matrix(symbol("BTCUSD", span("2023-12-01", "2025-06-01"), coin="BTC"), tiers=("vip2",)))
    assert {(cell.category, cell.settle_coin) for cell in cells} == {(Category.INVERSE, "BTC")}
    assert cells[0].span.start == datetime(2024, 3, 7, tzinfo=UTC)
    assert "vip2" in remarks[0]


def test_the_rates_of_inverse_contracts_are_known_from_their_own_day() -> None:
    year = span("2025-01-01", "2026-08-01")
    starts = []
    for one in (symbol("BTCUSDT", year), symbol("BTCUSD", year, coin="BTC")):
        cells, _ = plan_cases(matrix(one, tiers=("pro1",)))
        starts.append(cells[0].span.start)
    assert starts == [datetime(2025, 9, 25, tzinfo=UTC), datetime(2026, 6, 16, tzinfo=UTC)]


def test_capital_is_ten_thousand_dollars_or_one_inverse_coin_unless_it_is_given() -> None:
    assert checked(PipelineRequest, strategies=("trend",)).terms.initial_capital == 10_000.0
    inverse = checked(PipelineRequest, strategies=("trend",), category="inverse")
    assert inverse.terms.initial_capital == 1.0
    assert PipelineRequest.model_validate_json(inverse.model_dump_json()) == inverse
    given = checked(PipelineRequest, strategies=("trend",), category="inverse", terms={"initial_capital": 10_000.0})
    assert given.terms.initial_capital == 10_000.0
    assert BacktestTerms().in_coin_of(Category.INVERSE).initial_capital == 1.0


def test_spot_cannot_be_back_tested_and_a_tier_has_to_be_known_for_the_category() -> None:
    with pytest.raises(InvalidInput, match=r"category.*spot"):
        checked(PipelineRequest, strategies=("trend",), category="spot")
    with pytest.raises(InvalidInput, match="'spot' cannot be back-tested: use linear or inverse"):
        contracts("spot")
    with pytest.raises(InvalidInput, match="vip77"):
        checked(PipelineRequest, strategies=("trend",), category="inverse", tiers=("vip77",))


def test_an_amount_shows_cents_of_a_dollar_coin_and_more_of_one_worth_thousands() -> None:
    assert (amount(1234.567, "USDT"), amount(0.0012345678, "BTC")) == ("1,234.57", "0.001235")
    assert amount(None, "BTC") == amount(float("nan"), "USDT") == "–"


def test_no_strategy_named_means_all_of_them() -> None:
    assert set(checked_strategies([])) >= {"trend", "breakout", "mean_reversion", "funding_carry"}


def test_slippage_is_a_model_and_a_bare_number_is_the_fixed_one() -> None:
    assert checked(BacktestTerms, slippage="0.0005").slippage == "fixed:0.0005"
    assert checked(BacktestTerms, slippage="volume_share:0.1:0.0001").slippage == "volume_share:0.1:0.0001"
    with pytest.raises(InvalidInput, match="unknown"):
        checked(BacktestTerms, slippage="hopeful")
    with pytest.raises(InvalidInput, match="quotes are not stored"):
        checked(BacktestTerms, slippage="quotes")


def test_detail_candles_have_to_be_shorter_than_the_candles() -> None:
    terms = checked(BacktestTerms, detail="15m")
    assert terms.detail_of("1h") is Interval.MINUTE_15
    with pytest.raises(InvalidInput, match="not shorter"):
        terms.detail_of("15m")


def test_pro_rates_are_known_from_another_day_for_each_group_of_symbols() -> None:
    year = span("2025-01-01", "2026-08-01")
    for names, start in ((("BTCUSDT",), "2025-09-25"), (("BTCUSDT", "WIFUSDT"), "2026-06-16")):
        cells, remarks = plan_cases(matrix(*(symbol(name, year) for name in names), tiers=("pro1",)))
        assert cells[0].span.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
        assert start in remarks[0]
