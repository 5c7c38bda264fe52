import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bybit.rules.candles import Interval, PriceType
from bybit.rules.errors import InvalidInput, PerpflowError
from bybit.rules.periods import Period
from tests.validation.tables import MINUTES, START, candles, key, span
from validation.candles import floored, next_slots
from validation.data import CandleLimits, QualityError, QualityReport, candle_suite, check_candles, check_file
from validation.expectations import Rule, run_suite

MINUTE = timedelta(minutes=1)


@dataclass
class Hole:
    period: Period
    reason: str


def failing(report: QualityReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def check(frame: pd.DataFrame, **changes) -> QualityReport:
    return check_candles(frame, changes.pop("key", MINUTES), changes.pop("period", span(candles())), **changes)


def test_clean_candles_pass_every_check():
    report = check(candles())
    assert failing(report) == set()
    assert report.passed
    assert report.gaps == ()
    assert report.n_rows == 120
    assert report.require() is report
    names = [check.name for check in report.checks]
    assert len(names) == len(set(names))
    assert set(names) == {rule.name for rule in candle_suite(MINUTES, CandleLimits())} | {"no_empty_holes"}


@pytest.mark.parametrize("interval", list(Interval))
def test_the_grid_of_a_whole_table_is_the_grid_of_each_candle(interval):
    times = np.random.default_rng(7).integers(1_500_000_000_000, 1_900_000_000_000, 200)
    slots = floored(interval, times)
    assert slots.tolist() == [interval.floor_ms(time) for time in times.tolist()]
    assert next_slots(interval, slots).tolist() == [interval.close_ms(slot) for slot in slots.tolist()]


@pytest.mark.parametrize("interval", [Interval.HOUR_12, Interval.WEEK_1, Interval.MONTH_1])
def test_days_weeks_and_months_are_checked_on_their_own_grid(interval):
    frame = candles(15, interval, datetime(2024, 2, 29, 11, 7, tzinfo=UTC))
    assert failing(check_candles(frame, key(interval=interval), span(frame, interval))) == set()
    late = moved(7, timedelta(days=1))(frame).drop(frame.index[3])
    assert failing(check_candles(late, key(interval=interval), span(frame, interval))) >= {"no_gaps"}


def set_cell(row: int, column: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iloc[row, frame.columns.get_loc(column)] = value
        return frame

    return change


def repeat(row: int, **changes: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: pd.concat([frame[: row + 1], frame.iloc[[row]].assign(**changes), frame[row + 1 :]])


def moved(row: int, by: timedelta) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        times = frame.index.to_series()
        times.iloc[row] += by
        return frame.set_index(pd.DatetimeIndex(times, name="open_time"))

    return change


def swap(a: int, b: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        order = list(range(len(frame)))
        order[a], order[b] = order[b], order[a]
        return frame.iloc[order]

    return change


def flat(n: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        price = frame["close"].iloc[39]
        frame.iloc[40 : 40 + n, :4] = price
        frame.iloc[40 + n, frame.columns.get_loc("low")] = price * 0.9
        frame.iloc[40 + n, frame.columns.get_loc("high")] = price * 1.1
        return frame

    return change


def scaled(rows: slice, factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iloc[rows, :4] *= factor
        return frame

    return change


DEFECTS = {
    "a row twice": (repeat(50), {"keys_unique"}),
    "two versions of one candle": (repeat(50, volume=3.0), {"keys_unique", "no_conflicts"}),
    "two rows swapped": (swap(50, 51), {"increasing"}),
    "newest first": (lambda frame: frame[::-1], {"increasing"}),
    "a time off the grid": (moved(50, timedelta(seconds=13)), {"on_grid"}),
    "a candle from before the period": (moved(0, -5 * MINUTE), {"inside_period", "no_gaps"}),
    "a candle from after the period": (moved(119, 5 * MINUTE), {"inside_period", "no_gaps"}),
    "one candle missing": (lambda frame: frame.drop(frame.index[50]), {"no_gaps"}),
    "the first candle missing": (lambda frame: frame[1:], {"covers_start"}),
    "the last candle missing": (lambda frame: frame[:-1], {"covers_end"}),
    "an open missing": (set_cell(50, "open", np.nan), {"prices_present"}),
    "a close missing": (set_cell(50, "close", np.nan), {"prices_present"}),
    "a high below the close": (set_cell(50, "high", 0.0001), {"high_is_highest", "low_is_lowest"}),
    "a high just below the open": (
        lambda frame: set_cell(50, "high", np.nextafter(frame.iloc[50, [0, 3]].max(), 0))(frame),
        {"high_is_highest"},
    ),
    "a low just above the close": (
        lambda frame: set_cell(50, "low", np.nextafter(frame.iloc[50, [0, 3]].min(), 1e9))(frame),
        {"low_is_lowest"},
    ),
    "an infinite high": (set_cell(50, "high", np.inf), {"finite"}),
    "an infinite volume": (set_cell(50, "volume", np.inf), {"finite"}),
    "a low of zero": (set_cell(50, "low", 0.0), {"prices_positive"}),
    "a negative low": (set_cell(50, "low", -1.0), {"prices_positive"}),
    "a negative volume": (set_cell(50, "volume", -1.0), {"volume_not_negative"}),
    "a negative turnover": (set_cell(50, "turnover", -1.0), {"volume_not_negative"}),
    "a volume missing": (set_cell(50, "volume", np.nan), {"volume_present"}),
    "a move without volume": (set_cell(50, "volume", 0.0), {"volume_with_moves"}),
    "a jump of 12 %": (scaled(slice(60, None), 1.12), {"jumps"}),
    "a split of ten to one": (scaled(slice(60, None), 0.1), {"jumps", "absurd_jumps"}),
    "a slipped decimal": (scaled(slice(60, 61), 10.0), {"jumps", "absurd_jumps"}),
    "a price frozen for 31 candles": (flat(31), {"not_frozen"}),
}  # fmt: skip
ONLY_WARN = {"volume_with_moves", "jumps", "not_frozen", "mark_near"}


@pytest.mark.parametrize("name", DEFECTS)
def test_one_defect_fails_exactly_its_own_check(name):
    spoil, expected = DEFECTS[name]
    report = check(spoil(candles()))
    assert failing(report) == expected
    assert report.passed == (expected <= ONLY_WARN)
    for result in report.checks:
        if not result.passed:
            assert result.n_failing >= 1
            assert result.failing_rows


def test_every_check_of_the_suite_is_seen_to_fail_somewhere():
    elsewhere = {"closed", "mark_near", "mark_possible"}
    named = set().union(*(expected for _, expected in DEFECTS.values())) | elsewhere
    assert named == {rule.name for rule in candle_suite(MINUTES, CandleLimits())}


def test_thirty_candles_at_one_price_are_still_quiet_and_not_frozen():
    assert failing(check(flat(30)(candles()))) == set()


def test_failing_rows_show_real_values_and_the_count_is_complete():
    frame = candles()
    frame.iloc[20:45, frame.columns.get_loc("volume")] = -2.5
    found = next(c for c in check(frame).checks if c.name == "volume_not_negative")
    assert found.n_failing == 25
    assert len(found.failing_rows) == 10
    assert found.failing_rows[0]["row"] == 20
    assert found.failing_rows[0]["volume"] == -2.5
    assert found.failing_rows[0]["open_time"] == "2025-03-03T00:20:00+00:00"
    assert found.observed == "volume: 25 of 120 rows fail"


def test_a_gap_is_told_with_its_size_and_its_span():
    frame = candles()
    report = check(frame.drop(frame.index[50:53]).drop(frame.index[80]))
    found = next(c for c in report.checks if c.name == "no_gaps")
    assert (found.n_failing, [row["missing_before"] for row in found.failing_rows]) == (2, [3, 1])
    assert found.observed.startswith("4 candles missing in 2 gaps, the largest of 3")
    at = START + 50 * MINUTE
    assert report.gaps == (Period(at, at + 3 * MINUTE), Period(START + 80 * MINUTE, START + 81 * MINUTE))


HOLE = Period(START + 50 * MINUTE, START + 55 * MINUTE)


def holed() -> pd.DataFrame:
    frame = candles()
    return frame.drop(frame.index[50:55])


def test_a_recorded_maintenance_hole_is_no_fault_but_still_a_gap():
    report = check(holed(), holes=[Hole(HOLE, "maintenance 2025-03-03")])
    assert failing(report) == set()
    assert report.gaps == (HOLE,)


def test_what_lies_before_the_listing_is_neither_fault_nor_gap():
    frame = candles()
    report = check(frame[30:], holes=[Hole(Period(START - 99 * MINUTE, START + 30 * MINUTE), "before listing")])
    assert failing(report) == set()
    assert report.gaps == ()


@pytest.mark.parametrize("reason", ["venue-empty", "venue-empty (2 confirmations)", "rejected", "who knows"])
def test_any_other_hole_blocks_until_it_is_allowed_and_is_counted_then(reason):
    holes = [Hole(HOLE, reason), Hole(Period(START + 5 * MINUTE, START + 6 * MINUTE), "venue-empty")]
    refused = check(holed(), holes=holes)
    assert not refused.passed
    allowed = check(holed(), holes=holes, allow_gaps=True)
    assert allowed.passed
    for report, severity in ((refused, "block"), (allowed, "warn")):
        found = next(c for c in report.checks if c.name == "no_empty_holes")
        assert failing(report) == {"no_empty_holes"}
        assert (found.severity, found.n_failing, found.observed) == (severity, 5, "5 candles in 1 recorded holes")
        assert found.failing_rows == [{"period": str(HOLE), "reason": reason, "candles": 5}]
        assert report.gaps == (HOLE,)


def test_gaps_nobody_recorded_block_even_when_gaps_are_allowed():
    report = check(holed(), allow_gaps=True)
    assert failing(report) == {"no_gaps"}
    assert not report.passed


def test_a_hole_wider_than_the_gap_hides_nothing_beside_it():
    frame = holed().drop(START + 70 * MINUTE)
    assert failing(check(frame, holes=[Hole(HOLE, "maintenance")])) == {"no_gaps"}


def test_a_stale_last_candle_says_how_far_it_is_from_the_end():
    period = Period(START, START + timedelta(hours=5))
    report = check(candles(), period=period)
    found = next(c for c in report.checks if c.name == "covers_end")
    assert found.observed == "the last candle is stale: it closes 3.00 h before the end"
    assert report.gaps == (Period(START + timedelta(hours=2), period.end),)


def test_candles_that_could_not_have_closed_are_not_asked_for():
    period = Period(START, START + timedelta(hours=5))
    now = START + timedelta(hours=2, seconds=59)
    assert failing(check(candles(), period=period, now=now)) == set()


def test_a_candle_that_has_not_closed_is_refused():
    report = check(candles(), now=START + timedelta(hours=2, seconds=-1))
    assert failing(report) == {"closed"}
    assert next(c for c in report.checks if c.name == "closed").observed == "the last candle closes 1 s from now"


def test_an_end_off_the_grid_asks_only_for_candles_that_lie_wholly_inside():
    period = Period(START - timedelta(seconds=59), START + timedelta(hours=2, seconds=59))
    assert failing(check(candles(), period=period)) == set()


def test_conflicts_recorded_while_fetching_block():
    report = check(candles(), conflicts=2)
    assert failing(report) == {"no_conflicts"}
    assert report.blocking[0].observed == "2 contradictions recorded while fetching"
    with pytest.raises(InvalidInput):
        check(candles(), conflicts=-1)


@pytest.mark.parametrize("price", [PriceType.MARK, PriceType.INDEX])
def test_mark_and_index_candles_have_no_volume(price):
    frame = candles().assign(volume=np.nan, turnover=np.nan)
    assert failing(check(frame, key=key(price))) == set()


def test_premium_candles_may_be_negative_and_traded_ones_may_not():
    frame = (candles() - 100.01) / 100
    frame = frame.assign(volume=np.nan, turnover=np.nan)
    assert (frame["close"] < 0).any()
    assert failing(check(frame, key=key(PriceType.PREMIUM))) == set()
    assert "prices_positive" in failing(check(frame, key=key(PriceType.MARK)))


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.009, set()), (0.985, {"mark_near"}), (1.12, {"mark_near", "mark_possible"})]
)
def test_the_last_price_stays_near_the_mark(factor, expected):
    mark = candles()
    mark.iloc[60, 0] /= factor
    report = check(candles(), mark=mark)
    assert failing(report) == expected
    assert report.passed == (factor != 1.12)


def test_a_coarser_mark_series_is_compared_where_both_open():
    mark = candles()[::60].copy()
    assert failing(check(candles(), mark=mark)) == set()
    mark.iloc[1, 0] *= 1.5
    assert failing(check(candles(), mark=mark)) == {"mark_near", "mark_possible"}


def test_a_mark_series_of_another_time_is_no_comparison():
    mark = candles(start=START + timedelta(days=9))
    assert failing(check(candles(), mark=mark)) == {"mark_comparable"}
    assert failing(check(candles(), mark=mark[:0])) == {"mark_comparable"}


def test_zero_rows_are_not_a_pass():
    report = check(candles()[:0])
    assert not report.passed
    assert failing(report) == {"rows_present"}
    assert report.gaps == (span(candles()),)


def test_missing_columns_and_text_for_figures_are_refused():
    assert failing(check(candles().drop(columns="high"))) == {"columns_present"}
    text = candles().astype({"open": str})
    assert failing(check(text)) == {"columns_numeric"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.tz_localize(None),
        lambda frame: frame.reset_index(drop=True),
        lambda frame: frame.set_index(frame.index.where(frame.index != frame.index[5])),
    ],
)
def test_times_that_say_no_instant_are_refused(spoil):
    with pytest.raises(InvalidInput):
        check(spoil(candles()))


def test_checking_changes_nothing():
    frame = candles()
    check(frame, mark=frame)
    pd.testing.assert_frame_equal(frame, candles())


def test_the_error_lists_every_reason():
    frame = repeat(50)(candles()).drop(START + 70 * MINUTE)
    with pytest.raises(QualityError) as caught:
        check(frame).require()
    assert isinstance(caught.value, PerpflowError)
    assert not caught.value.retryable
    assert "linear/BTCUSDT/last/1m 2025-03-03..2025-03-03T02:00 failed 2 of" in str(caught.value)
    assert "keys_unique: open_time_ms: 2 of 120 rows fail (expected each open time once)" in str(caught.value)
    assert "no_gaps: 1 candles missing in 1 gaps" in str(caught.value)
    assert [c.name for c in caught.value.report.blocking] == ["keys_unique", "no_gaps"]


def test_a_report_travels_as_json_even_with_infinite_values():
    report = check(DEFECTS["an infinite high"][0](holed()), holes=[Hole(HOLE, "venue-empty")])
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["passed"] is False
    finite = next(c for c in told["checks"] if c["name"] == "finite")
    assert finite["failing_rows"][0]["high"] == "inf"
    assert told["gaps"] == ["2025-03-03T00:50..2025-03-03T00:55"]


def test_a_check_that_cannot_run_has_failed():
    table = pd.DataFrame({"time_ms": [1_700_000_000_000], "x": [1.0]})
    rule = Rule("broken", "a column", "ExpectColumnValuesToBeBetween", ({"column": "absent"},), {"min_value": 0})
    (found,) = run_suite(table, [rule], time="time_ms")
    assert not found.passed
    assert "the check itself failed" in found.observed
    assert "absent" in found.observed
    (empty,) = run_suite(table, [replace(rule, columns=())], time="time_ms")
    assert not empty.passed


def test_results_are_matched_by_name_whatever_their_order():
    table = pd.DataFrame({"time_ms": [1_700_000_000_000] * 3, "a": [1.0, 2.0, 3.0], "b": [1.0, -2.0, 3.0]})
    kinds = [("ExpectColumnValuesToBeUnique", {}), ("ExpectColumnValuesToBeBetween", {"min_value": 0})]
    rules = [Rule(f"{kind}-{c}", "", kind, ({"column": c},), arguments) for c in "ba" for kind, arguments in kinds]
    found = run_suite(table, rules, time="time_ms")
    assert [check.name for check in found] == [rule.name for rule in rules]
    assert [check.passed for check in found] == [True, False, True, True]


def test_threads_may_check_at_the_same_time():
    frames = [candles(), repeat(50)(candles()), holed(), candles()]
    reports: list[set[str] | None] = [None] * len(frames)

    def work(place: int) -> None:
        reports[place] = failing(check(frames[place]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports == [set(), {"keys_unique"}, {"no_gaps"}, set()]


def test_a_checked_table_is_not_kept_in_memory():
    check(candles(1234), period=span(candles(1234)))
    gc.collect()
    assert [len(item) for item in gc.get_objects() if isinstance(item, pd.DataFrame) and len(item) == 1234] == []


def test_great_expectations_is_not_imported_before_the_first_check():
    code = "import sys, validation.data, validation.gates; sys.exit('great_expectations' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=60).returncode == 0


def saved(folder: Path, name: str, frame: pd.DataFrame, **labels: object) -> Path:
    table = frame.reset_index()
    column = table.columns[0]
    table[column] = table[column].dt.as_unit("ms").astype("int64")
    table.assign(**({"symbol": "BTCUSDT", "interval": "1m"} | labels)).to_parquet(folder / name)
    return folder / name


def test_a_file_says_by_its_name_what_it_holds(tmp_path):
    last = saved(tmp_path, "bybit_linear_BTCUSDT_1m_2025.parquet", candles())
    mark = saved(tmp_path, "bybit_linear_mark_BTCUSDT_1m.parquet", candles().assign(volume=np.nan, turnover=np.nan))
    assert failing(check_file(last, mark=mark)) == set()
    assert failing(check_file(mark)) == set()
    renamed = last.rename(tmp_path / "bybit_linear_BTCUSDT_5m_2025.parquet")
    assert {"one_series", "on_grid"} <= failing(check_file(renamed))


def test_a_file_whose_labels_differ_from_its_name_is_refused(tmp_path):
    labels = ["BTCUSDT"] * 119 + ["ETHUSDT"]
    path = saved(tmp_path, "bybit_linear_BTCUSDT_1m.parquet", candles(), symbol=labels)
    report = check_file(path)
    assert failing(report) == {"one_series"}
    assert report.blocking[0].observed == "symbol is also ETHUSDT"


@pytest.mark.parametrize("name", ["BTCUSDT_1m.parquet", "okx_swap_BTCUSDT_1m.parquet", "bybit_linear_BTCUSDT.parquet"])
def test_a_file_with_a_name_that_says_nothing_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="name"):
        check_file(saved(tmp_path, name, candles(), interval=["1m", "5m"] * 60))


def test_an_empty_file_is_refused(tmp_path):
    report = check_file(saved(tmp_path, "bybit_linear_BTCUSDT_1m.parquet", candles()[:0]))
    assert failing(report) == {"rows_present"}


def recorded(folder: str) -> list[str]:
    shared = Path(__file__).parents[3] / "shared" / "data" / folder
    return sorted(path.name for path in shared.glob("bybit_*.parquet"))


@pytest.mark.parametrize("folder", [pytest.param("klines", marks=pytest.mark.slow), "funding"])
def test_recorded_files_pass_unless_their_recorder_left_gaps(shared, folder):
    names = recorded(folder)
    assert names
    for name in names:
        report = check_file(shared / "data" / folder / name)
        if "_blocks_" not in name:
            assert report.passed, str(report.blocking)
            continue
        assert [c.name for c in report.blocking] == ["no_gaps"]
        assert report.blocking[0].n_failing == 524
        assert "the largest of 801" in report.blocking[0].observed
        assert len(report.gaps) == 524


def test_the_file_of_mixed_intervals_is_refused_with_the_reasons(shared):
    report = check_file(shared / "data" / "dirty" / "bybit_linear_BTCUSDT_mixed_intervals_labelled_1m.parquet")
    reasons = {check.name: check for check in report.blocking}
    assert set(reasons) == {"keys_unique", "no_conflicts", "no_gaps"}
    assert reasons["keys_unique"].n_failing == 1380
    assert "several intervals in one table" in reasons["no_gaps"].observed
    assert "5 min x 1,353" in reasons["no_gaps"].observed
    with pytest.raises(QualityError, match="no_conflicts"):
        report.require()


def test_recorded_last_prices_stay_near_recorded_marks(shared):
    folder = shared / "data" / "klines"
    report = check_file(
        folder / "bybit_linear_WIFUSDT_1h_listing_2025-06.parquet",
        mark=folder / "bybit_linear_mark_WIFUSDT_1h_listing_2025-06.parquet",
    )
    assert report.passed
    assert next(c for c in report.warnings if c.name == "mark_near").n_failing == 5
