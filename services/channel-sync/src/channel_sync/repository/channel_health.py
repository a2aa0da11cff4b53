"""The statements on what a channel can take: its circuit breaker and the calls that are left; called by service."""

from uuid import UUID

from channel_sync.repository.rows import affected
from runtime.postgres import Connection

_FAILED = """
UPDATE connections SET
    failures = failures + 1,
    open_until = CASE WHEN failures + 1 >= $2 THEN suite_now() + make_interval(secs => $3) END
WHERE id = $1"""


async def note_channel_down(conn: Connection, connection_id: UUID, failures: int, pause_s: float) -> None:
    """A call found no working channel; after so many `failures` in a row it is left alone for `pause_s`."""
    await conn.execute(_FAILED, connection_id, failures, pause_s)


async def note_channel_up(conn: Connection, connection_id: UUID, failures: int) -> bool:
    """A call found the channel working; True when it had failed so often before that its breaker was open.

    Then its other listings are tried at once, whatever pause they were in.
    """
    before: int | None = await conn.fetchval(
        """UPDATE connections SET failures = 0, open_until = NULL
           FROM (SELECT id, failures FROM connections WHERE id = $1 FOR UPDATE) AS old
           WHERE connections.id = old.id RETURNING old.failures""",
        connection_id,
    )
    if before is None or before < failures:
        return False
    await conn.execute(
        """UPDATE listings SET next_attempt_at = suite_now()
           WHERE connection_id = $1 AND stale_since IS NOT NULL AND attempts > 0""",
        connection_id,
    )
    return True


# One row per bucket: it says when the bucket is full again, so nothing has to fill it.
_TAKE = """
INSERT INTO call_budgets AS own (agency_id, connection_id, bucket, full_at)
VALUES ($1, $2, $3, suite_now() + make_interval(secs => $4))
ON CONFLICT (connection_id, bucket) DO UPDATE
    SET full_at = greatest(own.full_at, suite_now()) + make_interval(secs => $4)
    WHERE greatest(own.full_at, suite_now()) + make_interval(secs => $4) <= suite_now() + make_interval(secs => $5)"""


async def take_call(
    conn: Connection, agency_id: UUID, connection_id: UUID, bucket: str, *, refill_s: float, depth: int
) -> float:
    """Take one call out of a bucket of `depth` calls that gains one every `refill_s`: 0, or seconds until one is there.

    The row is the bucket's lock for the rest of the transaction.
    """
    taken = await conn.execute(_TAKE, agency_id, connection_id, bucket, refill_s, refill_s * depth)
    if affected(taken) == 1:
        return 0.0
    wait_s: float = await conn.fetchval(
        """SELECT extract(epoch FROM full_at - suite_now())::float8 FROM call_budgets
           WHERE connection_id = $1 AND bucket = $2""",
        connection_id,
        bucket,
    )
    return max(wait_s - refill_s * (depth - 1), 0.0)
