import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period
from tests.validation.evidence import GOOD, ORIGIN, QUARTERS, a_run, good_runs, paper_run
from validation.criteria import PAPER_GATES, SIMULATION_GATES
from validation.gates import Decision, GateConfig, Run, Stage, Verdict, judge
from validation.terms import TERMS_GATES

CONFIG = GateConfig()
UP = (Verdict.PROMOTE, Verdict.REVIEW)


def failing(decision: Decision) -> list[str]:
    return [gate.name for gate in decision.gates if not gate.passed]


def in_research(runs: list[Any], config: GateConfig = CONFIG) -> Decision:
    return judge("trend", Stage.RESEARCH, runs, config)


def changed(**changes: Any) -> list[Run]:
    """Good runs, the last of which is changed."""
    return [*good_runs()[:-1], a_run(period=QUARTERS[-1], **changes)]


def test_good_runs_promote_from_research_to_paper_without_a_person():
    decision = in_research(good_runs())
    assert (decision.verdict, decision.to_stage) == (Verdict.PROMOTE, Stage.PAPER_VALIDATION)
    assert failing(decision) == []
    assert [gate.name for gate in decision.gates] == [gate.name for gate in SIMULATION_GATES + TERMS_GATES]
    assert all(gate.margin is not None and gate.margin >= 0 for gate in decision.gates)


@pytest.mark.parametrize(
    ("gate", "runs"),
    [
        ("evidence_complete", good_runs()[:2]),
        ("no_refused_run", changed(refused="no risk tier for 2021")),
        ("one_configuration", changed(params={"fast_h": 24})),
        ("one_configuration", changed(symbols=("ETHUSDT",))),
        ("one_configuration", changed(provenance=ORIGIN | {"engine_version": "2"})),
        ("one_configuration", changed(provenance=ORIGIN | {"leverage": 5})),
        ("one_configuration", changed(provenance=ORIGIN | {"params": {"fast_h": 24}})),
        ("max_drawdown", changed(max_drawdown_at_closes=0.31)),
        ("real_market", changed(provenance=ORIGIN | {"origin": "synthetic-7"})),
        ("real_market", changed(provenance=ORIGIN | {"origin": "url-127.0.0.1-8900"})),
        ("full_costs", good_runs(provenance=ORIGIN | {"funding_policy": "zero"})),
        ("full_costs", good_runs(provenance=ORIGIN | {"mark_policy": "last"})),
        ("full_costs", good_runs(provenance=ORIGIN | {"slippage": "fixed:0.0"})),
        ("full_costs", good_runs(provenance=ORIGIN | {"slippage": "volume_share:0.1:0.0"})),
        ("full_costs", changed(assumptions={"absent_candles_in_allowed_gaps": 801})),
        ("full_costs", changed(assumptions={"held_candles_without_funding": 1})),
        ("full_costs", changed(assumptions={"held_candles_with_last_price_as_mark": 1})),
        ("min_trades", good_runs(n_trades=24)),
        ("net_return", changed(net_return=-0.115)),
        ("max_drawdown", changed(max_drawdown=0.21)),
        ("no_liquidation", changed(n_liquidations=1)),
    ],
)
def test_each_gate_alone_can_hold_a_strategy(gate, runs):
    decision = in_research(runs)
    assert failing(decision) == [gate]
    assert (decision.verdict, decision.to_stage) == (Verdict.HOLD, Stage.RESEARCH)
    failed = next(result for result in decision.gates if result.name == gate)
    assert failed.margin is not None
    assert failed.margin <= 0
    assert failed.margin == pytest.approx(-abs(failed.measured - failed.threshold))


def test_a_profit_from_half_of_the_periods_is_not_most():
    runs = [
        a_run(period=period, net_return=value) for period, value in zip(QUARTERS, (0.3, 0.3, -0.01, 0.0), strict=True)
    ]
    assert failing(in_research(runs)) == ["profitable_periods"]


def test_breaking_even_is_not_a_profit():
    assert failing(in_research(good_runs(net_return=0.0))) == ["net_return", "profitable_periods"]


def test_returns_of_consecutive_periods_compound():
    gate = next(g for g in in_research(good_runs(net_return=0.1)).gates if g.name == "net_return")
    assert gate.measured == pytest.approx(1.1**4 - 1)


def test_the_thresholds_themselves_are_inside():
    assert in_research(good_runs(max_drawdown=0.20, n_trades=25)).verdict is Verdict.PROMOTE


def test_every_tier_that_was_asked_has_to_pass():
    config = GateConfig(tiers=("vip0", "vip5"))
    assert in_research(good_runs(("vip0", "vip5")), config).verdict is Verdict.PROMOTE
    dear = good_runs(("vip5",)) + good_runs(("vip0",), net_return=-0.01)
    assert failing(in_research(dear, config)) == ["net_return", "profitable_periods"]
    assert "vip0" in next(g.reason for g in in_research(dear, config).gates if g.name == "net_return")


