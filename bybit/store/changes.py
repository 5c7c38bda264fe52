"""What changed in a series, commit by commit, so that a copy of it can be named, trusted and brought up to date.

Every commit that changes rows, coverage or holes leaves a stamp: random, so that no two moments of any two databases
share one, also when a file is deleted and filled again or an old copy is restored. Whoever holds a copy with a series'
latest stamp holds what is stored.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from bybit.rules.periods import Span, merge_spans
from bybit.store.schema import series, series_changes

# A copy further behind than this is read anew: the list of what it missed must not grow without end.
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Since:
    """What happened to a series since an earlier moment.

    Parameters
    ----------
    stamp : str
        Names the series as it is now.
    changed : list of Span or None
        Where rows may differ, ms UTC, sorted, none touching another; None when that is no longer known: anywhere.
    passed : frozenset of str
        Stamps that the series has had before, as far as they are remembered.
    """

    stamp: str
    changed: list[Span] | None
    passed: frozenset[str]


def note_change(connection: Connection, series_id: int, rows: Span | None) -> None:
    """Count one more change of a locked series, in the caller's transaction; ``rows`` spans the rows it wrote."""
    counted = update(series).where(series.c.id == series_id).values(version=series.c.version + 1)
    version = connection.execute(counted.returning(series.c.version)).scalar_one()
    start, end = (None, None) if rows is None else rows
    row = {"series_id": series_id, "version": version, "stamp": uuid.uuid4().hex, "start_ms": start, "end_ms": end}
    connection.execute(insert(series_changes).values(**row))
    forgotten = series_changes.c.version <= version - _REMEMBERED
    connection.execute(delete(series_changes).where(series_changes.c.series_id == series_id, forgotten))


def latest_stamp(connection: Connection, series_id: int) -> str | None:
    """Return the name of what the series is now; None when nothing was ever written to it."""
    # Plain text: this question is asked before every read, and building a statement costs more than answering it.
    found = connection.exec_driver_sql(
        f"SELECT stamp FROM series_changes WHERE series_id = {series_id:d} ORDER BY version DESC LIMIT 1"
    ).scalar_one_or_none()
    return None if found is None else str(found)


def changes_since(connection: Connection, series_id: int, stamp: str | None) -> Since | None:
    """Return what happened since ``stamp`` (None: ever); None when nothing was ever written to the series."""
    table = series_changes.c
    query = select(table.stamp, table.start_ms, table.end_ms).where(table.series_id == series_id)
    rows = connection.execute(query.order_by(table.version)).all()
    if not rows:
        return None
    stamps = [row.stamp for row in rows]
    changed = None
    if stamp in stamps:
        later = rows[stamps.index(stamp) + 1 :]
        changed = merge_spans([(row.start_ms, row.end_ms) for row in later if row.start_ms is not None])
    return Since(stamps[-1], changed, frozenset(stamps[:-1]))
