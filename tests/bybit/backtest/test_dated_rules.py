"""Rules that change with time: margin ladders, the basis of maintenance, fee tiers by traded volume."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from bybit.rules.errors import NotEstablished
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeEra, FeeRates, FeeSchedule
from bybit.rules.periods import to_ms
from tests.bybit.backtest.markets import (
    START,
    D,
    Scripted,
    engine,
    flat,
    frame,
    funding,
    instrument,
    ladder,
    market,
    period,
    run,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def seen(when, *args, **kwargs):
    return tuple(dataclasses.replace(tier, as_of=when) for tier in ladder(*args, **kwargs))


def test_a_ladder_changes_what_is_liquidated_from_its_day_on():
    rows = [*flat(100.0, 3), (100.0, 100.0, 92.0, 100.0), *flat(100.0, 1)]
    mild, hard = seen(START - DAY, (10**6,), ("0.01",)), seen(START + 2 * HOUR, (10**6,), ("0.05",))
    assert run(market(rows, risk_tiers=mild), [1] * 4).liquidations.empty
    late = run(market(rows, risk_tiers=(*mild, *seen(START + 9 * HOUR, (10**6,), ("0.05",)))), [1] * 4)
    assert late.liquidations.empty
    lost = run(market(rows, risk_tiers=(*mild, *hard)), [1] * 4)
    # 100 - (100 - 50) / 10, the margin less what maintenance asks by the second ladder.
    assert lost.liquidations["liquidation_price"].tolist() == pytest.approx([95.0])
    assert lost.assumptions["margin_ladder_of"] == "2023-12-31, 2024-01-01"
    assert late.assumptions["margin_ladder_of"] == "2023-12-31"


def test_the_first_ladder_stands_in_before_its_day_and_is_named():
    data = market(flat(100.0, 4), risk_tiers=seen(START + HOUR))
    assert run(data, [1, 1, 1]).assumptions["margin_ladder_of"] == "2024-01-01"
    on_the_day = market(flat(100.0, 4), risk_tiers=seen(START))
    assert "margin_ladder_of" not in run(on_the_day, [1, 1, 1]).assumptions


CHANGE = datetime(2025, 9, 2, tzinfo=UTC)


def around(start, rows):
    """Return a market whose first row is the warm-up candle before ``start``."""
    data = market(rows)
    candles = frame(rows, data.interval, to_ms(start - HOUR))
    rates = [dataclasses.replace(rate, funding_time=start - 8 * HOUR) for rate in funding((-8, "0.0001"))]
    return dataclasses.replace(
        data,
        candles=candles,
        mark=candles,
        funding=rates,
        instrument=instrument(as_of=start),
        risk_tiers=seen(start, (10**6,), ("0.01",)),
    )


@pytest.mark.parametrize(
    ("start", "price", "words"),
    [
        (CHANGE - 9 * DAY, 91.0, "by the entry price before 2025-09-02"),
        # From the mark: (100 - 10) / 0.99, rounded up to the tick.
        (CHANGE, 90.91, None),
        (CHANGE - HOUR, 90.91, "by the entry price before 2025-09-02, by the mark price from then on"),
    ],
)
def test_maintenance_counts_from_the_entry_until_its_day_and_from_the_mark_since(start, price, words):
    data = around(start, flat(100.0, 5))
    result = engine(Scripted([1] * 4)).run(data, period(data, start))
    assert result.open_positions["liquidation_price"].tolist() == pytest.approx([price])
    assert result.assumptions.get("maintenance_margin") == words


def era(tier, maker, taker, begin=START - 400 * DAY):
    return FeeEra("linear_perpetual", tier, FeeRates(D(maker), D(taker)), begin, None, "test", "high")


def test_traded_volume_lifts_the_fee_tier_at_the_next_evaluation():
    fees = FeeSchedule([era("vip0", "0.0002", "0.00055"), era("vip1", "0.00018", "0.0004")])
    tiers = VolumeTiers.parse("vip0:0,vip1:3500")
    n = 60
    data = market(flat(100.0, n + 1), settlements=funding(*((hour, "0.0") for hour in range(-8, n, 8))))
    result = run(data, [1, 0] * (n // 2), fee_schedule=fees, tier_by_volume=tiers)
    rates = result.fills["fee"] / (result.fills["qty"].abs() * result.fills["price"])
    lifted = result.fills["fill_time"] >= START + DAY + 7 * HOUR
    assert rates[~lifted].tolist() == pytest.approx([0.00055] * (~lifted).sum())
    assert rates[lifted].tolist() == pytest.approx([0.0004] * lifted.sum())
    assert result.provenance["tier_by_volume"] == "vip0:0,vip1:3500"
    assert "does not count" in result.assumptions["fee_tier_by_volume"]
    held = run(data, [1, 0] * (n // 2), fee_schedule=fees, tier="vip1", tier_by_volume=tiers)
    assert held.costs.taker_fees < result.costs.taker_fees


def test_a_tier_without_a_rate_is_refused_when_the_account_reaches_it():
    fees = FeeSchedule([era("vip0", "0.0002", "0.00055"), era("vip1", "0.00018", "0.0004", START + 9 * DAY)])
    n = 60
    data = market(flat(100.0, n + 1), settlements=funding(*((hour, "0.0") for hour in range(-8, n, 8))))
    terms = {"fee_schedule": fees, "tier_by_volume": VolumeTiers.parse("vip0:0,vip1:3500")}
    with pytest.raises(NotEstablished, match="fee rate of a fill of WIFUSDT at 2024-01-02T07:00"):
        run(data, [1, 0] * (n // 2), **terms)
    assert len(run(data, [1] * n, **terms).fills) == 1


def test_rates_that_rest_on_little_are_named():
    low = dataclasses.replace(era("vip0", "0.0002", "0.00055"), confidence="low")
    found = run(market(flat(100.0, 4)), [1, 1, 1], fee_schedule=FeeSchedule([low])).assumptions
    assert found["fees_of_low_confidence"] == "2022-11-27..now"


def test_a_period_without_any_position_assumes_nothing_of_positions():
    data = market(flat(100.0, 4))
    assert run(data, [0, 0, 0]).assumptions == {}
    assert set(run(data, [1, 0, 0]).assumptions) == {"not_modelled", "maintenance_margin"}
