"""One fetcher per range at a time, and a late one is refused.

Every taking of a lease raises its token. A write carries the token it works under and checks it in its own
transaction, so a process that slept through its expiry cannot add anything once somebody else has taken over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from bybit.rules.errors import InvalidInput
from bybit.rules.periods import utc
from bybit.store.database import Database
from bybit.store.errors import LeaseHeld, LeaseLost
from bybit.store.schema import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write under ``name`` until somebody with a higher ``token`` comes.

    ``expires`` is when others may take it, as of its taking; every write and ``renew`` moves that on by ``ttl``.
    """

    name: str
    owner: str
    token: int
    ttl: timedelta
    expires: datetime


class LeaseTable:
    """Who may write what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, name: str, owner: str, ttl: timedelta, *, abandoned: Callable[[str], bool] = lambda _owner: False
    ) -> Lease:
        """Take the lease ``name`` for ``ttl``.

        An owner may take its own lease again; anybody may take one that has expired.

        Parameters
        ----------
        name, owner : str
            What is leased, and by whom: the owner is shown to others who want it.
        ttl : timedelta
            How long the lease lives without a write or ``renew``; positive.
        abandoned : callable
            Told the present owner of an unexpired lease, says whether that owner is known to be dead.

        Raises
        ------
        LeaseHeld
            When another owner holds it.
        """
        if ttl <= timedelta(0):
            raise InvalidInput(f"a lease lives for a positive time, not {ttl}")

        def work(connection: Connection) -> Lease:
            now_ms = self._database.now_ms()
            expires_ms = now_ms + _ms(ttl)
            # Names are never removed: a token that started anew could repeat one that a late writer still holds.
            unheld = self._database.insert(leases).values(name=name, token=0, owner="", expires_ms=0)
            connection.execute(unheld.on_conflict_do_nothing())
            row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).one()
            if row.owner not in ("", owner) and row.expires_ms > now_ms and not abandoned(row.owner):
                raise LeaseHeld(
                    f"{name} is being written by {row.owner} until {utc(row.expires_ms).isoformat()}: "
                    "wait for it, or end that process"
                )
            token = int(row.token) + 1
            changed = update(leases).where(leases.c.name == name)
            connection.execute(changed.values(token=token, owner=owner, expires_ms=expires_ms))
            return Lease(name, owner, token, ttl, utc(expires_ms))

        return self._database.write(work)

    def renew(self, lease: Lease) -> None:
        """Move the expiry on by the lease's ``ttl``; raises ``LeaseLost`` when it is somebody else's."""
        self._database.write(lambda connection: hold(connection, lease, self._database.now_ms()))

    def release(self, lease: Lease) -> None:
        """Let others take it at once; a lease lost meanwhile is left alone. The token keeps counting."""

        def work(connection: Connection) -> None:
            mine = (leases.c.name == lease.name) & (leases.c.token == lease.token)
            connection.execute(update(leases).where(mine).values(owner="", expires_ms=0))

        self._database.write(work)


def hold(connection: Connection, lease: Lease, now_ms: int) -> None:
    """Check in this transaction that ``lease`` is still the newest, and renew it.

    An expired lease that nobody took is still good: no other writer has come in between.
    """
    query = select(leases.c.token, leases.c.owner).where(leases.c.name == lease.name).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or row.token != lease.token or row.owner != lease.owner:
        newer = "nobody" if row is None or not row.owner else f"{row.owner} (token {row.token})"
        raise LeaseLost(
            f"{lease.owner} wrote under token {lease.token} of {lease.name}, which now belongs to {newer}: "
            "nothing was written; take the lease again and continue from what is stored"
        )
    connection.execute(update(leases).where(leases.c.name == lease.name).values(expires_ms=now_ms + _ms(lease.ttl)))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
