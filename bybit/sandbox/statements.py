"""How an account and its positions stand, in the venue's wire form."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bybit.rules import cross
from bybit.rules.liquidation import round_to_tick_against_holder
from bybit.rules.positions import break_even_price
from bybit.sandbox.accounts import TradingAccount
from bybit.sandbox.margins import cross_liquidation_price, position_margin, standing
from bybit.sandbox.orders import number_text
from bybit.sandbox.wire import decimal_text

if TYPE_CHECKING:
    from bybit.sandbox.exchange import Exchange


def position_row(exchange: "Exchange", account: TradingAccount, symbol: str) -> dict[str, Any]:
    """Return one contract's position, flat ones too."""
    position = account.position(symbol)
    terms = exchange.terms(account, symbol)
    initial = maintenance = unrealized = Decimal(0)
    tier, liquidation, even = terms.tiers[0], "", ""
    if position.entry_price is not None:
        figures = position_margin(account, position, terms)
        initial, maintenance = figures.initial, figures.maintenance
        unrealized, tier = figures.unrealized, figures.tier
        price = position.liquidation_price
        if not account.is_isolated:
            price = cross_liquidation_price(account, position, exchange.terms_of(account))
            if price is not None:
                price = round_to_tick_against_holder(price, position.size, exchange.instrument(symbol).tick_size)
        if price is not None and price > 0:
            liquidation = decimal_text(price)
        even = number_text(break_even_price(position.entry_price, position.size, position.realized, terms.rates.taker))
    return {
        "positionIdx": 0,
        "riskId": tier.tier,
        "riskLimitValue": decimal_text(tier.max_notional),
        "symbol": symbol,
        "side": position.side,
        "size": number_text(abs(position.size)),
        "avgPrice": "0" if position.entry_price is None else number_text(position.entry_price),
        "positionValue": number_text(abs(position.size) * position.entry_price) if position.entry_price else "",
        "tradeMode": 0,
        "autoAddMargin": 0,
        "positionStatus": position.status,
        "leverage": decimal_text(position.leverage),
        "markPrice": decimal_text(terms.mark_price),
        "liqPrice": liquidation,
        "bustPrice": "",
        "positionIM": number_text(initial),
        "positionIMByMp": number_text(initial),
        "positionMM": number_text(maintenance),
        "positionMMByMp": number_text(maintenance),
        "positionBalance": number_text(initial),
        "takeProfit": decimal_text(position.take_profit),
        "stopLoss": decimal_text(position.stop_loss),
        "trailingStop": decimal_text(position.trailing_stop) or "0",
        "tpslMode": "Full",
        "sessionAvgPrice": "",
        "breakEvenPrice": even,
        "unrealisedPnl": number_text(unrealized) if position.size else "",
        "curRealisedPnl": number_text(position.realized),
        "cumRealisedPnl": number_text(position.realized_ever),
        "adlRankIndicator": 2 if position.size else 0,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "createdTime": str(position.created_ms) if position.created_ms else "0",
        "updatedTime": str(position.updated_ms) if position.updated_ms else "0",
        "openTime": position.opened_ms if position.size else 0,
        "seq": position.seq if position.seq else -1,
    }


def wallet_row(exchange: "Exchange", account: TradingAccount) -> dict[str, Any]:
    """Return the wallet; one USDT counts as one US dollar, and USDT is the only coin."""
    now = standing(account, exchange.terms_of(account))
    equity = now.equity
    coin = {
        "coin": "USDT",
        "equity": number_text(equity),
        "usdValue": number_text(equity),
        "walletBalance": number_text(now.wallet),
        "free": "",
        "locked": "0",
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "availableToWithdraw": "",
        "availableToBorrow": "",
        "accruedInterest": "0",
        "totalOrderIM": number_text(now.order_initial),
        "totalPositionIM": number_text(now.position_initial),
        "totalPositionMM": number_text(now.position_maintenance),
        "unrealisedPnl": number_text(now.unrealized),
        "cumRealisedPnl": number_text(sum((p.realized_ever for p in account.positions.values()), Decimal(0))),
        "bonus": "0",
        "collateralSwitch": True,
        "marginCollateral": True,
        "colRes": "0",
    }
    return {
        "accountType": "UNIFIED",
        "accountLTV": "",
        "totalEquity": number_text(equity),
        "totalWalletBalance": number_text(now.wallet),
        "totalPerpUPL": number_text(now.unrealized),
        **_across(now.across),
        "coin": [coin],
    }


def _across(account: cross.Standing | None) -> dict[str, str]:
    """Return the figures of the whole account; they mean nothing where each position stands alone."""
    names = ("accountIMRate", "accountMMRate", "totalInitialMargin", "totalMaintenanceMargin")
    if account is None:
        alone = (*names, *(f"{name}ByMp" for name in names), "totalMarginBalance", "totalAvailableBalance")
        return dict.fromkeys(alone, "")
    rates = (account.initial_margin_rate, account.maintenance_margin_rate)
    # With nothing to stand on a rate means nothing; the venue's own reply then is not known.
    told = [number_text(rate) if rate.is_finite() else "" for rate in rates]
    told += [number_text(margin) for margin in (account.initial, account.maintenance)]
    return {
        **dict(zip(names, told, strict=True)),
        **{f"{name}ByMp": text for name, text in zip(names, told, strict=True)},
        "totalMarginBalance": number_text(account.margin_balance),
        "totalAvailableBalance": number_text(max(account.available, Decimal(0))),
    }
