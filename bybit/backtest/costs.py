"""Where the money of a run went: the account's costs, and each symbol's share of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bybit.backtest.records import (
    FUNDING,
    GROSS,
    LIQUIDATION_LOSS,
    LOTS,
    MAKER_FEES,
    MARK,
    REFERENCE,
    SLIPPAGE,
    TAKER_FEES,
    Floats,
)
from bybit.backtest.values import price_pnl


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """Where the money went, settle coin: net = gross less everything below it.

    Attributes
    ----------
    gross : float
        P&L of the trades (open ones at the last mark) at prices without slippage; a liquidated position counts zero
        here, what it lost stands under ``liquidation_loss``.
    maker_fees, taker_fees, funding, slippage, liquidation_loss : float
        Positive is a cost; a rebate or funding received is negative.
    net : float
        Last equity less the initial capital; of one symbol its share of that.
    """

    gross: float
    maker_fees: float
    taker_fees: float
    funding: float
    slippage: float
    liquidation_loss: float
    net: float


def sum_of_costs(costs: Iterable[CostBreakdown]) -> CostBreakdown:
    """Return all of them together."""
    given = list(costs)
    return CostBreakdown(*(math.fsum(getattr(one, name) for one in given) for name in CostBreakdown.__slots__))


def costs_by_symbol(
    symbols: Sequence[str], positions: Floats, qty_step: Floats, *, inverse: bool
) -> dict[str, CostBreakdown]:
    """Return each symbol's share of the account's costs.

    Parameters
    ----------
    positions : ndarray of shape (n_symbols, N_POSITION)
        As the simulation left them; what is still open counts at its last mark, from the entry before slippage.
    qty_step : ndarray of shape (n_symbols,)
        Size of a lot.
    inverse : bool
        Whether P&L counts in coin.
    """
    found = {}
    for s, symbol in enumerate(symbols):
        state, size = positions[s], float(positions[s, LOTS] * qty_step[s])
        open_pnl = price_pnl(size, float(state[REFERENCE]), float(state[MARK]), inverse=inverse) if size else 0.0
        gross = float(state[GROSS]) + open_pnl
        costs = {
            "maker_fees": float(state[MAKER_FEES]),
            "taker_fees": float(state[TAKER_FEES]),
            "funding": 0.0 - float(state[FUNDING]),
            "slippage": float(state[SLIPPAGE]),
            "liquidation_loss": float(state[LIQUIDATION_LOSS]),
        }
        found[symbol] = CostBreakdown(gross=gross, **costs, net=gross - math.fsum(costs.values()))
    return found
