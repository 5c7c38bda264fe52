"""From traded volume to fee tier: what a tier asks for, and when the venue looks.

The venue evaluates an account every day at 07:00 UTC by the higher of 30-day volume and assets; the rate of an order is
that of the tier the account has when the order is placed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import Period, to_ms, utc

EVALUATION_HOUR = 7
"""Hour of the day, UTC, at which tiers change."""

WINDOW_DAYS = 30
"""Days of volume that count."""

_DAY_MS = 86_400_000
_EVALUATION_MS = EVALUATION_HOUR * 3_600_000

# tier, 30-day derivatives volume in USD, assets in USD ("" is no way in by assets)
_VIP = (
    ("vip0", "0", "0"),
    ("vip1", "10000000", "100000"),
    ("vip2", "25000000", "250000"),
    ("vip3", "50000000", "500000"),
    ("vip4", "100000000", "1000000"),
    ("vip5", "250000000", "2000000"),
    ("supreme_vip", "500000000", ""),
)
_PRO = (
    *_VIP[:4],
    ("pro1", "100000000", ""),
    ("pro2", "250000000", ""),
    ("pro3", "750000000", ""),
    ("pro4", "1500000000", ""),
    ("pro5", "3000000000", ""),
    ("pro6", "5000000000", ""),
)
_SOURCE = (
    "third-party table (verified 2026-07-23) citing the help-centre article Introduction to the VIP Program of "
    "2026-05-26; an undated third-party copy has the same volumes for vip1 to supreme_vip, other Pro volumes from pro3 "
    "on and 50,000 USD of assets for vip1"
)


@dataclass(frozen=True, slots=True)
class TierThreshold:
    """What ``tier`` asks for: 30-day derivatives volume in USD, or assets in USD; assets None are no way in."""

    tier: str
    min_volume: Decimal
    min_assets: Decimal | None = None


class VolumeTiers:
    """A ladder of tiers by 30-day volume.

    Parameters
    ----------
    thresholds : sequence of TierThreshold
        In any order; one of them starts at volume 0, no two at the same.
    source, confidence : str
        Where the figures are from and how far they are to be trusted.
    assumptions : sequence of str
        Sentences for the report of a result that uses them.

    Raises
    ------
    InvalidInput
        For a ladder without a lowest step, with two tiers of one volume, or a tier named twice.
    """

    def __init__(
        self,
        thresholds: Sequence[TierThreshold],
        *,
        source: str = "given by the caller",
        confidence: str = "given",
        assumptions: Sequence[str] = (),
    ) -> None:
        self.thresholds = tuple(sorted(thresholds, key=lambda step: step.min_volume))
        self.source, self.confidence = source, confidence
        volumes = [step.min_volume for step in self.thresholds]
        if not volumes or volumes[0] != 0 or len(set(volumes)) < len(volumes):
            shown = ", ".join(f"{volume:f}" for volume in volumes) or "none"
            raise InvalidInput(f"tiers need rising volumes from 0 on, found {shown}: give the lowest tier volume 0")
        if len(set(self.tiers)) < len(self.tiers):
            raise InvalidInput(f"a tier is named twice in {', '.join(self.tiers)}")
        self.assumptions = (
            f"fee tiers by volume: {source} (confidence {confidence})",
            f"the tier of a day follows the volume of the {WINDOW_DAYS} whole UTC days before it, from "
            f"{EVALUATION_HOUR:02d}:00 UTC on; volume traded outside this account does not count",
            *assumptions,
        )

    @classmethod
    def builtin(cls, route: Literal["vip", "pro"] = "vip") -> "VolumeTiers":
        """Return the venue's ladder as second-hand sources give it; confidence low, see ``assumptions``.

        Parameters
        ----------
        route : {"vip", "pro"}
            From 100 million on the venue sorts accounts by how they trade: "vip" for those with at most 20 % of their
            volume over the API, "pro" for the others. Pro rates are dated from 2025-09-25 on and go by symbol group.
        """
        ladders = {"vip": _VIP, "pro": _PRO}
        if route not in ladders:
            raise InvalidInput(f"route {route!r} is not one of vip, pro")
        steps = [
            TierThreshold(tier, Decimal(volume), Decimal(assets) if assets else None)
            for tier, volume, assets in ladders[route]
        ]
        assumptions = [
            "the volumes a tier asks for are taken to hold at every time: only the table of 2026-05-26 is dated",
            "vip4 and above are for accounts with at most 20 % API volume: the account is taken to be one"
            if route == "vip"
            else "from 100 million USD on the account is taken to trade more than 20 % of its volume over the API",
        ]
        return cls(steps, source=_SOURCE, confidence="low", assumptions=assumptions)

    @classmethod
    def parse(cls, text: str) -> "VolumeTiers":
        """Return the ladder of e.g. ``vip0:0,vip1:10000000``: tiers with the 30-day volume in USD each asks for.

        Raises
        ------
        InvalidInput
            When ``text`` is not of that form.
        """
        steps = []
        for part in text.split(","):
            tier, _, volume = part.strip().partition(":")
            try:
                amount = Decimal(volume)
            except InvalidOperation:
                amount = Decimal("NaN")
            if not tier or not amount.is_finite() or amount < 0:
                raise InvalidInput(f"{part.strip()!r} is not a tier with its volume, such as vip1:10000000")
            steps.append(TierThreshold(tier, amount))
        return cls(steps)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers' names, lowest first."""
        return tuple(step.tier for step in self.thresholds)

    @property
    def min_volumes(self) -> tuple[Decimal, ...]:
        """The 30-day volume in USD from which each of ``tiers`` holds; the first is 0."""
        return tuple(step.min_volume for step in self.thresholds)

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the content."""
        rows = [
            (step.tier, f"{step.min_volume:f}", step.min_assets is not None and f"{step.min_assets:f}")
            for step in self.thresholds
        ]
        return hashlib.sha256(repr((rows, self.assumptions)).encode()).hexdigest()[:12]

    def tier_of(self, volume: Decimal, assets: Decimal | None = None) -> str:
        """Return the highest tier that a 30-day ``volume`` in USD, or ``assets`` in USD, opens.

        Raises
        ------
        InvalidInput
            For a negative volume or one that is no number.
        """
        if not volume.is_finite() or volume < 0:
            raise InvalidInput(f"a 30-day volume of {volume} cannot be: give USD, 0 or more")
        open_to = [
            step.tier
            for step in self.thresholds
            if volume >= step.min_volume
            or (assets is not None and step.min_assets is not None and assets >= step.min_assets)
        ]
        return open_to[-1]

    def __str__(self) -> str:
        """Return what ``parse`` reads."""
        return ",".join(f"{step.tier}:{step.min_volume:f}" for step in self.thresholds)


def evaluation_time(time: datetime | int) -> datetime:
    """Return the latest evaluation at or before ``time`` (aware datetime or ms UTC)."""
    moment = to_ms(time)
    return utc((moment - _EVALUATION_MS) // _DAY_MS * _DAY_MS + _EVALUATION_MS)


def volume_period(time: datetime | int) -> Period:
    """Return the days whose volume decides the tier of an order placed at ``time``: 30 whole UTC days.

    They end with the day before the latest evaluation; the seven hours of its own day do not count.
    """
    day = evaluation_time(time).replace(hour=0)
    return Period(day - timedelta(days=WINDOW_DAYS), day)
