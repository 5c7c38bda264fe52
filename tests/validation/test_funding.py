from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tests.validation.tables import START, settlements
from tests.validation.test_data import Hole, failing
from validation.data import FundingLimits, QualityReport, check_file, check_funding, funding_suite

HOUR = timedelta(hours=1)


def span(frame: pd.DataFrame, step_h: float = 8) -> Period:
    return Period(START, frame.index[-1].to_pydatetime() + timedelta(hours=step_h))


def check(frame: pd.DataFrame, **changes) -> QualityReport:
    period = changes.pop("period", None) or span(frame)
    return check_funding(frame, Category.LINEAR, "BTCUSDT", period, **changes)


@pytest.mark.parametrize(
    "steps",
    [
        [8] * 20,
        [1] * 40,
        [8] * 6 + [4] * 6,
        [8] * 6 + [4] * 6 + [8] * 6,
        [8] * 6 + [1] * 5 + [3] + [8] * 6,
        [8] * 4 + [1] + [7] + [8] * 4,
        [8] * 4 + [2, 6] + [8] * 4,
        [4] * 6 + [1] * 4 + [2] * 4 + [4] * 3,
    ],
    ids=str,
)
def test_an_interval_may_change_and_a_settlement_may_be_extra(steps):
    report = check(settlements(steps), period=span(settlements(steps), 1))
    assert failing(report) <= {"usual_steps"}
    assert report.passed
    assert report.gaps == ()


def words(value: object) -> str:
    """Name a case the same in every process: a set has no order of its own."""
    return ",".join(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([8] * 6 + [16] + [8] * 6, {"no_gaps", "own_interval"}),
        ([8] * 6 + [4] * 6 + [8] + [4] * 6, {"own_interval"}),
        ([1] * 6 + [2] + [1] * 6, {"own_interval"}),
        ([1] * 6 + [3] + [1] * 6, {"own_interval", "usual_steps"}),
        ([4] * 6 + [8, 8], {"own_interval"}),
        ([4] * 6 + [12] + [8] * 6, {"no_gaps", "own_interval"}),
        ([8] * 4 + [2.5, 5.5] + [8] * 4, {"whole_hours", "usual_steps"}),
    ],
    ids=words,
)
def test_a_missing_settlement_is_noticed_by_its_step(steps, expected):
    report = check(settlements(steps), period=span(settlements(steps), 1))
    assert failing(report) == expected
    assert not report.passed
    if "own_interval" in expected:
        longest = report.blocking[-1].failing_rows[0]
        assert longest["step_h"] == max(steps[6:])
        assert len(report.gaps) == report.blocking[-1].n_failing


def test_the_instruments_interval_confirms_a_change_that_has_not_lasted():
    frame = settlements([4] * 6 + [8])
    assert failing(check(frame)) == {"own_interval"}
    assert failing(check(frame, funding_interval=8 * HOUR)) == set()
    assert failing(check(frame, funding_interval=4 * HOUR)) == {"own_interval"}


def spoiled(row: int, value: float) -> pd.DataFrame:
    frame = settlements([8] * 12)
    frame.iloc[row, 0] = value
    return frame


def doubled(**changes: float) -> pd.DataFrame:
    frame = settlements([8] * 12)
    return pd.concat([frame[:6], frame.iloc[[5]].assign(**changes), frame[6:]])


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (spoiled(5, np.nan), {"rates_present"}),
        (spoiled(5, 0.0501), {"within_cap", "usual_rates"}),
        (spoiled(5, -0.0501), {"within_cap", "usual_rates"}),
        (spoiled(5, -0.02), {"usual_rates"}),
        (spoiled(5, np.inf), {"finite", "within_cap", "usual_rates"}),
        (doubled(), {"keys_unique"}),
        (doubled(funding_rate=0.0007), {"keys_unique", "no_conflicts"}),
        (settlements([8] * 12)[::-1], {"increasing"}),
        (settlements([8] * 12).drop(START + 40 * HOUR), {"no_gaps", "own_interval"}),
    ],
    ids=lambda value: None if isinstance(value, pd.DataFrame) else "-".join(sorted(value)),
)
def test_one_defect_fails_exactly_its_own_check(frame, expected):
    report = check(frame, period=span(settlements([8] * 12)))
    assert failing(report) == expected
    assert report.passed == (expected == {"usual_rates"})


