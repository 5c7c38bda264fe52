"""Gates on the terms of the runs: a real market and the full costs, or it is no evidence."""

from collections.abc import Mapping
from typing import Any, Final

from bybit.backtest.slippage import Slippage
from validation.criteria import Evidence, Gate, GateResult, Run, at_most
from validation.errors import NotComputable

# Only what was traded on the venue counts: live public data, or a recording of it.
_REAL: Final = ("bybit", "tape-")

# What a run was let off, as the engine counts it. A longer mark candle is not among them: it decides against the
# account.
_LET_OFF: Final = {
    "held_candles_with_last_price_as_mark": "candles held without a mark price",
    "held_candles_without_funding": "candles held without funding",
    "absent_candles_in_allowed_gaps": "candles absent",
    "settlements_after_the_last_candle_not_charged": "settlements not charged",
}


def _real_market(evidence: Evidence) -> GateResult:
    origins = [_told(run, "origin") for run in evidence.grid.runs]
    made_up = [origin for origin in origins if not str(origin).startswith(_REAL)]
    words = f"{len(made_up)} of {len(origins)} runs rest on prices that are not the venue's"
    return at_most("real_market", len(made_up), 0, words + (f" ({made_up[0]})" if made_up else ""))


def _full_costs(evidence: Evidence) -> GateResult:
    let_off = [what for run in evidence.grid.runs for what in _let_off(run, evidence.config.min_slippage_rate)]
    n_runs = sum(bool(_let_off(run, evidence.config.min_slippage_rate)) for run in evidence.grid.runs)
    words = f"{n_runs} of {len(evidence.grid.runs)} runs were let off costs or data"
    return at_most("full_costs", n_runs, 0, words + (f": {', '.join(dict.fromkeys(let_off))}" if let_off else ""))


def _let_off(run: Run, min_slippage_rate: float) -> list[str]:
    found = []
    if _told(run, "funding_policy") != "recorded":
        found.append("no funding charged")
    if _told(run, "mark_policy") == "last":
        found.append("liquidation judged by the last price")
    slippage = Slippage.parse(str(_told(run, "slippage")))
    # Recorded quotes are the spread itself; what else has no rate of its own was refused before.
    if slippage.rate is not None and slippage.rate < min_slippage_rate:
        found.append(f"slippage {slippage} below {min_slippage_rate:g}")
    assumed = run.metrics.get("assumptions", {})
    if not isinstance(assumed, Mapping):
        raise NotComputable(f"{run.tier} in {run.period} does not say what it assumed")
    return found + [f"{assumed[name]:,} {words}" for name, words in _LET_OFF.items() if assumed.get(name)]


def _told(run: Run, name: str) -> Any:
    value = run.provenance.get(name)
    if value is None:
        raise NotComputable(f"{run.tier} in {run.period} does not say its {name.replace('_', ' ')}")
    return value


TERMS_GATES: Final = (
    Gate("real_market", "Do the prices come from the venue?", _real_market),
    Gate("full_costs", "Was every cost charged and no missing data let through?", _full_costs),
)
