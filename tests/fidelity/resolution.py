"""One plan of hourly decisions on 1 h, 15 m and 5 m candles: the same fills must cost the same funding and end "
"alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bybit.backtest.engine import BacktestResult
from bybit.rules.fees import FeeSchedule
from tests.fidelity.left_out import SLIPPAGE_RATE, VALUE
from tests.fidelity.plan import Terms, crossing, trade
from tests.fidelity.recorded import HALF_YEAR, market

INTERVALS = ("1h", "15m", "5m")
TOLERANCE = 1e-9
# So much leverage that even the calmer contract is liquidated now and then, and capital enough to go on.
LEVERAGE, CAPITAL = 25.0, 100_000.0
MARKS = {"hourly mark candles": ("exact", "coarser"), "last price as mark": ("last", "last")}


@dataclass(frozen=True, slots=True)
class Resolution:
    """One interval's run.

    With hourly mark candles their extremes hold for every shorter candle inside; with the last price as mark each
    candle has its own.
    """

    marks: str
    interval: str
    result: BacktestResult

    @property
    def funding(self) -> float:
        return self.result.costs.funding

    @property
    def liquidation_loss(self) -> float:
        return self.result.costs.liquidation_loss


def resolutions(data: Path, symbol: str, marks: str, intervals: Sequence[str] = INTERVALS) -> list[Resolution]:
    """Trade the hourly plan of the half year at every interval; ``marks`` is one of ``MARKS``."""
    of_hours, of_shorter = MARKS[marks]
    hourly = market(data, symbol)
    plan = crossing(hourly, HALF_YEAR, VALUE).lots(hourly.instrument.qty_step)
    found = []
    for interval in intervals:
        terms = Terms(
            CAPITAL,
            schedule=FeeSchedule.builtin(),
            leverage=LEVERAGE,
            slippage_rate=SLIPPAGE_RATE,
            funding=True,
            mark_policy=of_hours if interval == "1h" else of_shorter,
        )
        found.append(Resolution(marks, interval, trade(market(data, symbol, interval), HALF_YEAR, plan, terms)))
    return found


def largest_difference(found: Sequence[Resolution]) -> float:
    """Return the largest relative difference of funding and liquidation loss from the first interval's.

    Raises
    ------
    AssertionError
        When the fills are not the same ones: then nothing is compared.
    """
    first, *others = found
    for other in others:
        columns = ["fill_time", "qty", "price"]
        assert first.result.fills[columns].equals(other.result.fills[columns]), f"{other.interval}: other fills"
        assert len(first.result.liquidations) == len(other.result.liquidations), f"{other.interval}: liquidations"
    pairs = [(a, getattr(first, name)) for name in ("funding", "liquidation_loss") for a in _each(others, name)]
    return max(abs(a - b) / max(abs(b), 1.0) for a, b in pairs)


def _each(found: Sequence[Resolution], name: str) -> list[float]:
    return [getattr(one, name) for one in found]
