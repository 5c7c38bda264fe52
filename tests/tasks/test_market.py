"""What a run plans to fetch from a tape."""

from datetime import UTC, datetime, timedelta

import pytest

from bybit.rules.candles import Category, Interval
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tasks.market import plan_symbols
from tasks.plans import PipelineRequest, Source
from tests.tapes import write_inverse_tape, write_tape

DAY = Period(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 3, tzinfo=UTC))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A tape of both kinds: BTCUSDT, and BTCUSD with ETHUSD."""
    tape = tmp_path_factory.mktemp("tape")
    write_inverse_tape(tape, ["BTCUSD", "ETHUSD"], DAY, Interval.HOUR_1)
    write_tape(tape, ["BTCUSDT"], DAY, Interval.HOUR_1)
    return Source(kind="sandbox", base_url="http://127.0.0.1:9", origin="tape-1", tape=str(tape))


def request(*symbols: str, category: str = "linear") -> PipelineRequest:
    return PipelineRequest(category=category, symbols=symbols, interval="1h", strategies=("trend",))


def test_only_contracts_of_the_category_asked_for_are_planned(source: Source) -> None:
    linear = plan_symbols.fn(source, request())
    assert [(plan.category, plan.symbol, plan.settle_coin) for plan in linear] == [
        (Category.LINEAR, "BTCUSDT", "USDT"),
    ]
    (inverse,) = plan_symbols.fn(source, request("ETHUSD", category="inverse"))
    assert (inverse.category, inverse.symbol, inverse.settle_coin) == (Category.INVERSE, "ETHUSD", "ETH")
    assert inverse.funding is not None
    assert (inverse.mark_interval, inverse.candles.end - inverse.candles.start) == ("1h", timedelta(days=2))


def test_a_symbol_of_the_other_category_is_not_found_and_what_there_is_is_named(source: Source) -> None:
    with pytest.raises(InvalidInput, match=r"of linear contracts it holds BTCUSDT$"):
        plan_symbols.fn(source, request("BTCUSD"))
    with pytest.raises(InvalidInput, match=r"of inverse contracts it holds BTCUSD, ETHUSD$"):
        plan_symbols.fn(source, request("BTCUSDT", category="inverse"))


def test_the_synthetic_market_has_no_inverse_contracts_and_what_to_give_instead_is_said() -> None:
    synthetic = Source(kind="sandbox", base_url="http://127.0.0.1:9", origin="synthetic-7")
    with pytest.raises(InvalidInput, match=r"bybit_inverse_BTCUSD_15m\.parquet"):
        plan_symbols.fn(synthetic, request(category="inverse"))


@pytest.mark.parametrize("symbols", [(), ("BTCUSD", "ETHUSD")])
def test_contracts_of_several_coins_are_refused_before_anything_is_fetched(
    source: Source, symbols: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput, match="BTCUSD in BTC; ETHUSD in ETH"):
        plan_symbols.fn(source, request(*symbols, category="inverse"))
