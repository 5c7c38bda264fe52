"""What a back-test leaves out, in money: our own engine with the venue's rules switched on one after the other.

The first step is the peers' own result (flat fee, nothing else), the last the complete engine, so that the steps add up
to the whole difference. The quantity of the plan is fixed: until margin counts, the capital changes no figure.
"""

from dataclasses import dataclass, replace

from bybit.backtest.engine import BacktestResult, MarketData
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period
from tests.fidelity.equality import FLAT_FEE
from tests.fidelity.plan import Plan, Terms, trade, without_limits

CAPITAL, LEVERAGE, SLIPPAGE_RATE = 10_000.0, 10.0, 0.0002
VALUE = 20_000.0
# So much that no order is ever refused for margin.
_AMPLE = 1000.0 * CAPITAL


@dataclass(frozen=True, slots=True)
class Step:
    """One rule more than the step before: net profit after the whole period, settle coin, and what it did."""

    rule: str
    net: float
    money: float
    happened: str


@dataclass(frozen=True, slots=True)
class _Setting:
    rule: str
    lots: bool
    ticks: bool
    maintenance: bool
    terms: Terms


def crossed(market: MarketData, period: Period, plan: Plan) -> BacktestResult:
    """Return the complete engine's result with cross margin: the whole account stands for the position."""
    complete = _settings()[-1]
    return trade(market, period, plan.lots(market.instrument.qty_step), replace(complete.terms, margin_mode="cross"))


def steps(market: MarketData, period: Period, plan: Plan) -> tuple[list[Step], BacktestResult]:
    """Return the steps from a flat fee to the complete engine, and the complete result."""
    found: list[Step] = []
    before = 0.0
    for setting in _settings():
        wanted = plan.lots(market.instrument.qty_step) if setting.lots else plan
        ruled = without_limits(market, lots=setting.lots, ticks=setting.ticks, maintenance=setting.maintenance)
        result = trade(ruled, period, wanted, setting.terms)
        net = result.costs.net
        found.append(Step(setting.rule, net, net - before if found else net, _happened(setting.rule, result)))
        before = net
    return found, result


def _settings() -> list[_Setting]:
    bare = Terms(_AMPLE, maker=FLAT_FEE, taker=FLAT_FEE)
    dated = replace(bare, schedule=FeeSchedule.builtin())
    slipped = replace(dated, slippage_rate=SLIPPAGE_RATE)
    funded = replace(slipped, funding=True)
    by_last = replace(funded, leverage=LEVERAGE, mark_policy="last")
    by_mark = replace(by_last, mark_policy="exact")
    return [
        _Setting("flat fee and nothing else", False, False, False, bare),
        _Setting("whole lots", True, False, False, bare),
        _Setting("fees by date and side", True, False, False, dated),
        _Setting("slippage", True, False, False, slipped),
        _Setting("prices on ticks", True, True, False, slipped),
        _Setting("funding", True, True, False, funded),
        _Setting("isolated liquidation, last price for mark", True, True, True, by_last),
        _Setting("mark price for liquidation and funding", True, True, True, by_mark),
        _Setting("margin: orders refused", True, True, True, replace(by_mark, capital=CAPITAL)),
    ]


def _happened(rule: str, result: BacktestResult) -> str:
    words = {
        "fees by date and side": f"{len(result.fills)} fills, all taker",
        "funding": f"{len(result.funding)} settlements",
        "isolated liquidation, last price for mark": f"{len(result.liquidations)} liquidations",
        "mark price for liquidation and funding": f"{len(result.liquidations)} liquidations",
        "margin: orders refused": f"{result.rejected_orders} refused",
    }
    return words.get(rule, "")


@dataclass(frozen=True, slots=True)
class MakerShare:
    """The plan asked with post-only limits at each close: what one flat taker fee would charge too much."""

    n_maker_fills: int
    maker_value: float
    fees: float
    fees_if_flat: float


def maker_share(market: MarketData, period: Period, plan: Plan) -> MakerShare:
    """Trade the plan with post-only limits, once at the schedule's rates and once at the taker's for everything."""
    limits = Terms(_AMPLE, schedule=FeeSchedule.builtin(), funding=True, limits=True)
    wanted = plan.lots(market.instrument.qty_step)
    result = trade(market, period, wanted, limits)
    fills = result.fills[result.fills["liquidity"] == "maker"]
    value = float((fills["qty"] * fills["price"]).abs().sum())
    flat = trade(market, period, wanted, replace(limits, schedule=None, maker=FLAT_FEE, taker=FLAT_FEE))
    return MakerShare(len(fills), value, _fees(result), _fees(flat))


def _fees(result: BacktestResult) -> float:
    return result.costs.maker_fees + result.costs.taker_fees


def held_long(market: MarketData, period: Period) -> BacktestResult:
    """Hold one long of the same value over the whole period: where funding is the largest cost."""
    qty = round(VALUE / float(market.candles["open"].loc[period.start]), 8)
    opens = market.candles.index
    closes = opens[(opens >= period.start) & (opens < period.end)] + (opens[1] - opens[0])
    target = market.candles["close"].reindex(closes, fill_value=1.0) * 0.0 + qty
    target.iloc[[0, -3, -2, -1]] = 0.0
    plan = Plan(target.rename("target")).lots(market.instrument.qty_step)
    return trade(market, period, plan, Terms(_AMPLE, schedule=FeeSchedule.builtin(), funding=True))
