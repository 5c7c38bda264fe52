"""The simulation's front door: one strategy on one symbol over one period, under the venue's rules of that day."""

import math
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bybit.backtest.errors import UnusableData
from bybit.backtest.kernel import FILLS_A_CANDLE, LOGS_FULL, MARK_MISSING, Candles, Decisions, Settlements, simulate
from bybit.backtest.market import MarketData, MarkPolicy, Prepared, prepare
from bybit.backtest.position import (
    CROSSED,
    ENTRY,
    FILL_COLUMNS,
    FUNDING,
    FUNDING_COLUMNS,
    GROSS,
    HELD,
    LIQUIDATION_COLUMNS,
    LIQUIDATION_LOSS,
    LIQUIDATION_PRICE,
    LOTS,
    MAKER_FEES,
    MARGIN,
    MARK_OF_CANDLE,
    N_FILLS,
    N_LIQUIDATIONS,
    N_REJECTED,
    N_SETTLED,
    N_TRADES,
    REFERENCE,
    REJECTION_COLUMNS,
    SLIPPAGE,
    TAKER_FEES,
    TRADE_CANDLE,
    TRADE_COLUMNS,
    TRADE_TIME,
    UNFILLED,
    FeeEras,
    Ladder,
    Logs,
    Terms,
)
from bybit.backtest.result import (
    BacktestResult,
    CostBreakdown,
    account_metrics,
    fills_frame,
    funding_frame,
    liquidations_frame,
    open_positions_frame,
    rejections_frame,
    trades_frame,
)
from bybit.backtest.slippage import Slippage
from bybit.backtest.terms import contract_terms, fee_eras, margin_ladder
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput, NotEstablished
from bybit.rules.fees import FeeSchedule
from bybit.rules.periods import Period, utc
from bybit.strategies.protocol import DAY_MS, Signals, Strategy

__all__ = ["ENGINE_VERSION", "BacktestEngine", "BacktestResult", "CostBreakdown", "MarketData", "Slippage"]

ENGINE_VERSION = "1"
"""Raised by every change after which the same input may give another result."""

FundingPolicy = Literal["recorded", "zero"]
MarginMode = Literal["isolated", "cross"]
LiquidationProcess = Literal["step_down", "takeover"]
Floats = NDArray[np.float64]

# Rows of the logs at first; a run that needs more is made again with four times as many.
_LOG_ROWS = 4096


