"""Which span each change of a series touched, and a name for what it left behind."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    changes = op.create_table(
        "series_changes",
        sa.Column("series_id", sa.Integer(), sa.ForeignKey("series.id"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=True),
        sa.Column("end_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("series_id", "version"),
    )
    # What is stored already needs a name too; what came before it is not known and not asked for.
    found = op.get_bind().execute(sa.text("SELECT id, version FROM series WHERE version > 0")).all()
    if found:
        rows = [{"series_id": row.id, "version": row.version, "stamp": uuid.uuid4().hex} for row in found]
        op.bulk_insert(changes, rows)
