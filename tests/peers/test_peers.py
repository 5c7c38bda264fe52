"""Ours beside the peers on a small synthetic market; recorded years stand in docs/fidelity.md."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fidelity.equality import KINDS, STOPPED, STOPPED_BY, broken, compare, question
from tests.fidelity.plan import crossing
from tests.fidelity.synthetic import PERIOD, walk
from tests.peers import ABSENT, ENGINES, PYTHON, Answer, ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    market = walk()
    plan = crossing(market, PERIOD, 20_000.0)
    assert plan.n_orders > 10
    folder = tmp_path_factory.mktemp("plans")
    return [question(market, PERIOD, plan, kind, folder) for kind in (*KINDS, STOPPED)]


@pytest.mark.skipif(not PYTHON.exists(), reason=ABSENT)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_plan_makes_the_same_trades_and_the_same_money_in_every_engine(engine, questions):
    questions = [asked for asked in questions if asked.kind != STOPPED or engine in STOPPED_BY]
    found = compare(ask(engine, [asked.case for asked in questions]), questions)
    assert [(c.question.kind, c.equity_difference, c.trade_difference) for c in found if not c.equal] == []
    assert [len(c.theirs.trades) for c in found] == [len(asked.ours.trades) for asked in questions]


def test_a_trade_a_millionth_off_is_noticed(questions):
    theirs = Answer("nobody", "0", {asked.case.name: broken(asked.ours) for asked in questions})
    assert [c.equal for c in compare(theirs, questions)] == [False] * len(questions)


def test_a_trade_that_is_missing_or_an_hour_late_is_noticed(questions):
    asked = questions[0]
    first, *rest = asked.ours.trades
    late = replace(first, entry_ms=first.entry_ms + 3_600_000)
    for trades in ([late, *rest], rest):
        theirs = Answer("nobody", "0", {asked.case.name: replace(asked.ours, trades=tuple(trades))})
        (comparison,) = compare(theirs, [asked])
        assert not comparison.equal


def test_the_product_imports_none_of_the_peers():
    lock = (Path(__file__).parents[2] / "requirements" / "run.lock").read_text()
    assert not [name for name in ("vectorbt", "backtesting", "nautilus") if f"\n{name}" in lock]


def test_the_lock_of_the_peers_holds_hashes_and_no_address():
    text = (Path(__file__).parents[2] / "requirements" / "peers.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    for requirement in re.findall(r"^\S+==.*?(?=^\S|\Z)", text, flags=re.M | re.S):
        assert "--hash=sha256:" in requirement


def test_a_runner_that_fails_says_why(monkeypatch):
    monkeypatch.setattr("tests.peers.PYTHON", sys.executable)
    with pytest.raises(RuntimeError, match=r"run_absent\.py ended with"):
        ask("absent", [])