class BacktestEngine:
    """Replays one strategy under the fees, funding, margin and liquidation that the venue would have applied.

    Parameters
    ----------
    strategy : Strategy
        Decides the target exposure at each close.
    initial_capital : float
        Cash at the start, settle coin.
    leverage : float
        Leverage set on the venue, 1 or more. No default: it decides what is liquidated.
    fee_schedule, tier : FeeSchedule, str
        Dated fee rates and the account's tier; a date without a rate is refused.
    slippage : Slippage
        What everything that takes loses.
    margin_mode : {"isolated", "cross"}
        Isolated: a position can lose its own margin and no more. Cross: the whole account stands for every position.
        No default: it decides what is liquidated.
    mark_policy : {"exact", "coarser", "last"}
        ``exact``: a mark candle for each candle, or a refusal. ``coarser``: longer mark candles may serve; their
        extremes hold for every candle inside, counted. ``last``: the last price stands in for the mark, counted.
    funding_policy : {"recorded", "zero"}
        ``recorded``: settlements as published, or a refusal. ``zero``: none is charged, counted.
    category : Category
        LINEAR or INVERSE (amounts in the one coin that all contracts settle in); spot is refused.
    liquidation : {"step_down", "takeover"}
        ``step_down``: tier by tier, as the venue does. ``takeover``: the whole position at its bankruptcy price.
    participation_rate : float or None
        Largest share of a candle's volume that an order fills, in (0, 1]; the rest waits. None: no limit.
    backing : Series or float or None
        Collateral value of other coins, settle coin with the haircut applied: constant, or by time from which it
        holds. Cross margin only.

    Raises
    ------
    InvalidInput
        For a value out of range.
    """

    def __init__(
        self,
        strategy: Strategy,
        initial_capital: float,
        *,
        leverage: float,
        fee_schedule: FeeSchedule,
        tier: str,
        slippage: Slippage,
        margin_mode: MarginMode,
        mark_policy: MarkPolicy = "exact",
        funding_policy: FundingPolicy = "recorded",
        category: Category = Category.LINEAR,
        liquidation: LiquidationProcess = "step_down",
        participation_rate: float | None = None,
        backing: "pd.Series[float] | float | None" = None,
    ) -> None:
        if category is not Category.LINEAR:
            raise InvalidInput(f"category {category} cannot be back-tested: only linear contracts can")
        if not 0.0 < initial_capital < math.inf:
            raise InvalidInput(f"initial_capital is {initial_capital}: expected a finite amount above zero")
        if not 1.0 <= leverage < math.inf:
            raise InvalidInput(f"leverage is {leverage}: the venue takes 1 or more")
        for name, value, known in (
            ("margin_mode", margin_mode, ("isolated", "cross")),
            ("mark_policy", mark_policy, ("exact", "coarser", "last")),
            ("funding_policy", funding_policy, ("recorded", "zero")),
            ("liquidation", liquidation, ("step_down", "takeover")),
        ):
            if value not in known:
                raise InvalidInput(f"{name} is {value!r}: use {', '.join(known[:-1])} or {known[-1]}")
        if participation_rate is not None and not 0.0 < participation_rate <= 1.0:
            raise InvalidInput(f"participation_rate is {participation_rate}: expected a share in (0, 1], or None")
        if margin_mode == "cross" or participation_rate is not None or backing is not None or slippage.rate is None:
            raise InvalidInput("cross margin, participation, backing and recorded quotes wait for the next kernel")
        self.strategy = strategy
        self.initial_capital = float(initial_capital)
        self.leverage = float(leverage)
        self.fee_schedule = fee_schedule
        self.tier = tier
        self.slippage = slippage
        self.slippage_rate = slippage.rate
        self.mark_policy: MarkPolicy = mark_policy
        self.funding_policy: FundingPolicy = funding_policy
        self.category = category

    def run(self, market: MarketData, period: Period) -> BacktestResult:
        """Trade ``market`` over ``period``; candles before it serve as warm-up only.

        The strategy sees ``strategy.warmup`` candles before the period and no more, so that a longer history changes
        nothing. A position that is still open at the end is valued at the last mark and is no trade yet.

        Raises
        ------
        NotEstablished
            When a fee rate, a mark price for a held position, or funding is not known and no fallback was asked for.
        UnusableData
            When candles are absent or none, or the strategy returned something that cannot be traded.
        InvalidInput
            When instrument, ladder or leverage do not fit together.
        """
        _check_market(market)
        ladder = margin_ladder(market.symbol, market.risk_tiers)
        eras = fee_eras(self.fee_schedule, self.category, self.tier, period, market.symbol)
        terms, unknown = contract_terms(market.instrument, market.risk_tiers, self.leverage, self.slippage_rate)
        prepared = prepare(market, period, self.strategy.warmup(market.interval), self.mark_policy)
        recorded = Settlements(*prepared.settlements)
        if self.funding_policy == "zero":
            recorded = Settlements(recorded.time_ms[:0], recorded.rate[:0], recorded.mark[:0])
        elif not len(recorded.time_ms):
            raise NotEstablished(
                f"no funding of {market.symbol} is known at all: fetch it, or ask for funding_policy='zero' by name"
            )
        decisions = _decisions(self.strategy.signals(prepared.view), prepared)
        equity = np.empty(len(prepared.candles.open_ms))
        state, counts, ruined, logs = self._simulate(market, prepared, decisions, recorded, terms, ladder, eras, equity)
        if self.funding_policy == "recorded":
            _check_settled(market, prepared, logs.fills, logs.liquidations, recorded)
        assumptions = self._assumptions(market, period, prepared, counts, unknown)
        return self._result(market, period, prepared, state, counts, ruined, logs, equity, assumptions)

    def _simulate(
        self,
        market: MarketData,
        prepared: Prepared,
        decisions: Decisions,
        settlements: Settlements,
        terms: Terms,
        ladder: Ladder,
        eras: FeeEras,
        equity: Floats,
    ) -> tuple[Floats, NDArray[np.int64], int, Logs]:
        n_rows = min(_LOG_ROWS, FILLS_A_CANDLE * (len(equity) + 1))
        while True:
            logs = _logs(n_rows, len(settlements.time_ms))
            status, where, state, counts, ruined = simulate(
                Candles(**{name: getattr(prepared.candles, name) for name in Candles._fields}),
                decisions,
                settlements,
                terms,
                ladder,
                eras,
                self.initial_capital,
                self.mark_policy == "last",
                equity,
                logs,
            )
            if status != LOGS_FULL:
                break
            n_rows *= 4
        if status == MARK_MISSING:
            at = utc(int(settlements.time_ms[where])).isoformat()
            raise NotEstablished(
                f"{market.symbol} is held at the settlement of {at} but no mark candle opens at that instant: give "
                "mark candles that do, or ask for mark_policy='last' by name"
            )
        sizes = (counts[N_FILLS], counts[N_TRADES], counts[N_SETTLED], counts[N_LIQUIDATIONS], counts[N_REJECTED])
        return state, counts, int(ruined), Logs(*(log[:n].copy() for log, n in zip(logs, sizes, strict=True)))

    def _result(
        self,
        market: MarketData,
        period: Period,
        prepared: Prepared,
        state: Floats,
        counts: NDArray[np.int64],
        ruined: int,
        logs: Logs,
        equity: Floats,
        assumptions: dict[str, int | str],
    ) -> BacktestResult:
        candles = prepared.candles
        held, mark = state[LOTS] * float(market.instrument.qty_step), candles.mark_close[-1]
        open_pnl = held * (mark - state[REFERENCE]) if held else 0.0
        still_open = [state[TRADE_TIME], state[TRADE_CANDLE], held, state[ENTRY], mark, held * (mark - state[ENTRY])]
        rows = np.array([[*still_open, state[MARGIN], state[LIQUIDATION_PRICE]]])[: int(held != 0.0)]
        tables = {
            "fills": fills_frame(market.symbol, logs.fills),
            "trades": trades_frame(market.symbol, logs.trades),
            "open_positions": open_positions_frame(market.symbol, rows),
        }
        days = (period.end_ms - period.start_ms) / DAY_MS
        costs = CostBreakdown(
            gross=float(state[GROSS] + open_pnl),
            maker_fees=float(state[MAKER_FEES]),
            taker_fees=float(state[TAKER_FEES]),
            funding=0.0 - float(state[FUNDING]),
            slippage=float(state[SLIPPAGE]),
            liquidation_loss=float(state[LIQUIDATION_LOSS]),
            net=float(equity[-1] - self.initial_capital),
        )
        return BacktestResult(
            symbols=(market.symbol,),
            period=period,
            **tables,
            funding=funding_frame(market.symbol, logs.funding),
            liquidations=liquidations_frame(market.symbol, logs.liquidations),
            rejections=rejections_frame(market.symbol, logs.rejections),
            equity=equity,
            equity_time_ms=candles.close_ms.copy(),
            initial_capital=self.initial_capital,
            costs=costs,
            costs_by_symbol={market.symbol: costs},
            metrics={
                **account_metrics(
                    candles.close_ms,
                    equity,
                    self.initial_capital,
                    days,
                    **tables,
                    n_liquidations=int(counts[N_LIQUIDATIONS]),
                ),
                "n_fills": int(counts[N_FILLS]),
                "n_rejected_orders": int(counts[N_REJECTED]),
                "n_limits_crossed": int(counts[CROSSED]),
                "n_limits_unfilled": int(counts[UNFILLED]),
                "ruined": int(ruined >= 0),
            },
            assumptions=assumptions,
            rejected_orders=int(counts[N_REJECTED]),
            ruined=ruined >= 0,
            provenance=self._provenance(market, period, prepared),
        )

    def _assumptions(
        self,
        market: MarketData,
        period: Period,
        prepared: Prepared,
        counts: NDArray[np.int64],
        unknown: tuple[str, ...],
    ) -> dict[str, int | str]:
        found: dict[str, int | str] = {}
        n_held = int(counts[HELD])
        if prepared.mark_is_coarser:
            found["held_candles_with_a_longer_mark_candle"] = n_held
        if self.mark_policy == "last":
            found["held_candles_with_last_price_as_mark"] = n_held
            found["settlements_at_the_worse_last_price"] = int(counts[MARK_OF_CANDLE])
        if self.funding_policy == "zero":
            found["held_candles_without_funding"] = n_held
        if prepared.n_absent:
            found["absent_candles_in_allowed_gaps"] = prepared.n_absent
        if prepared.n_warmup_absent:
            found["warmup_candles_not_there"] = prepared.n_warmup_absent
        if uncertain := self.fee_schedule.uncertain(period):
            found["fees_not_established_to_the_day"] = ", ".join(map(str, uncertain))
        if not period.start <= market.instrument.as_of < period.end:
            found["contract_rules_of"] = f"{market.instrument.as_of:%Y-%m-%d}"
        if not period.start <= market.risk_tiers[0].as_of < period.end:
            found["margin_ladder_of"] = f"{market.risk_tiers[0].as_of:%Y-%m-%d}"
        if unknown:
            found["limits_not_known"] = ", ".join(unknown)
        return found

    def _provenance(self, market: MarketData, period: Period, prepared: Prepared) -> dict[str, Any]:
        return {
            "engine_version": ENGINE_VERSION,
            "strategy": self.strategy.name,
            "params": self.strategy.describe(),
            "symbol": market.symbol,
            "interval": market.interval.value,
            "period": str(period),
            "initial_capital": self.initial_capital,
            "leverage": self.leverage,
            "tier": self.tier,
            "margin_mode": "isolated",
            "slippage": str(self.slippage),
            "participation_rate": None,
            "liquidation": "takeover",
            "mark_policy": self.mark_policy,
            "funding_policy": self.funding_policy,
            "fee_schedule_version": self.fee_schedule.version,
            "data_version": prepared.data_version,
        }


