"""What the account's own fee-rate replies said."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "fee_snapshots",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("maker", sa.Text(), nullable=False),
        sa.Column("taker", sa.Text(), nullable=False),
        sa.UniqueConstraint("category", "symbol", "time_ms", name="fee_snapshots_once"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER fee_snapshots_no_{event.lower()} BEFORE {event} ON fee_snapshots "
                "BEGIN SELECT RAISE(ABORT, 'fee_snapshots is append-only'); END"
            )
    else:
        # The function was made with the first tables.
        op.execute(
            "CREATE TRIGGER fee_snapshots_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fee_snapshots "
            "FOR EACH STATEMENT EXECUTE FUNCTION perpflow_append_only()"
        )
