"""When a contract can be traded within a period: not before its launch, not after its delivery."""

from dataclasses import dataclass

from bybit.backtest.errors import UnusableData
from bybit.rules.candles import Interval
from bybit.rules.instruments import Instrument
from bybit.rules.periods import Period, to_ms, utc


@dataclass(frozen=True, slots=True)
class TradedSpan:
    """The opens of the candles of a period in which a contract was alive, ms UTC, both inclusive.

    ``listed_ms`` and ``delivered_ms`` are its launch and delivery when they fall into the period, else None.
    """

    start_ms: int
    last_open_ms: int
    listed_ms: int | None
    delivered_ms: int | None


def traded_span(instrument: Instrument, interval: Interval, period: Period) -> TradedSpan:
    """Return where ``instrument`` may be traded in ``period``; whole candles only.

    A candle that opens before the launch is not traded, for nobody could at its open; one that opens before the
    delivery is.

    Raises
    ------
    UnusableData
        When the contract was not alive in the period at all.
    """
    launch_ms = None if instrument.launch_time is None else to_ms(instrument.launch_time)
    delivery_ms = None if instrument.delivery_time is None else to_ms(instrument.delivery_time)
    # The venue writes 0 for a contract that never ends; an end before the beginning is none.
    if delivery_ms is not None and delivery_ms <= max(launch_ms or 0, 0):
        delivery_ms = None
    start_ms, end_ms = period.span_ms
    listed_ms = launch_ms if launch_ms is not None and start_ms < launch_ms else None
    delivered_ms = delivery_ms if delivery_ms is not None and delivery_ms <= end_ms else None
    first_ms = start_ms if listed_ms is None else listed_ms
    last_ms = end_ms - interval.ms
    if delivered_ms is not None:
        last_ms = min(last_ms, delivered_ms - 1)
    opens = interval.open_times(first_ms, last_ms + 1)
    if not len(opens):
        lived = " to ".join("unknown" if ms is None else utc(ms).isoformat() for ms in (launch_ms, delivery_ms))
        raise UnusableData(
            f"{instrument.symbol} has no whole {interval.value} candle in {period}: it was traded from {lived}; choose "
            "another period or leave it out"
        )
    return TradedSpan(int(opens[0]), int(opens[-1]), listed_ms, delivered_ms)
