"""The statements on `feeds`: where each feed of revisions stands, and who polls it; called by service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from channel_sync.domain.channels import Door
from channel_sync.repository.rows import affected
from runtime.postgres import Connection


@dataclass(frozen=True, slots=True)
class ClaimedFeed:
    """A feed that this process alone may poll until its lease is over."""

    door: Door
    endpoint_url: str
    settings: dict[str, Any]
    cursor: str | None
    lease_epoch: int
    attempts: int
    batch_id: UUID | None
    task_id: UUID | None


@dataclass(frozen=True, slots=True)
class FeedStaleness:
    """When a feed was last read to its end, how long ago, and what went wrong since."""

    polled_at: datetime | None
    age_ms: int | None
    error: str | None


async def insert_missing_feeds(conn: Connection, adapters: Sequence[str]) -> None:
    """Have a feed for each connection whose adapter asks for revisions; a new one is due at once."""
    await conn.execute(
        """INSERT INTO feeds (connection_id, agency_id, next_poll_at)
           SELECT id, agency_id, suite_now() FROM connections
           WHERE adapter = ANY ($1) AND deleted_at IS NULL
             AND NOT EXISTS (SELECT FROM feeds WHERE feeds.connection_id = connections.id)
           ON CONFLICT DO NOTHING""",
        adapters,
    )


_CLAIM = """
UPDATE feeds SET lease_owner = $2, lease_epoch = lease_epoch + 1,
    lease_expires_at = suite_now() + make_interval(secs => $3)
FROM connections
WHERE feeds.connection_id IN (
    SELECT feeds.connection_id FROM feeds JOIN connections ON connections.id = feeds.connection_id
    WHERE feeds.next_poll_at <= suite_now() AND connections.enabled
      AND (feeds.lease_expires_at IS NULL OR feeds.lease_expires_at <= suite_now())
    ORDER BY feeds.next_poll_at LIMIT $1 FOR UPDATE OF feeds SKIP LOCKED
) AND connections.id = feeds.connection_id
RETURNING feeds.connection_id, feeds.agency_id, connections.adapter, connections.sealed_secret, suite_now() AS now,
    connections.endpoint_url, connections.settings, feeds.cursor, feeds.lease_epoch, feeds.attempts, feeds.batch_id,
    feeds.task_id"""


async def claim_feeds(conn: Connection, limit: int, owner: str, lease_s: float) -> list[ClaimedFeed]:
    """Lease up to `limit` feeds that are due, longest due first."""
    return [
        ClaimedFeed(
            Door(row["connection_id"], row["agency_id"], row["adapter"], row["sealed_secret"], row["now"]),
            *(row[name] for name in ("endpoint_url", "settings", "cursor", "lease_epoch", "attempts")),
            *(row[name] for name in ("batch_id", "task_id")),
        )
        for row in await conn.fetch(_CLAIM, limit, owner, lease_s)
    ]


async def keep_cursor(conn: Connection, feed: ClaimedFeed, cursor: str | None) -> bool:
    """Everything before the cursor is stored; False when the lease was lost."""
    changed = await conn.execute(
        "UPDATE feeds SET cursor = $3 WHERE connection_id = $1 AND lease_epoch = $2",
        feed.door.connection_id,
        feed.lease_epoch,
        cursor,
    )
    return affected(changed) == 1


async def end_poll(conn: Connection, feed: ClaimedFeed, *, pause_s: float, error: str | None) -> bool:
    """Give the lease back, and say when to poll again; False when it was lost.

    A synchronisation that was asked for is tried; one that was asked for since is not.
    """
    changed = await conn.execute(
        """UPDATE feeds SET lease_owner = NULL, lease_expires_at = NULL, error = $4,
               attempts = CASE WHEN $4::text IS NULL THEN 0 ELSE attempts + 1 END,
               polled_at = CASE WHEN $4::text IS NULL THEN suite_now() ELSE polled_at END,
               next_poll_at = CASE WHEN task_id IS DISTINCT FROM $5 THEN suite_now()
                                   ELSE suite_now() + make_interval(secs => $3) END,
               batch_id = CASE WHEN task_id IS DISTINCT FROM $5 THEN batch_id END,
               task_id = CASE WHEN task_id IS DISTINCT FROM $5 THEN task_id END
           WHERE connection_id = $1 AND lease_epoch = $2""",
        feed.door.connection_id,
        feed.lease_epoch,
        pause_s,
        error,
        feed.task_id,
    )
    return affected(changed) == 1


async def select_feed_staleness(conn: Connection, agency_id: UUID, connection_id: UUID) -> FeedStaleness | None:
    """How old what we read of a channel is; None where it is not asked."""
    row = await conn.fetchrow(
        """SELECT polled_at, (extract(epoch FROM suite_now() - polled_at) * 1000)::bigint AS age_ms, error
           FROM feeds WHERE agency_id = $1 AND connection_id = $2""",
        agency_id,
        connection_id,
    )
    return FeedStaleness(**row) if row is not None else None


async def ask_for_poll(
    conn: Connection, agency_id: UUID, connection_id: UUID, batch_id: UUID | None, task_id: UUID | None
) -> None:
    """Have a feed polled at once, as a task of a batch where one is named."""
    await conn.execute(
        """INSERT INTO feeds (connection_id, agency_id, next_poll_at, batch_id, task_id)
           VALUES ($1, $2, suite_now(), $3, $4)
           ON CONFLICT (connection_id) DO UPDATE SET next_poll_at = suite_now(),
               batch_id = coalesce($3, feeds.batch_id), task_id = coalesce($4, feeds.task_id)""",
        connection_id,
        agency_id,
        batch_id,
        task_id,
    )
