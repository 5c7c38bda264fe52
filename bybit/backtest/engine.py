"""The simulation's front door: one strategy, one account over one symbol or several, under the rules of that day."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd

from bybit.backtest import assumptions
from bybit.backtest.costs import CostBreakdown, costs_by_symbol, sum_of_costs
from bybit.backtest.decisions import orders
from bybit.backtest.funding import check_known, check_settled, without_funding
from bybit.backtest.market import MarketData, MarkPolicy, prepare
from bybit.backtest.metrics import DAY_MS
from bybit.backtest.portfolio import (
    Portfolio,
    backing_words,
    check_markets,
    checked_allocations,
    flat_decisions,
    portfolio,
)
from bybit.backtest.records import (
    CROSSED,
    N_FILLS,
    N_LIQUIDATIONS,
    N_REJECTED,
    PARTIAL,
    UNFILLED,
    Contracts,
    Inputs,
    Rules,
)
from bybit.backtest.refusals import check_outcome
from bybit.backtest.result import BacktestResult
from bybit.backtest.simulation import Outcome, run_simulation
from bybit.backtest.slippage import Slippage
from bybit.backtest.tables import Tables, account_metrics
from bybit.backtest.terms import contract_arrays, dated_ladder, fee_arrays, ladder_arrays
from bybit.rules.candles import Category
from bybit.rules.errors import InvalidInput
from bybit.rules.fee_tiers import VolumeTiers
from bybit.rules.fees import FeeSchedule
from bybit.rules.liquidation import MARK_BASED_FROM
from bybit.rules.periods import Period, to_ms
from bybit.strategies.protocol import Strategy

__all__ = ["ENGINE_VERSION", "BacktestEngine", "BacktestResult", "CostBreakdown", "MarketData", "Slippage"]

ENGINE_VERSION = "2"
"""Raised by every change after which the same input may give another result."""

FundingPolicy = Literal["recorded", "zero"]
MarginMode = Literal["isolated", "cross"]
LiquidationProcess = Literal["step_down", "takeover"]


class BacktestEngine:
    """Replays one strategy under the fees, funding, margin and liquidation that the venue would have applied.

    Parameters
    ----------
    strategy : Strategy
        Decides the target exposure at each close, of every symbol by itself.
    initial_capital : float
        Cash of the account at the start, settle coin.
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
        Largest share of a candle's volume that an order fills, in (0, 1]; the rest waits. None: no limit, but of
        ``Slippage.volume_share`` the whole volume.
    tier_by_volume : VolumeTiers or None
        The tiers to which the account's own 30-day volume lifts it; ``tier`` is then the lowest it has.
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
        tier_by_volume: VolumeTiers | None = None,
        backing: "pd.Series[float] | float | None" = None,
    ) -> None:
        if category is Category.SPOT:
            raise InvalidInput("category spot cannot be back-tested: only linear and inverse contracts can")
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
        if backing is not None and margin_mode != "cross":
            raise InvalidInput("backing counts in cross margin only: ask for margin_mode='cross', or leave it out")
        self.strategy = strategy
        self.initial_capital = float(initial_capital)
        self.leverage = float(leverage)
        self.fee_schedule = fee_schedule
        self.tier = tier
        self.slippage = slippage
        self.margin_mode: MarginMode = margin_mode
        self.mark_policy: MarkPolicy = mark_policy
        self.funding_policy: FundingPolicy = funding_policy
        self.category = category
        self.liquidation: LiquidationProcess = liquidation
        self.participation_rate = participation_rate
        self.tier_by_volume = tier_by_volume
        self.backing = backing

    def run(
        self,
        market: MarketData | Sequence[MarketData],
        period: Period,
        allocations: Mapping[str, float] | None = None,
    ) -> BacktestResult:
        """Trade one account over ``market`` in ``period``; candles before it serve as warm-up only.

        The strategy sees ``strategy.warmup`` candles before the period and no more, so that a longer history changes
        nothing. A symbol that is listed in the period starts at its first candle. A position that is still open at the
        end is valued at the last mark and is no trade yet.

        Parameters
        ----------
        market : MarketData or sequence of MarketData
            One symbol or several, with candles of one length and one settle coin.
        period : Period
            What is traded.
        allocations : mapping of str to float, or None
            Share of account equity that an exposure of 1 stands for, by symbol; at most 1 in total. None: equal.

        Raises
        ------
        NotEstablished
            When a fee rate, a mark price for a held position, a quote, or funding is not known and no fallback was
            asked for.
        UnusableData
            When candles are absent or none, or the strategy returned something that cannot be traded.
        InvalidInput
            When instruments, ladders, leverage or markets do not fit together.
        """
        markets = (market,) if isinstance(market, MarketData) else tuple(market)
        check_markets(markets, self.category)
        shares = checked_allocations(markets, allocations)
        symbols = [one.symbol for one in markets]
        dated = [dated_ladder(one.symbol, one.risk_tiers, period) for one in markets]
        contracts = contract_arrays([one.instrument for one in markets], dated, self.leverage, shares)
        fees = fee_arrays(self.fee_schedule, self.category, self.tier, period, symbols, self.tier_by_volume)
        rules = self._rules()
        parts = [
            prepare(
                one,
                period,
                self.strategy.warmup(one.interval),
                self.mark_policy,
                with_volume=rules.impact > 0.0 or math.isfinite(rules.participation),
                with_quotes=self.slippage.kind == "quotes",
            )
            for one in markets
        ]
        book = portfolio(parts)
        if self.funding_policy == "recorded":
            for part in parts:
                check_known(part.symbol, part.settlements)
        settlements = book.settlements if self.funding_policy == "recorded" else without_funding(book.settlements)
        decided = flat_decisions([orders(self.strategy.signals(part.view), part) for part in parts])
        inputs = Inputs(book.candles, decided, settlements, contracts, ladder_arrays(dated), fees, rules)
        outcome = run_simulation(book.step_ms, inputs, self.initial_capital, book.backing(self.backing))
        check_outcome(outcome, book, self.slippage)
        if self.funding_policy == "recorded":
            for s, part in enumerate(parts):
                rows = [log[log[:, 0] == s] for log in (outcome.logs.fills, outcome.logs.liquidations)]
                check_settled(part.symbol, int(part.close_ms[-1]), part.settlements.time_ms, *rows)
        assumed = {
            **assumptions.of_run(book, outcome, mark_policy=self.mark_policy, funding_policy=self.funding_policy),
            **assumptions.of_rules(period, outcome, cross=rules.cross, quotes=self.slippage.kind == "quotes"),
            **assumptions.of_data(book, period, dated, self.leverage),
            **assumptions.of_fees(
                self.fee_schedule, self.category, self.tier, period, symbols, self.tier_by_volume
            ),
        }  # fmt: skip
        return self._result(book, period, contracts, outcome, assumed, self._provenance(book, period, shares))

    def _rules(self) -> Rules:
        participation = math.inf if self.participation_rate is None else self.participation_rate
        return Rules(
            cross=self.margin_mode == "cross",
            inverse=self.category is Category.INVERSE,
            step_down=self.liquidation == "step_down",
            tick_rounding=True,
            mark_based_from_ms=to_ms(MARK_BASED_FROM),
            slippage_rate=self.slippage.rate or 0.0,
            impact=self.slippage.impact,
            # An order larger than what was traded has no price in this model.
            participation=min(participation, 1.0) if self.slippage.kind == "volume_share" else participation,
            last_for_mark=self.mark_policy == "last",
        )

    def _result(
        self,
        book: Portfolio,
        period: Period,
        contracts: Contracts,
        outcome: Outcome,
        assumed: dict[str, int | str],
        provenance: dict[str, Any],
    ) -> BacktestResult:
        inverse, counts = self.category is Category.INVERSE, outcome.counts
        equity = book.at_closes(outcome.equity, self.initial_capital)
        tables = Tables(book, outcome.logs, outcome.positions, contracts.qty_step, inverse=inverse)
        shown = {"fills": tables.fills(), "trades": tables.trades(), "open_positions": tables.open_positions()}
        by_symbol = costs_by_symbol(book.symbols, outcome.positions, contracts.qty_step, inverse=inverse)
        costs = replace(sum_of_costs(by_symbol.values()), net=float(equity[-1] - self.initial_capital))
        return BacktestResult(
            symbols=book.symbols,
            period=period,
            **shown,
            funding=tables.funding(),
            liquidations=tables.liquidations(),
            rejections=tables.rejections(),
            equity=equity,
            equity_time_ms=book.close_ms.copy(),
            initial_capital=self.initial_capital,
            costs=costs,
            costs_by_symbol=by_symbol,
            metrics={
                **account_metrics(
                    book.close_ms,
                    equity,
                    self.initial_capital,
                    (period.end_ms - period.start_ms) / DAY_MS,
                    **shown,
                    n_liquidations=int(counts[N_LIQUIDATIONS]),
                    inverse=inverse,
                ),
                "n_fills": int(counts[N_FILLS]),
                "n_rejected_orders": int(counts[N_REJECTED]),
                "n_limits_crossed": int(counts[CROSSED]),
                "n_limits_unfilled": int(counts[UNFILLED]),
                "n_partial_fills": int(counts[PARTIAL]),
                "ruined": int(outcome.ruined >= 0),
            },
            assumptions=assumed,
            rejected_orders=int(counts[N_REJECTED]),
            ruined=outcome.ruined >= 0,
            provenance=provenance,
        )

    def _provenance(self, book: Portfolio, period: Period, shares: dict[str, float]) -> dict[str, Any]:
        first = book.parts[0].market
        detail = first.detail_interval if first.detail is not None else None
        return {
            "engine_version": ENGINE_VERSION,
            "strategy": self.strategy.name,
            "params": self.strategy.describe(),
            "category": self.category.value,
            "symbols": list(book.symbols),
            "allocations": shares,
            "interval": first.interval.value,
            "detail_interval": None if detail is None else detail.value,
            "period": str(period),
            "initial_capital": self.initial_capital,
            "leverage": self.leverage,
            "margin_mode": self.margin_mode,
            "liquidation": self.liquidation,
            "tier": self.tier,
            "tier_by_volume": None if self.tier_by_volume is None else str(self.tier_by_volume),
            "slippage": str(self.slippage),
            "participation_rate": self.participation_rate,
            "backing": backing_words(self.backing),
            "mark_policy": self.mark_policy,
            "funding_policy": self.funding_policy,
            "fee_schedule_version": self.fee_schedule.version,
            "data_versions": {part.symbol: part.data_version for part in book.parts},
        }
