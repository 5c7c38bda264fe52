"""Brings a database to the schema this code was written for, and refuses one that is ahead of it."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bybit.store.errors import NewerSchema

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Every revision this code knows, oldest first; a test holds it equal to the files in ``migrations/versions``."""

MIGRATIONS = Path(__file__).with_name("migrations")

# Any constant will do: it only has to be the same in every process that opens the store.
_UPGRADE_LOCK = 0x70657270


def is_current(connection: Connection) -> bool:
    """Return whether the schema is the newest this code knows.

    Raises
    ------
    NewerSchema
        When the database was written by code that knows revisions this code does not.
    """
    found = _current(connection)
    if found is not None and found not in REVISIONS:
        raise NewerSchema(
            f"the database has schema {found!r}, this perpflow knows {REVISIONS[-1]!r} at most: "
            "use the newer perpflow that wrote it, or another database"
        )
    return found == REVISIONS[-1]


def upgrade(connection: Connection) -> None:
    """Upgrade to the newest schema inside the caller's transaction; does nothing when it already is.

    Raises ``NewerSchema`` like ``is_current``.
    """
    if connection.dialect.name == "postgresql":
        # Two processes may open a fresh database at once; SQLite's writers already queue.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    if is_current(connection):
        return
    # Imported late: opening a store that is up to date should not pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # A percent sign in the path would be read as interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
