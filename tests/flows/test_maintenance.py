"""A venue that was closed for an afternoon, from its announcement to the back-test."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from bybit.rules.periods import Period
from bybit.sandbox import Maintenance, SandboxConfig
from tests.flows.conftest import Perpflow
from tests.sandbox import running
from tests.tapes import ninety_days, write_tape

pytestmark = pytest.mark.slow

START = datetime(2025, 3, 1, tzinfo=UTC)


def test_an_announced_maintenance_is_no_fault_and_nothing_is_filled_in_it(perpflow: Perpflow, tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "tape", ["BTCUSDT"], ninety_days(START))
    # Every second afternoon, so that a strategy of many trades would have traded in one of them.
    days = [START + timedelta(days=n, hours=12) for n in range(2, 90, 2)]
    shut = tuple(Maintenance(Period(day, day + timedelta(hours=3))) for day in days)
    with running(SandboxConfig(tape=tape, maintenances=shut)) as url:
        fetch = ("ingest", "--symbols", "BTCUSDT", "--interval", "15m", "--price", "last,mark", "--funding")
        span = ("--start", "2025-03-01", "--end", "2025-05-30")
        report = perpflow(*fetch, *span, "--base-url", url, "--json").json
    assert [series["n_holes"] for series in report["series"]] == [len(shut), 0, 0]
    checked = perpflow("quality", "--symbols", "BTCUSDT", "--interval", "15m", "--json")
    assert (checked.code, checked.json["passed"]) == (0, True)
    row = perpflow(
        "backtest", "--strategy", "mean_reversion", "--symbols", "BTCUSDT", "--interval", "15m", "--json"
    ).json
    assert row["refused"] is None
    # Told apart from missing data, which the gates take for a cost that was let off.
    assert row["assumptions"]["candles_absent_while_the_venue_was_closed"] == 12 * len(shut)
    assert "absent_candles_in_allowed_gaps" not in row["assumptions"]
    fills = pd.read_parquet(tmp_path / "home" / "runs" / row["run_key"][:32] / "fills.parquet")
    assert len(fills) > 50
    times = fills["fill_time"]
    assert not any(((times >= each.period.start) & (times < each.period.end)).any() for each in shut)