def _check_market(market: MarketData) -> None:
    if market.instrument.symbol != market.symbol or market.instrument.category is not Category.LINEAR:
        raise InvalidInput(
            f"the instrument is {market.instrument.category} {market.instrument.symbol}, the candles are linear "
            f"{market.symbol}: give that contract's rules"
        )


def _logs(n_rows: int, n_settlements: int) -> Logs:
    # One rejection or liquidation a candle at most, fewer than the fills that a candle may have.
    return Logs(
        fills=np.empty((n_rows, len(FILL_COLUMNS))),
        trades=np.empty((n_rows, len(TRADE_COLUMNS))),
        funding=np.empty((n_settlements, len(FUNDING_COLUMNS))),
        liquidations=np.empty((n_rows, len(LIQUIDATION_COLUMNS))),
        rejections=np.empty((n_rows, len(REJECTION_COLUMNS))),
    )


def _decisions(signals: Signals, prepared: Prepared) -> Decisions:
    # What was decided at a close is known to the candle after it; the first candle knows the last warm-up close.
    view, n_before = prepared.view, prepared.n_before
    nothing = np.full(len(view), math.nan)
    given = {
        "target": signals.target,
        "limit": nothing if signals.limit_price is None else signals.limit_price,
        "stop": nothing if signals.stop_price is None else signals.stop_price,
        "close": view.close,
    }
    shifted = {}
    for name, array in given.items():
        values = np.asarray(array, dtype=np.float64)
        if values.shape != (len(view),):
            raise UnusableData(f"the strategy's {name} has shape {values.shape}, expected ({len(view)},)")
        if np.isinf(values).any() or (name != "target" and (values <= 0.0).any()):
            raise UnusableData(f"the strategy's {name} holds infinite or negative values: use NaN for none")
        shifted[name] = np.concatenate([[math.nan], values])[n_before:-1]
    return Decisions(**shifted)


