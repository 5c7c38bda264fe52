"""What quantities are worth and gain, for whole columns: linear in quote coin, inverse in coin."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])


def price_pnl(size: Number, entry: Number, price: Number, *, inverse: bool) -> Number:
    """Return the P&L of signed sizes from ``entry`` to ``price``."""
    return size / entry - size / price if inverse else size * (price - entry)


def notional(qty: Number, price: Number, *, inverse: bool) -> Number:
    """Return the value of quantities at ``price``, signed like them."""
    return qty / price if inverse else qty * price
