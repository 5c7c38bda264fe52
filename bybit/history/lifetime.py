"""When a contract traded: outside of that nothing is asked and every span has its reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from bybit.rules.instruments import Instrument
from bybit.rules.periods import Period, Span, to_ms, utc
from bybit.store import AFTER_DELISTING, BEFORE_LISTING, Hole


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The bounds of a contract's life, ms UTC; None for not known, or not over."""

    launch_ms: int | None
    delivery_ms: int | None

    @classmethod
    def of(cls, instrument: Instrument) -> "Lifetime":
        """Return the bounds that ``instrument`` tells."""
        launch_ms = None if instrument.launch_time is None else to_ms(instrument.launch_time)
        delivery_ms = None if instrument.delivery_time is None else to_ms(instrument.delivery_time)
        # The venue writes 0 for a contract that never ends; an end before the beginning is none.
        if delivery_ms is not None and delivery_ms <= max(launch_ms or 0, 0):
            delivery_ms = None
        return cls(launch_ms, delivery_ms)

    def before(self, span: Span) -> Hole:
        """Return ``span`` as a hole before the listing."""
        evidence = {} if self.launch_ms is None else {"launch_time": utc(self.launch_ms).isoformat()}
        return Hole(Period.from_ms(*span), BEFORE_LISTING, evidence)

    def after(self, span: Span) -> Hole:
        """Return ``span`` as a hole after the delisting."""
        evidence = {} if self.delivery_ms is None else {"delivery_time": utc(self.delivery_ms).isoformat()}
        return Hole(Period.from_ms(*span), AFTER_DELISTING, evidence)


def by_life(
    spans: Sequence[Span], first_ms: int | None, last_ms: int | None
) -> tuple[list[Span], list[Span], list[Span]]:
    """Cut ``spans`` into what lies before ``first_ms``, in [first_ms, last_ms), and from ``last_ms`` on.

    None leaves that side open.
    """
    start = min((span[0] for span in spans), default=0) if first_ms is None else first_ms
    end = max((span[1] for span in spans), default=0) if last_ms is None else last_ms
    before = [(a, min(b, start)) for a, b in spans if a < start]
    alive = [(max(a, start), min(b, end)) for a, b in spans if max(a, start) < min(b, end)]
    after = [(max(a, end, start), b) for a, b in spans if max(a, end, start) < b]
    return before, alive, after
