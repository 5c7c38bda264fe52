"""Executions, transaction logs and closed P&L from pages of the v5 API, stored as JSON."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson

from bybit.client.accounts import SymbolFees, symbol_fees, transaction
from bybit.client.fields import BadRow
from bybit.client.orders import fill
from bybit.client.positions import trade
from bybit.rules.candles import Category
from bybit.rules.periods import to_ms, utc
from validation.reconcile_bookings import BadExport, Booking, Closing, Export, Kind, Source

_LISTS = "execution/list, account/transaction-log, position/closed-pnl or account/fee-rate"
# Kinds of the log that book a trade's fee; the venue's own closings charge the fee of a taker.
_TRADES = ("TRADE", "LIQUIDATION", "ADL", "DELIVERY")
_NOT_OUR_DOING = {"AdlTrade", "BustTrade", "Delivery", "Settle"}


def read_pages(name: str, payload: bytes, category: Category) -> tuple[list[Export], list[tuple[datetime, SymbolFees]]]:
    """Return what one file of API pages holds, one export a page, and the account's own fee rates if it holds those.

    Parameters
    ----------
    name : str
        The file's, for messages.
    payload : bytes
        JSON: a reply with its retCode envelope, a bare ``result``, a bare list of rows, or a list of any of them;
        one reply a line works too.
    category : Category
        Of rows that name none.

    Raises
    ------
    BadExport
        When it is no JSON, a reply is an error, or the rows are of a kind nobody reconciles.
    """
    exports: list[Export] = []
    snapshots: list[tuple[datetime, SymbolFees]] = []
    for number, (result, replied_ms) in enumerate(_results(name, payload), 1):
        rows = result["list"]
        label = name if number == 1 else f"{name} page {number}"
        of_page = _category(result, category)
        if rows and all("takerFeeRate" in row for row in rows):
            snapshots += _snapshots(label, rows, of_page, replied_ms)
            continue
        export = _export(label, rows, of_page)
        cursor = result.get("nextPageCursor")
        export.cursor = None if cursor is None else str(cursor)
        exports.append(export)
    return exports, snapshots


def _results(name: str, payload: bytes) -> Iterator[tuple[dict[str, Any], int | None]]:
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        try:
            content = [orjson.loads(line) for line in payload.splitlines() if line.strip()]
        except orjson.JSONDecodeError:
            raise BadExport(f"{name} is no JSON ({error}): expected pages of {_LISTS} as the API sent them") from None
    pages = content if isinstance(content, list) else [content]
    if pages and all(isinstance(page, dict) and not page.keys() & {"list", "result", "retCode"} for page in pages):
        pages = [{"list": pages}]
    if not pages:
        raise BadExport(f"{name} holds no page: expected pages of {_LISTS} as the API sent them")
    for page in pages:
        if isinstance(page, dict) and page.get("retCode", 0) != 0:
            raise BadExport(
                f"{name} holds a refusal of the venue, retCode {page['retCode']} ({str(page.get('retMsg'))[:80]}): "
                "fetch that page again"
            )
        result = page.get("result", page) if isinstance(page, dict) else None
        rows = result.get("list") if isinstance(result, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadExport(f"{name} holds a page without a list of rows: expected pages of {_LISTS}")
        assert isinstance(page, dict)
        assert isinstance(result, dict)
        replied = page.get("time")
        yield result, replied if isinstance(replied, int) else None


def _category(result: dict[str, Any], otherwise: Category) -> Category:
    try:
        return Category(str(result.get("category") or otherwise))
    except ValueError:
        return otherwise


def _snapshots(
    name: str, rows: list[dict[str, Any]], category: Category, replied_ms: int | None
) -> list[tuple[datetime, SymbolFees]]:
    if replied_ms is None:
        raise BadExport(
            f"{name} holds fee rates without the time they were told: keep the whole reply, whose `time` says when"
        )
    try:
        return [(utc(replied_ms), symbol_fees(row, category)) for row in rows]
    except BadRow as error:
        raise BadExport(f"{name} holds fee rates nobody can read: {error}; fetch the reply again") from None


def _export(name: str, rows: list[dict[str, Any]], category: Category) -> Export:
    if not rows:
        # An empty page says that there was nothing: of what, the page does not say.
        return Export(name, Source.EXECUTIONS, remarks=[f"{name}: an empty page"])
    readers: tuple[tuple[str, Source, Callable[[str, int, dict[str, Any], Category], Booking]], ...] = (
        ("execId", Source.EXECUTIONS, _execution),
        ("transactionTime", Source.TRANSACTION_LOG, _logged),
        ("closedPnl", Source.CLOSED_PNL, _closed),
    )
    known = next(((source, reader) for field, source, reader in readers if field in rows[0]), None)
    if known is None:
        raise BadExport(
            f"{name} holds rows with the fields {', '.join(sorted(rows[0]))[:200]}: expected rows of {_LISTS}"
        )
    source, reader = known
    export = Export(name, source)
    for number, row in enumerate(rows, 1):
        try:
            export.bookings.append(reader(name, number, row, category))
        except BadRow as error:
            export.unreadable.append((number, str(error)))
    return export


def _execution(name: str, number: int, row: dict[str, Any], category: Category) -> Booking:
    found = fill(row, category)
    kind = Kind.FUNDING if found.exec_type == "Funding" else Kind.TRADE
    return Booking(
        source=Source.EXECUTIONS,
        file=name,
        number=number,
        kind=kind,
        kind_text=found.exec_type,
        category=found.category,
        symbol=found.symbol,
        side=found.side,
        time_ms=to_ms(found.time),
        precision_ms=1,
        price=found.price or None,
        qty=found.qty,
        coin=found.fee_coin,
        fee=found.fee,
        rate=found.fee_rate,
        liquidity=None if kind is Kind.FUNDING or found.exec_type in _NOT_OUR_DOING else found.liquidity,
        row_id=found.exec_id,
        exec_id=found.exec_id,
        order_id=found.order_id,
        closed_qty=found.closed_size,
    )


def _logged(name: str, number: int, row: dict[str, Any], _: Category) -> Booking:
    # Legs of spot sales carry a negative quantity.
    found = transaction(row | {"qty": re.sub("^-", "", str(row.get("qty") or ""))})
    kind, paid = Kind.OTHER, found.fee
    if found.type == "SETTLEMENT":
        kind, paid = Kind.FUNDING, None if found.funding is None else -found.funding
    elif found.fee or (found.type in _TRADES and found.category not in (None, Category.SPOT)):
        # A spot trade has two lines, one a coin, and only one of them bears the fee. Fees of other kinds are judged
        # too, so that none is passed over.
        kind = Kind.TRADE
    return Booking(
        source=Source.TRANSACTION_LOG,
        file=name,
        number=number,
        kind=kind,
        kind_text=found.type,
        category=found.category,
        symbol=found.symbol,
        side=found.side,
        time_ms=to_ms(found.time),
        precision_ms=1,
        price=found.price,
        qty=abs(found.size) if kind is Kind.FUNDING and found.size and not found.qty else found.qty,
        coin=found.coin,
        fee=paid,
        rate=found.fee_rate,
        row_id=found.transaction_id,
        exec_id=found.trade_id,
        order_id=found.order_id,
        change=found.change,
        cash_flow=found.cash_flow,
        balance=found.wallet_balance,
    )


def _closed(name: str, number: int, row: dict[str, Any], category: Category) -> Booking:
    found = trade(row, category)
    is_long = found.side == "Sell"
    gross = found.exit_notional - found.entry_notional
    if category is Category.INVERSE:
        gross = -gross
    fees = (gross if is_long else -gross) - found.realized_pnl
    if found.open_fee is not None and found.close_fee is not None:
        fees = found.open_fee + found.close_fee
    return Booking(
        source=Source.CLOSED_PNL,
        file=name,
        number=number,
        kind=Kind.CLOSED,
        kind_text=found.exec_type or "Trade",
        category=found.category,
        symbol=found.symbol,
        side=found.side,
        time_ms=to_ms(found.updated_time),
        precision_ms=1,
        price=found.exit_price,
        qty=found.closed_size,
        coin=None,
        fee=fees,
        order_id=found.order_id,
        closing=Closing(
            is_long=is_long,
            entry_price=found.entry_price,
            exit_price=found.exit_price,
            pnl=found.realized_pnl,
            entry_value=found.entry_notional,
            exit_value=found.exit_notional,
            open_fee=found.open_fee,
            close_fee=found.close_fee,
            n_fills=found.n_fills,
        ),
    )