def _check_settled(
    market: MarketData, prepared: Prepared, fills: Floats, liquidations: Floats, settlements: Settlements
) -> None:
    """Refuse a position held for more than a day without a settlement: funding is missing there, not zero."""
    times = np.concatenate([[-np.inf], settlements.time_ms.astype(np.float64), [np.inf]])
    silent = np.flatnonzero(np.diff(times) > DAY_MS)
    held = np.concatenate([fills[:, [0, 1, 9]], np.column_stack([liquidations[:, :2], np.zeros(len(liquidations))])])
    held = held[np.argsort(held[:, 0], kind="stable")]
    # Adding and reducing do not interrupt a holding: it lasts from a flat account to the next.
    changes = np.flatnonzero(np.diff(held[:, 2] != 0.0, prepend=False))
    bounds = np.append(held[changes, 1], float(prepared.candles.close_ms[-1]))
    starts, ends = bounds[0 : len(changes) : 2], bounds[1 : len(changes) + 1 : 2]
    for k in silent:
        both = np.minimum(ends, times[k + 1]) - np.maximum(starts, times[k])
        if len(both) and both.max() > DAY_MS:
            start = max(starts[both.argmax()], times[k])
            raise NotEstablished(
                f"{market.symbol} is held for more than a day from {utc(int(start)).isoformat()} without a settlement: "
                "fetch the funding of that time, or ask for funding_policy='zero' by name"
            )
