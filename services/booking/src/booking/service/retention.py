"""Use case of retention: the constrained table and the feeds keep what somebody still reads; called by the worker.

No version moves and no event is written: what is moved or deleted lies outside of every answer, snapshot and digest.
"""

from dataclasses import asdict, astuple, dataclass
from datetime import timedelta

from booking.repository import retention
from booking.service.writing import Deps
from runtime.logs import get_logger
from runtime.postgres import transaction

log = get_logger(__name__)

BATCH = 1_000
"""Rows a statement takes: short enough to stand in nobody's way."""


@dataclass(frozen=True, slots=True)
class Horizons:
    """How long things stay. Snapshots and digests reach two days back, so both range horizons lie far beyond."""

    released_ranges: timedelta = timedelta(days=30)
    active_ranges: timedelta = timedelta(days=400)
    sent_events: timedelta = timedelta(days=14)
    inbox: timedelta = timedelta(days=30)
    expired_quotes: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Retained:
    """How many rows one step moved or deleted."""

    released_ranges: int
    active_ranges: int
    events: int
    inbox: int
    idempotency_keys: int
    quotes: int = 0

    @property
    def most(self) -> int:
        """The largest of the counts: a full batch says that there may be more."""
        counts: tuple[int, ...] = astuple(self)
        return max(counts)


async def retention_step(deps: Deps, horizons: Horizons | None = None, batch: int = BATCH) -> Retained:
    """At most one batch of each, each in a transaction of its own. `deps` is the system role's."""
    kept = horizons or Horizons()
    async with transaction(deps.pool, None) as connection:
        released = await retention.archive_ranges(connection, "released", kept.released_ranges, batch)
    async with transaction(deps.pool, None) as connection:
        active = await retention.archive_ranges(connection, "active", kept.active_ranges, batch)
    async with transaction(deps.pool, None) as connection:
        events = await retention.purge_outbox(connection, kept.sent_events, batch)
    async with transaction(deps.pool, None) as connection:
        inbox = await retention.purge_inbox(connection, kept.inbox, batch)
    async with transaction(deps.pool, None) as connection:
        keys = await retention.purge_idempotency_keys(connection, batch)
    async with transaction(deps.pool, None) as connection:
        quotes = await retention.purge_quotes(connection, kept.expired_quotes, batch)
    done = Retained(released, active, events, inbox, keys, quotes)
    if done.most:
        log.info("retention", **asdict(done))
    return done