def test_tiers_that_were_not_asked_do_not_count():
    runs = good_runs() + good_runs(("vip5",), net_return=-0.5)
    assert in_research(runs).verdict is Verdict.PROMOTE


@pytest.mark.parametrize(
    ("runs", "config", "words"),
    [
        ([], CONFIG, "no run at the fee tiers asked"),
        (good_runs(("vip5",)), CONFIG, "no run at the fee tiers asked"),
        (good_runs(), GateConfig(tiers=("vip0", "vip5")), "vip5 in 2025-01-01..2025-04-01 has no run"),
        (good_runs()[:3], GateConfig(periods=QUARTERS), f"vip0 in {QUARTERS[3]} has no run"),
        ([*good_runs(), a_run(net_return=0.9)], CONFIG, "has 2 runs"),
        ([*good_runs(), a_run(period=Period(QUARTERS[0].start, QUARTERS[1].end))], CONFIG, "overlap"),
    ],
)
def test_a_hole_in_the_evidence_fails_every_gate_as_not_computable(runs, config, words):
    decision = in_research(runs, config)
    assert decision.verdict is Verdict.HOLD
    assert len(failing(decision)) == len(SIMULATION_GATES + TERMS_GATES)
    assert all(gate.reason.startswith("not computable") and words in gate.reason for gate in decision.gates)
    assert all(gate.measured is None for gate in decision.gates)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "0.04", True, -1.5])
def test_a_return_that_is_no_possible_number_fails_the_gate(value):
    gate = next(g for g in in_research(changed(net_return=value)).gates if g.name == "net_return")
    assert not gate.passed
    assert gate.reason.startswith("not computable: net_return of vip0 in")


def test_two_returns_below_minus_one_do_not_multiply_to_a_gain():
    runs = [*good_runs(net_return=0.5)[:2], *(a_run(period=p, net_return=-3.0) for p in QUARTERS[2:])]
    assert "net_return" in failing(in_research(runs))


def test_a_run_that_does_not_say_whether_it_was_refused_fails_the_gate():
    runs = good_runs()
    silent = replace(runs[0], metrics={k: v for k, v in GOOD.items() if k != "refused"})
    assert failing(in_research([silent, *runs[1:]])) == ["no_refused_run"]


def test_a_run_without_provenance_fails_the_gate():
    assert failing(in_research(changed(provenance={}))) == ["one_configuration", "real_market", "full_costs"]


METRICS = ("net_return", "max_drawdown", "n_trades", "n_liquidations", "sharpe", "fees", "funding")
figures = st.fixed_dictionaries(
    {
        "net_return": st.floats(-1.2, 0.5),
        "max_drawdown": st.floats(-0.05, 0.5),
        "n_trades": st.integers(0, 120),
        "n_liquidations": st.integers(0, 1),
    }
)


@given(
    st.lists(figures, min_size=4, max_size=4),
    st.sampled_from(list(Stage)),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(METRICS)), min_size=1, max_size=3),
    st.sampled_from([None, math.nan]),
)
def test_losing_a_figure_never_turns_a_hold_into_a_promotion(rows, stage, losses, nothing):
    runs = [a_run(period=period, **row) for period, row in zip(QUARTERS, rows, strict=True)] + [paper_run()]
    poorer = list(runs)
    for index, name in losses:
        poorer[index] = replace(poorer[index], metrics={**poorer[index].metrics, name: nothing})
    before, after = (judge("trend", stage, each, CONFIG) for each in (runs, poorer))
    assert before.verdict in UP or after.verdict not in UP
    for had, has in zip(before.gates, after.gates, strict=True):
        assert had.passed or not has.passed


@given(st.sampled_from(("net_return", "max_drawdown", "n_trades", "n_liquidations")), st.integers(0, 3))
def test_losing_any_figure_that_a_gate_reads_holds_a_good_strategy(name, index):
    runs = good_runs()
    runs[index] = replace(runs[index], metrics={**runs[index].metrics, name: None})
    assert in_research(runs).verdict is Verdict.HOLD


def test_real_money_is_only_ever_put_up_for_review():
    runs = [*good_runs(), paper_run()]
    for stage in (Stage.PAPER_VALIDATION, Stage.LIVE_CANDIDATE):
        decision = judge("trend", stage, runs, CONFIG)
        assert (decision.verdict, decision.to_stage) == (Verdict.REVIEW, stage.above)
        assert [gate.name for gate in decision.gates] == [
            gate.name for gate in SIMULATION_GATES + TERMS_GATES + PAPER_GATES
        ]


