"""Amounts as a reader sees them: cents of a coin worth a dollar, more digits of one that may be worth thousands."""

import math

_DOLLARS = ("USDT", "USDC", "USD")


def decimals_of(coin: str | None) -> int:
    """Return how many decimals of ``coin`` a reader wants to see."""
    return 2 if coin is None or coin in _DOLLARS else 6


def amount(value: float | None, coin: str | None) -> str:
    """Return an amount of ``coin`` as text, without the coin; a dash when it cannot be computed."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{decimals_of(coin)}f}"
