"""The tables, the same on SQLite and PostgreSQL.

Times are whole milliseconds since 1970 UTC (``_ms``). Money and rates that must stay exact are decimal text; candles
are float64. Coverage, holes, conflicts and quarantined rows belong to a series, and so does funding: the settlements
of one instrument are the series whose price is ``funding``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite numbers rows by itself only when the key is a plain INTEGER.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")


def _series_id() -> Column[int]:
    return Column("series_id", Integer, ForeignKey("series.id"), nullable=False)


def _prices() -> list[Column[float]]:
    return [
        *(Column(name, Double, nullable=False) for name in ("open", "high", "low", "close")),
        # Mark, index and premium candles have no volume: NULL, never zero.
        *(Column(name, Double, nullable=True) for name in ("volume", "turnover")),
    ]


series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("interval", Text, nullable=False),
    # Goes up with every commit that changed rows, coverage or holes.
    Column("version", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("exchange", "category", "symbol", "price", "interval", name="series_names_one"),
)

series_changes = Table(
    "series_changes",
    metadata,
    _series_id(),
    Column("version", BigInteger, nullable=False),
    # Names what the series was after this change, here and in every copy of the database: caches are keyed by it.
    Column("stamp", Text, nullable=False),
    # Where rows were added or changed; NULL when only coverage or holes were.
    *(Column(name, BigInteger, nullable=True) for name in ("start_ms", "end_ms")),
    PrimaryKeyConstraint("series_id", "version"),
)

candles = Table(
    "candles",
    metadata,
    # No foreign key: PostgreSQL would check it row by row and halve the speed. Writers hold the series' row instead.
    Column("series_id", Integer, nullable=False),
    Column("open_time_ms", BigInteger, nullable=False),
    *_prices(),
    PrimaryKeyConstraint("series_id", "open_time_ms"),
    CheckConstraint("open_time_ms BETWEEN 1000000000000 AND 9999999999999", name="candles_in_ms"),
    sqlite_with_rowid=False,
)

candle_revisions = Table(
    "candle_revisions",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    _series_id(),
    Column("open_time_ms", BigInteger, nullable=False),
    Column("replaced_at_ms", BigInteger, nullable=False),
    *_prices(),
)

funding = Table(
    "funding",
    metadata,
    _series_id(),
    Column("funding_time_ms", BigInteger, nullable=False),
    Column("funding_rate", Text, nullable=False),
    PrimaryKeyConstraint("series_id", "funding_time_ms"),
    CheckConstraint("funding_time_ms BETWEEN 1000000000000 AND 9999999999999", name="funding_in_ms"),
    sqlite_with_rowid=False,
)

funding_revisions = Table(
    "funding_revisions",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    _series_id(),
    Column("funding_time_ms", BigInteger, nullable=False),
    Column("replaced_at_ms", BigInteger, nullable=False),
    Column("funding_rate", Text, nullable=False),
)

coverage = Table(
    "coverage",
    metadata,
    _series_id(),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("series_id", "start_ms"),
    CheckConstraint("start_ms < end_ms", name="coverage_not_empty"),
)

holes = Table(
    "holes",
    metadata,
    _series_id(),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    PrimaryKeyConstraint("series_id", "start_ms"),
    CheckConstraint("start_ms < end_ms", name="holes_not_empty"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    _series_id(),
    Column("time_ms", BigInteger, nullable=False),
    Column("rows", Text, nullable=False),
    Column("found_at_ms", BigInteger, nullable=False),
    UniqueConstraint("series_id", "time_ms", "rows", name="conflicts_once"),
)

rejected_rows = Table(
    "rejected_rows",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    _series_id(),
    Column("raw", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("found_at_ms", BigInteger, nullable=False),
    UniqueConstraint("series_id", "raw", "reason", name="rejected_rows_once"),
)

instruments = Table(
    "instruments",
    metadata,
    Column("category", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("as_of_ms", BigInteger, nullable=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("contract_type", "base_coin", "quote_coin", "settle_coin", "status")
    ),
    *(Column(name, Text, nullable=False) for name in ("tick_size", "qty_step", "min_order_qty")),
    *(
        Column(name, Text, nullable=True)
        for name in (
            "max_order_qty",
            "max_market_order_qty",
            "min_notional",
            "max_leverage",
            "leverage_step",
            "upper_funding_rate",
            "lower_funding_rate",
        )
    ),
    *(
        Column(name, BigInteger, nullable=True)
        for name in ("funding_interval_ms", "launch_time_ms", "delivery_time_ms")
    ),
    PrimaryKeyConstraint("category", "symbol", "as_of_ms"),
)

risk_tiers = Table(
    "risk_tiers",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("as_of_ms", BigInteger, nullable=False),
    Column("tier", Integer, nullable=False),
    Column("max_notional", Text, nullable=True),
    *(
        Column(name, Text, nullable=False)
        for name in ("initial_margin_rate", "maintenance_margin_rate", "mm_deduction", "max_leverage")
    ),
    PrimaryKeyConstraint("symbol", "as_of_ms", "tier"),
)

fee_eras = Table(
    "fee_eras",
    metadata,
    # Which contracts an era is limited to is part of what it is, and too long for a key: its digest stands for it.
    Column("era_key", Text, primary_key=True),
    Column("market", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("valid_to_ms", BigInteger, nullable=True),
    *(Column(name, Text, nullable=False) for name in ("maker", "taker", "source", "confidence", "symbols")),
)

fee_snapshots = Table(
    "fee_snapshots",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("category", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("maker", Text, nullable=False),
    Column("taker", Text, nullable=False),
    UniqueConstraint("category", "symbol", "time_ms", name="fee_snapshots_once"),
)

closures = Table(
    "closures",
    metadata,
    Column("notice_id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("products", Text, nullable=False),
    CheckConstraint("start_ms < end_ms", name="closures_not_empty"),
)

backtest_runs = Table(
    "backtest_runs",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("run_key", Text, nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("params", "symbols", "metrics", "provenance")),
)

quality_results = Table(
    "quality_results",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("entry_key", Text, nullable=False, unique=True),
    Column("subject", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("report", Text, nullable=False),
    Column("checked_at_ms", BigInteger, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("entry_key", Text, nullable=False, unique=True),
    Column("strategy", Text, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("from_stage", "to_stage", "verdict", "reasons", "metrics")),
    *(Column(name, Text, nullable=False) for name in ("evidence_hash", "decided_by")),
    Column("decided_at_ms", BigInteger, nullable=False),
)

origin = Table(
    "origin",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="origin_is_one"), primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("claimed_at_ms", BigInteger, nullable=False),
)

matrices = Table(
    "matrices",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("entry_key", Text, nullable=False, unique=True),
    Column("run_keys", Text, nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
)

APPEND_ONLY = (
    *("candle_revisions", "funding_revisions", "backtest_runs", "quality_results", "decisions"),
    *("origin", "matrices", "fee_snapshots"),
)
"""Tables whose rows are never changed or removed: triggers refuse it."""
