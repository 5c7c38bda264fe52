"""Where a database's market data comes from, and which runs were made together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = ("origin", "matrices")


def upgrade() -> None:
    op.create_table(
        "origin",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("claimed_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="origin_is_one"),
    )
    op.create_table(
        "matrices",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("entry_key", sa.Text(), nullable=False, unique=True),
        sa.Column("run_keys", sa.Text(), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger(), nullable=False),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _APPEND_ONLY:
        # The function of PostgreSQL's triggers was made with the first tables.
        if sqlite:
            for event in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        else:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION perpflow_append_only()"
            )
