"""The measuring itself, on a small market of our own; the figures stand in docs/fidelity.md."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bybit.backtest.engine import ENGINE_VERSION
from bybit.rules.fees import FeeSchedule
from tests.fidelity.commands import ROOT, Oracle, Said
from tests.fidelity.left_out import steps
from tests.fidelity.page import _explanations, _fills_verdict, _oracles_verdict, _scenarios_verdict
from tests.fidelity.plan import Terms, crossing, trade
from tests.fidelity.resolution import Resolution, largest_difference
from tests.fidelity.synthetic import PERIOD, walk
from tests.fidelity.tables import amount, money, small, table


@pytest.fixture(scope="module")
def market():
    return walk()


@pytest.fixture(scope="module")
def plan(market):
    return crossing(market, PERIOD, 20_000.0)


def test_every_fill_brings_the_position_to_the_planned_one(market, plan):
    wanted = plan.lots(market.instrument.qty_step)
    result = trade(market, PERIOD, wanted, Terms(1e6, schedule=FeeSchedule.builtin(), funding=True))
    assert result.liquidations.empty
    after = result.fills.groupby("fill_time")["size_after"].last()
    changed = wanted.target[wanted.target != wanted.target.shift(1, fill_value=0.0)]
    np.testing.assert_array_equal(after.to_numpy(), changed.to_numpy())
    assert (after.index == changed.index).all()


def test_the_steps_add_up_to_what_the_complete_engine_makes(market, plan):
    found, complete = steps(market, PERIOD, plan)
    assert sum(step.money for step in found) == pytest.approx(complete.costs.net, abs=1e-6)
    by_rule = {step.rule: step for step in found}
    funded, unfunded = by_rule["funding"], by_rule["prices on ticks"]
    assert funded.net - unfunded.net == pytest.approx(funded.money)
    assert funded.money != 0.0


def test_other_fills_are_not_compared_at_all(market, plan):
    terms = Terms(1e6, maker="0", taker="0")
    one = Resolution("mark", "1h", trade(market, PERIOD, plan.lots(market.instrument.qty_step), terms))
    later = one.result.fills.assign(price=one.result.fills["price"] + 0.0001)
    other = Resolution("mark", "15m", replace(one.result, fills=later))
    assert largest_difference([one, one]) == 0.0
    with pytest.raises(AssertionError, match="15m: other fills"):
        largest_difference([one, other])


def test_what_was_not_measured_does_not_hold():
    nothing = Said("python -m tests.scenarios", 1, ("No module named tests.scenarios",))
    for verdict in (_scenarios_verdict(nothing), _fills_verdict(nothing)):
        assert not verdict.holds
        assert "not measured: No module named" in verdict.found
    one_row = {"rows": 1, "exact": 0, "within_5e-8": 0, "unexplained": 1, "accuracy_rows": 0.5, "accuracy_money": 1.0}
    assert not _fills_verdict(replace(nothing, lines=(json.dumps(one_row),))).holds
    assert _fills_verdict(replace(nothing, lines=(json.dumps(one_row | {"accuracy_rows": 1.0}),))).holds
    assert not _oracles_verdict([]).holds
    assert not _oracles_verdict([Oracle("cscv", 3, 1, ("c01",), ())]).holds


def test_cases_that_differ_for_one_reason_share_a_row():
    lines = ("../a/b.json one: ours 1, theirs 2: they round", "../a/b.json two: ours 3, theirs 4: they round")
    assert _explanations([Oracle("b", 2, 0, (), lines)]) == [
        ("b.json: one, two", "ours 1, theirs 2; ours 3, theirs 4", "they round")
    ]


def test_the_page_was_written_by_the_engine_that_is_here():
    page = (ROOT / "docs/fidelity.md").read_text()
    assert f"engine version {ENGINE_VERSION};" in page, "the engine has changed: `make fidelity` writes the page anew"


def test_figures_read_as_they_are_meant():
    assert [money(value) for value in (1234.5, -0.004, -2.0)] == ["+1,234.50", "0.00", "-2.00"]
    assert amount(1234.5) == "1,234.50"
    assert [small(value) for value in (0.0, 3e-16, 2e-10, 0.02)] == ["0", "< 1e-15", "< 1e-9", "2.0e-02"]
    assert table(["a", "b"], [("x|y", "1")], numbers=(1,)).splitlines()[1:] == ["| --- | ---: |", "| x\\|y | 1 |"]
