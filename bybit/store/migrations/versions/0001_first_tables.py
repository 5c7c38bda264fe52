"""First tables: series, candles, funding, coverage, dated rules, append-only records."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = ("candle_revisions", "funding_revisions", "backtest_runs", "quality_results", "decisions")


def _text(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _ms(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _series_id() -> sa.Column[Any]:
    return sa.Column("series_id", sa.Integer(), sa.ForeignKey("series.id"), nullable=False)


def _row_id() -> sa.Column[Any]:
    return sa.Column("id", _ROW_ID, primary_key=True)


def _prices() -> list[sa.Column[Any]]:
    return [
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("open", "high", "low", "close")),
        *(sa.Column(name, sa.Double(), nullable=True) for name in ("volume", "turnover")),
    ]


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), primary_key=True),
        *_text("exchange", "category", "symbol", "price", "interval"),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="0"),
        sa.UniqueConstraint("exchange", "category", "symbol", "price", "interval", name="series_names_one"),
    )
    op.create_table(
        "candles",
        # No foreign key: PostgreSQL would check it row by row; writers hold the series' row instead.
        sa.Column("series_id", sa.Integer(), nullable=False),
        *_ms("open_time_ms"),
        *_prices(),
        sa.PrimaryKeyConstraint("series_id", "open_time_ms"),
        sa.CheckConstraint("open_time_ms BETWEEN 1000000000000 AND 9999999999999", name="candles_in_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table("candle_revisions", _row_id(), _series_id(), *_ms("open_time_ms", "replaced_at_ms"), *_prices())
    op.create_table(
        "funding",
        _series_id(),
        *_ms("funding_time_ms"),
        *_text("funding_rate"),
        sa.PrimaryKeyConstraint("series_id", "funding_time_ms"),
        sa.CheckConstraint("funding_time_ms BETWEEN 1000000000000 AND 9999999999999", name="funding_in_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "funding_revisions", _row_id(), _series_id(), *_ms("funding_time_ms", "replaced_at_ms"), *_text("funding_rate")
    )
    op.create_table(
        "coverage",
        _series_id(),
        *_ms("start_ms", "end_ms"),
        sa.PrimaryKeyConstraint("series_id", "start_ms"),
        sa.CheckConstraint("start_ms < end_ms", name="coverage_not_empty"),
    )
    op.create_table(
        "holes",
        _series_id(),
        *_ms("start_ms", "end_ms"),
        *_text("reason", "evidence"),
        sa.PrimaryKeyConstraint("series_id", "start_ms"),
        sa.CheckConstraint("start_ms < end_ms", name="holes_not_empty"),
    )
    op.create_table(
        "leases", sa.Column("name", sa.Text(), primary_key=True), *_ms("token"), *_text("owner"), *_ms("expires_ms")
    )
    op.create_table(
        "conflicts",
        _row_id(),
        _series_id(),
        *_ms("time_ms"),
        *_text("rows"),
        *_ms("found_at_ms"),
        sa.UniqueConstraint("series_id", "time_ms", "rows", name="conflicts_once"),
    )
    op.create_table(
        "rejected_rows",
        _row_id(),
        _series_id(),
        *_text("raw", "reason"),
        *_ms("found_at_ms"),
        sa.UniqueConstraint("series_id", "raw", "reason", name="rejected_rows_once"),
    )
    _dated_rules()
    _records()
    for table in _APPEND_ONLY:
        _refuse_changes(table)


def _dated_rules() -> None:
    op.create_table(
        "instruments",
        *_text("category", "symbol"),
        *_ms("as_of_ms"),
        *_text("contract_type", "base_coin", "quote_coin", "settle_coin", "status"),
        *_text("tick_size", "qty_step", "min_order_qty"),
        *_text("max_order_qty", "max_market_order_qty", "min_notional", "max_leverage", "leverage_step", nullable=True),
        *_text("upper_funding_rate", "lower_funding_rate", nullable=True),
        *_ms("funding_interval_ms", "launch_time_ms", "delivery_time_ms", nullable=True),
        sa.PrimaryKeyConstraint("category", "symbol", "as_of_ms"),
    )
    op.create_table(
        "risk_tiers",
        *_text("symbol"),
        *_ms("as_of_ms"),
        sa.Column("tier", sa.Integer(), nullable=False),
        *_text("max_notional", nullable=True),
        *_text("initial_margin_rate", "maintenance_margin_rate", "mm_deduction", "max_leverage"),
        sa.PrimaryKeyConstraint("symbol", "as_of_ms", "tier"),
    )
    op.create_table(
        "fee_eras",
        sa.Column("era_key", sa.Text(), primary_key=True),
        *_text("market", "tier"),
        *_ms("valid_from_ms"),
        *_ms("valid_to_ms", nullable=True),
        *_text("maker", "taker", "source", "confidence", "symbols"),
    )


def _records() -> None:
    op.create_table(
        "backtest_runs",
        _row_id(),
        sa.Column("run_key", sa.Text(), nullable=False, unique=True),
        *_ms("created_at_ms"),
        *_text("strategy", "tier"),
        *_ms("start_ms", "end_ms"),
        *_text("params", "symbols", "metrics", "provenance"),
    )
    op.create_table(
        "quality_results",
        _row_id(),
        sa.Column("entry_key", sa.Text(), nullable=False, unique=True),
        *_text("subject"),
        sa.Column("passed", sa.Boolean(), nullable=False),
        *_text("report"),
        *_ms("checked_at_ms"),
    )
    op.create_table(
        "decisions",
        _row_id(),
        sa.Column("entry_key", sa.Text(), nullable=False, unique=True),
        *_text("strategy", "from_stage", "to_stage", "verdict", "reasons", "metrics", "evidence_hash", "decided_by"),
        *_ms("decided_at_ms"),
    )


def _refuse_changes(table: str) -> None:
    """Let a table grow only: updates, deletes and truncation are refused by the database itself."""
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION perpflow_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION perpflow_append_only()"
    )
