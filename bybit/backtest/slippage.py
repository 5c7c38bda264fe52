"""What taking liquidity loses against the price that was seen: one model a run, named in the result."""

import math
from dataclasses import dataclass
from typing import Literal

from bybit.rules.errors import InvalidInput

SlippageKind = Literal["fixed", "spread", "volume_share", "quotes"]
_LARGEST_RATE = 0.05
# With the largest rate still below the whole price.
_LARGEST_IMPACT = 0.9


@dataclass(frozen=True, slots=True)
class Slippage:
    """How far from the reference price a fill that takes stands, always against the account.

    Made by ``fixed``, ``spread``, ``volume_share`` and ``quotes``; ``str`` and ``parse`` are each other's inverse.

    Attributes
    ----------
    kind : {"fixed", "spread", "volume_share", "quotes"}
        The model.
    rate : float or None
        Fraction of the price in [0, 0.05), lost whatever the size. Of ``quotes``: what stands in where no quote was
        recorded; None refuses such a fill.
    impact : float
        Fraction of the price in [0, 0.9] lost by an order as large as its candle's volume; it grows with the square
        of the share.
    """

    kind: SlippageKind
    rate: float | None
    impact: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that are no fractions."""
        if self.rate is None and self.kind != "quotes":
            raise InvalidInput(f"slippage {self.kind} needs a rate: a fraction in [0, {_LARGEST_RATE}), e.g. 0.0002")
        # Written so that NaN is refused as well.
        if self.rate is not None and not 0.0 <= self.rate < _LARGEST_RATE:
            raise InvalidInput(
                f"slippage_rate is {self.rate}: expected a fraction in [0, {_LARGEST_RATE}), e.g. 0.0002"
            )
        if not 0.0 <= self.impact <= _LARGEST_IMPACT:
            raise InvalidInput(f"impact is {self.impact}: expected a fraction in [0, {_LARGEST_IMPACT}], e.g. 0.1")

    @classmethod
    def fixed(cls, rate: float) -> "Slippage":
        """Return a loss of ``rate`` of the price on everything that takes."""
        return cls("fixed", float(rate))

    @classmethod
    def spread(cls, half_spread_rate: float) -> "Slippage":
        """Return a loss of half a constant spread, as a fraction of the price: what taking at the far side costs."""
        return cls("spread", float(half_spread_rate))

    @classmethod
    def volume_share(cls, impact: float, base_rate: float = 0.0) -> "Slippage":
        """Return a loss of ``base_rate`` + ``impact`` x (qty / volume of the candle)^2 of the price."""
        return cls("volume_share", float(base_rate), float(impact))

    @classmethod
    def quotes(cls, otherwise_rate: float | None = None) -> "Slippage":
        """Return fills at the recorded bid and ask of each candle's open.

        Where none was recorded a fill that takes is refused, or loses ``otherwise_rate`` when that is asked for by
        name; the result counts them.
        """
        return cls("quotes", None if otherwise_rate is None else float(otherwise_rate))

    @classmethod
    def parse(cls, text: str) -> "Slippage":
        """Return the model of a text such as ``fixed:0.0002``.

        Raises
        ------
        InvalidInput
            For an unknown model or a number that is none; names the forms.
        """
        kind, *numbers = text.strip().split(":")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan]
        match kind, values:
            case "fixed", [rate]:
                return cls.fixed(rate)
            case "spread", [rate]:
                return cls.spread(rate)
            case "volume_share", [impact]:
                return cls.volume_share(impact)
            case "volume_share", [impact, rate]:
                return cls.volume_share(impact, rate)
            case "quotes", []:
                return cls.quotes()
            case "quotes", [rate]:
                return cls.quotes(rate)
        raise InvalidInput(
            f"slippage {text!r} is unknown: use fixed:RATE, spread:HALF_SPREAD_RATE, volume_share:IMPACT[:RATE] or "
            "quotes[:RATE_WHERE_NONE], each a fraction of the price, e.g. fixed:0.0002"
        )

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        numbers = [self.impact, self.rate] if self.kind == "volume_share" else [self.rate]
        return ":".join([self.kind, *(repr(number) for number in numbers if number is not None)])