def test_every_check_of_the_suite_is_seen_to_fail_somewhere():
    assert len(funding_suite(FundingLimits())) == 14


def test_clean_settlements_pass():
    report = check(settlements([8] * 12))
    assert failing(report) == set()
    assert len(report.checks) == 15


def test_a_symbols_own_cap_is_used_when_given():
    frame = spoiled(5, 0.006)
    assert failing(check(frame)) == set()
    assert failing(check(frame, limits=FundingLimits(cap_rate=0.005))) == {"within_cap"}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (settlements([8] * 12)[1:], {"covers_start"}),
        (settlements([8] * 12)[:-1], {"covers_end"}),
        (settlements([8] * 12)[3:-3], {"covers_start", "covers_end"}),
    ],
    ids=["start", "end", "both"],
)
def test_both_ends_of_the_period_are_covered_to_within_an_interval(frame, expected):
    assert failing(check(frame, period=span(settlements([8] * 12)))) == expected


def test_a_settlement_outside_the_period_is_refused():
    frame = settlements([8] * 12)
    assert failing(check(frame, period=Period(START + HOUR, span(frame).end))) == {"inside_period"}


def test_settlements_that_are_not_published_yet_are_not_asked_for():
    frame = settlements([8] * 12)
    late = Period(START, span(frame).end + 30 * HOUR)
    assert failing(check(frame, period=late)) == {"covers_end"}
    assert failing(check(frame, period=late, now=span(frame).end + timedelta(minutes=4))) == set()


def test_settlements_late_by_milliseconds_stay_on_their_interval():
    frame = settlements([8] * 12)
    frame.index = frame.index + pd.to_timedelta(np.arange(13) % 3 * 7, unit="ms")
    assert failing(check(frame, period=span(settlements([8] * 12)))) == set()


def test_recorded_holes_are_excused_by_their_reason():
    frame = settlements([8] * 12).drop(START + 40 * HOUR)
    hole = Period(START + 36 * HOUR, START + 44 * HOUR)
    assert failing(check(frame, holes=[Hole(hole, "maintenance")])) == set()
    refused = check(frame, holes=[Hole(hole, "venue-empty")])
    assert failing(refused) == {"no_empty_holes"}
    assert not refused.passed
    assert check(frame, holes=[Hole(hole, "venue-empty")], allow_gaps=True).passed


def test_nothing_is_due_before_the_listing():
    frame = settlements([8] * 12)
    hole = Period(START - 999 * HOUR, START - 2 * HOUR)
    period = Period(hole.start, span(frame).end)
    assert failing(check(frame, period=period)) == {"covers_start"}
    assert failing(check(frame, period=period, holes=[Hole(hole, "before listing")])) == set()


def test_a_hole_at_the_edge_that_nothing_explains_excuses_nothing():
    frame = settlements([8] * 12)
    hole = Period(START - 99 * HOUR, START - 2 * HOUR)
    period = Period(hole.start, span(frame).end)
    assert "covers_start" in failing(check(frame, period=period, holes=[Hole(hole, "venue-empty")]))
    assert check(frame, period=period, holes=[Hole(hole, "venue-empty")], allow_gaps=True).passed


def test_recorded_contradictions_block():
    assert failing(check(settlements([8] * 12), conflicts=1)) == {"no_conflicts"}
    with pytest.raises(InvalidInput):
        check(settlements([8] * 12), conflicts=-1)


def test_zero_settlements_are_not_a_pass():
    report = check(settlements([8])[:0], period=Period(START, START + 8 * HOUR))
    assert failing(report) == {"rows_present"}


def test_one_settlement_can_be_all_there_is():
    assert failing(check(settlements([]), period=Period(START, START + 8 * HOUR))) == set()


def test_a_funding_file_is_known_by_its_column(tmp_path):
    frame = settlements([8] * 12).reset_index()
    frame["funding_time"] = frame["funding_time"].dt.as_unit("ms").astype("int64")
    path = tmp_path / "bybit_linear_BTCUSDT_2025.parquet"
    frame.assign(symbol="BTCUSDT").to_parquet(path)
    assert failing(check_file(path)) == set()
    frame.assign(symbol="ETHUSDT").to_parquet(path)
    assert failing(check_file(path)) == {"one_series"}
