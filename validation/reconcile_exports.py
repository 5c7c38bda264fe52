"""Rows of the CSV files that Bybit's site exports: asset changes, trade histories, closed P&L, transaction log."""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from bybit.rules.candles import Category
from validation import reconcile_lines as read
from validation.reconcile_bookings import BadBooking, BadExport, Booking, Export, Source, zone_of
from validation.reconcile_lines import Line

_ZONE = re.compile(r"\s*\((utc[^)]*)\)\s*$")
_MAX_PREAMBLE_LINES = 10


@dataclass(frozen=True, slots=True)
class _Format:
    """A kind of file: our name of each column and how the site spells it; all of ``needed`` must be there."""

    source: Source
    title: str
    needed: Mapping[str, tuple[str, ...]]
    read: Callable[[Line], Booking]
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def columns(self, header: list[str]) -> tuple[dict[str, int], list[str]]:
        """Return where each of our columns stands, and which needed ones are missing, as the site spells them."""
        places = {
            name: header.index(spelling)
            for name, spellings in {**self.needed, **self.optional}.items()
            for spelling in spellings
            if spelling in header
        }
        return places, [spellings[0] for name, spellings in self.needed.items() if name not in places]


def read_csv(name: str, payload: bytes, category: Category, zone: tzinfo) -> Export:
    """Return the rows of one CSV export.

    Parameters
    ----------
    name : str
        The file's, for messages.
    payload : bytes
        UTF-8 (or what Excel makes of it), separated by comma, semicolon or tab; lines before the header are skipped.
    category : Category
        Of derivatives rows that do not tell linear from inverse.
    zone : tzinfo
        Of times whose column does not name its own ("Time(UTC)").

    Raises
    ------
    BadExport
        When it is none of the known exports; names the columns found and those missing.
    """
    table = _table(name, payload)
    for at, cells in enumerate(table[:_MAX_PREAMBLE_LINES]):
        header, own_zone = _header(cells)
        for form in _FORMATS:
            places, missing = form.columns(header)
            if not missing:
                export = Export(name, form.source, account=_account(table[:at]))
                _read_rows(export, form, places, table[at + 1 :], category, own_zone or zone)
                if not export.account and "uid" in header and export.bookings:
                    export.account = table[at + 1][header.index("uid")]
                return export
    raise _unknown(name, table)


def _table(name: str, payload: bytes) -> list[list[str]]:
    if payload[:2] == b"PK":
        raise BadExport(f"{name} is an Excel workbook: open it, save the sheet as CSV, and give that file")
    encoding = "utf-16" if payload[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = payload.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadExport(f"{name} is not UTF-8 text ({error.reason}): give the file as the site exported it") from None
    head = "\n".join(text.splitlines()[:_MAX_PREAMBLE_LINES])
    separator = max(",;\t", key=head.count)
    table = [cells for cells in csv.reader(io.StringIO(text), delimiter=separator) if any(map(str.strip, cells))]
    if not table:
        raise BadExport(f"{name} is empty: expected a CSV export with a header line")
    return table


def _header(cells: list[str]) -> tuple[list[str], tzinfo | None]:
    names, zone = [], None
    for cell in cells:
        shown = " ".join(cell.strip().lower().split())
        if match := _ZONE.search(shown):
            zone, shown = zone_of(match[1]), shown[: match.start()]
        names.append(shown)
    return names, zone


def _account(preamble: list[list[str]]) -> str | None:
    match = re.search(r"UID:\s*(\d+)", ",".join(",".join(cells) for cells in preamble))
    return match[1] if match else None


def _read_rows(
    export: Export,
    form: _Format,
    places: Mapping[str, int],
    table: list[list[str]],
    category: Category,
    zone: tzinfo,
) -> None:
    for number, cells in enumerate(table, 1):
        if len(cells) <= max(places.values()):
            export.unreadable.append((number, f"{len(cells)} cells, expected at least {max(places.values()) + 1}"))
            continue
        row = Line(export.name, number, {name: cells[at] for name, at in places.items()}, zone, category)
        try:
            export.bookings.append(form.read(row))
        except BadBooking as error:
            export.unreadable.append((number, str(error)))


def _unknown(name: str, table: list[list[str]]) -> BadExport:
    best = min(
        ((len(missing) - len(places), form.title, missing, header) for cells in table[:_MAX_PREAMBLE_LINES]
         for header in [_header(cells)[0]] for form in _FORMATS for places, missing in [form.columns(header)]),
        key=lambda candidate: candidate[0],
    )  # fmt: skip
    _, title, missing, header = best
    return BadExport(
        f"{name} is no export perpflow reads: found the columns {', '.join(header)[:200]!r}; nearest is {title}, which "
        f"also needs {', '.join(missing)}; known are {', '.join(form.title for form in _FORMATS)}: export it again "
        "with every column, or fetch the API's pages (docs/reconcile.md)"
    )


_IDS = {
    "exec_id": ("trasaction id", "transaction id", "tradeid", "trade id"),
    "order_id": ("order no.", "order no", "orderid", "order id"),
}
_FEE_COIN = {"fee_coin": ("feecoin", "fee coin", "fee currency"), "fee_in_coin": ("execfeev2",)}
_FORMATS = (
    _Format(
        Source.ASSET_CHANGES,
        "asset change details / transaction log",
        {
            "currency": ("currency",),
            "contract": ("contract",),
            "type": ("type",),
            "side": ("direction",),
            "qty": ("quantity",),
            "price": ("filled price",),
            "fee": ("fee paid",),
            "cash_flow": ("cash flow",),
            "change": ("change",),
            "time": ("time",),
        },
        read.asset_change,
        _IDS
        | {
            "position": ("position",),
            "funding": ("funding",),
            "balance": ("wallet balance",),
            "action": ("action",),
        },
    ),
    _Format(
        Source.TRADE_HISTORY,
        "spot trade history",
        {
            "symbol": ("spot pairs",),
            "side": ("direction",),
            "price": ("filled price",),
            "qty": ("filled quantity",),
            "fee": ("fees",),
            "time": ("timestamp",),
        },
        read.spot_trade,
        _IDS | _FEE_COIN | {"order_type": ("order type",)},
    ),
    _Format(
        Source.TRADE_HISTORY,
        "derivatives trade history",
        {
            "symbol": ("market", "contracts", "symbol"),
            "side": ("direction", "side"),
            "price": ("filled price", "exec price"),
            "qty": ("filled quantity", "exec qty"),
            "fee": ("trading fee", "exec fee", "fee"),
            "time": ("transaction time", "trade time", "time"),
        },
        read.trade,
        _IDS | _FEE_COIN | {"type": ("filled type", "trade type", "exec type"), "rate": ("fee rate",)},
    ),
    _Format(
        Source.CLOSED_PNL,
        "closed P&L",
        {
            "symbol": ("market", "contracts"),
            "qty": ("order quantity", "qty", "quantity"),
            "entry": ("entry price",),
            "exit": ("exit price",),
            "pnl": ("realized p&l", "closed p&l"),
            "time": ("trade time", "closing time"),
        },
        read.closed,
        _IDS
        | {
            "side": ("closing direction",),
            "open_fee": ("opening fee",),
            "close_fee": ("closing fee",),
            "funding": ("funding fee",),
            "type": ("trade type", "exit type"),
        },
    ),
    _Format(
        Source.FUNDING_ACCOUNT,
        "funding account asset changes",
        {
            "time": ("date & time",),
            "currency": ("coin",),
            "qty": ("qty",),
            "type": ("type",),
        },
        read.funding_account,
        {"description": ("description",)},
    ),
)