@pytest.mark.parametrize(
    ("paper", "failed"),
    [
        ([], ["paper_days", "paper_net_return"]),
        ([paper_run(days=27)], ["paper_days"]),
        ([paper_run(days=27), paper_run(days=26)], ["paper_days"]),
        ([paper_run(net_return=-0.01)], ["paper_net_return"]),
        ([paper_run(refused="the stream was down")], ["paper_days"]),
    ],
)
def test_simulations_alone_do_not_lead_to_real_money(paper, failed):
    decision = judge("trend", Stage.PAPER_VALIDATION, [*good_runs(), *paper], CONFIG)
    assert failing(decision) == failed
    assert decision.verdict is Verdict.HOLD


def test_paper_runs_are_no_part_of_the_simulated_grid():
    assert in_research([*good_runs(), paper_run(net_return=-0.9)]).verdict is Verdict.PROMOTE


def test_without_paper_days_asked_the_paper_gates_are_left_out():
    decision = judge("trend", Stage.PAPER_VALIDATION, good_runs(), GateConfig(min_paper_days=0))
    assert decision.verdict is Verdict.REVIEW


def test_whole_evidence_that_fails_takes_a_strategy_down_one_stage():
    decision = judge("trend", Stage.PAPER_VALIDATION, [*good_runs(net_return=-0.02)], CONFIG)
    assert (decision.verdict, decision.to_stage) == (Verdict.DEMOTE, Stage.RESEARCH)


def test_missing_evidence_holds_a_strategy_and_does_not_take_it_down():
    assert judge("trend", Stage.LIVE_TRADING, [], CONFIG).verdict is Verdict.HOLD


def test_at_the_top_good_evidence_changes_nothing():
    decision = judge("trend", Stage.LIVE_TRADING, [*good_runs(), paper_run()], CONFIG)
    assert (decision.verdict, decision.to_stage) == (Verdict.HOLD, Stage.LIVE_TRADING)
    assert failing(decision) == []


def test_evidence_of_another_strategy_is_refused():
    with pytest.raises(InvalidInput, match="runs of carry were given as evidence for trend"):
        in_research([*good_runs(), a_run(strategy="carry")])


def test_a_result_row_may_hold_its_figures_flat_or_nested_or_as_attributes():
    flat = {"strategy": "trend", "tier": "vip0", "period": str(QUARTERS[0]), "provenance": ORIGIN} | GOOD
    nested = {"strategy": "trend", "tier": "vip0", "period": QUARTERS[0], "provenance": ORIGIN, "metrics": GOOD}
    assert Run.of(flat) == Run.of(nested) == Run.of(a_run()) == a_run()


def test_a_fall_within_the_day_that_is_not_computable_fails_the_gate():
    assert failing(in_research(changed(max_drawdown_at_closes=None))) == ["max_drawdown"]


def test_numpy_figures_are_figures():
    decision = in_research(good_runs(net_return=np.float64(0.04), n_trades=np.int64(60)))
    assert decision.verdict is Verdict.PROMOTE
    assert decision.evidence_hash == in_research(good_runs()).evidence_hash


def test_a_row_that_belongs_nowhere_is_refused():
    with pytest.raises(InvalidInput, match="a run without tier"):
        Run.of({"strategy": "trend", "period": QUARTERS[0]})
    with pytest.raises(InvalidInput, match=r"start\.\.end"):
        Run.of({"strategy": "trend", "tier": "vip0", "period": "2025"})


def test_the_evidence_hash_ignores_the_order_of_runs_and_nothing_else():
    runs = good_runs()
    fingerprint = in_research(runs).evidence_hash
    assert len(fingerprint) == 64
    assert in_research(runs[::-1]).evidence_hash == fingerprint
    others = [
        in_research(changed(sharpe=1.40001)),
        in_research(changed(provenance=ORIGIN | {"data": "d2"})),
        in_research(changed(params={"fast_h": 24})),
        in_research(runs, GateConfig(max_drawdown=0.19)),
        judge("trend", Stage.PAPER_VALIDATION, runs, CONFIG),
        judge("carry", Stage.RESEARCH, good_runs(strategy="carry"), CONFIG),
    ]
    assert len({fingerprint, *(other.evidence_hash for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    "settings",
    [
        {"tiers": ()},
        {"tiers": ("vip0", "vip0")},
        {"periods": ()},
        {"max_drawdown": 20.0},
        {"min_profitable_share": 60},
        {"min_net_return": math.nan},
        {"min_net_return": -0.1},
        {"min_trades": 0},
    ],
)
def test_settings_under_which_a_gate_says_nothing_are_refused(settings):
    with pytest.raises(InvalidInput):
        GateConfig(**settings)


def test_reasons_name_the_failing_gates_in_words():
    decision = in_research(changed(max_drawdown=0.21))
    assert decision.reasons == [f"max_drawdown: deepest fall 21.00% (vip0 in {QUARTERS[3]}); at most 20.00% allowed"]
    assert QUARTERS[3].end - QUARTERS[3].start == timedelta(days=90)
