"""Strategies: one file each, one small protocol; pure functions of candles and published funding."""

from bybit.strategies.breakout import Breakout, BreakoutParams
from bybit.strategies.funding_carry import FundingCarry, FundingCarryParams
from bybit.strategies.mean_reversion import MeanReversion, MeanReversionParams
from bybit.strategies.protocol import MarketView, Signals, Strategy, StrategyParams, build, register, registry
from bybit.strategies.trend import Trend, TrendParams

__all__ = [
    "Breakout",
    "BreakoutParams",
    "FundingCarry",
    "FundingCarryParams",
    "MarketView",
    "MeanReversion",
    "MeanReversionParams",
    "Signals",
    "Strategy",
    "StrategyParams",
    "Trend",
    "TrendParams",
    "build",
    "register",
    "registry",
]
