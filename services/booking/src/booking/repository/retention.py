"""SQL of retention: moves past ranges to the archive, purges what nobody reads any more; for the system role.

Every statement takes at most `limit` rows and passes over rows that others hold; it returns how many it took.
"""

from datetime import timedelta

from runtime.postgres import Connection

_ARCHIVE = """
WITH past AS (
    SELECT id FROM inventory_ranges
    WHERE state = $1 AND upper(occupied) < (suite_now() AT TIME ZONE 'UTC' - $2::interval)::date
    ORDER BY upper(occupied) LIMIT $3 FOR UPDATE SKIP LOCKED),
moved AS (DELETE FROM inventory_ranges WHERE id IN (SELECT id FROM past) RETURNING *),
kept AS (
    INSERT INTO inventory_ranges_archive (id, agency_id, property_id, kind, state, source_id, stay, occupied,
                                          expires_at, created_at, released_at, archived_at)
    SELECT id, agency_id, property_id, kind, state, source_id, stay, occupied,
           expires_at, created_at, released_at, suite_now() FROM moved RETURNING 1)
SELECT count(*) FROM kept"""


async def archive_ranges(connection: Connection, state: str, ended: timedelta, limit: int) -> int:
    """Move ranges of a state whose `occupied` ended that long before today (UTC), those that ended first first."""
    return await _count(connection, _ARCHIVE, state, ended, limit)


async def purge_outbox(connection: Connection, kept: timedelta, limit: int) -> int:
    """Delete events that were sent that long ago. Looks at the oldest `limit` sent rows only: no index by time."""
    return await _count(
        connection,
        """WITH oldest AS (SELECT id, sent_at FROM outbox WHERE sent_at IS NOT NULL ORDER BY id LIMIT $2),
            gone AS (DELETE FROM outbox WHERE id IN (SELECT id FROM oldest WHERE sent_at < suite_now() - $1::interval)
                     RETURNING 1)
            SELECT count(*) FROM gone""",
        kept,
        limit,
    )


async def purge_inbox(connection: Connection, kept: timedelta, limit: int) -> int:
    """Forget events that were processed that long ago."""
    return await _count(
        connection,
        """WITH oldest AS (
                SELECT consumer, event_id FROM inbox WHERE processed_at < suite_now() - $1::interval
                ORDER BY processed_at LIMIT $2 FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM inbox USING oldest
                     WHERE inbox.consumer = oldest.consumer AND inbox.event_id = oldest.event_id RETURNING 1)
            SELECT count(*) FROM gone""",
        kept,
        limit,
    )


async def purge_idempotency_keys(connection: Connection, limit: int) -> int:
    """Delete answers whose keys have expired."""
    return await _count(
        connection,
        """WITH oldest AS (
                SELECT agency_id, caller, key FROM idempotency_keys WHERE expires_at <= suite_now()
                ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM idempotency_keys AS stored USING oldest
                     WHERE stored.agency_id = oldest.agency_id AND stored.caller = oldest.caller
                       AND stored.key = oldest.key RETURNING 1)
            SELECT count(*) FROM gone""",
        limit,
    )


async def purge_quotes(connection: Connection, kept: timedelta, limit: int) -> int:
    """Delete quotes that ran out that long ago; one that is pinned lives as long as its hold."""
    return await _count(
        connection,
        """WITH oldest AS (
                SELECT id FROM quotes
                WHERE expires_at < suite_now() - $1::interval AND NOT EXISTS (
                    SELECT FROM holds WHERE holds.id = quotes.hold_id AND holds.state = 'active'
                                        AND holds.hold_expires_at > suite_now() - $1::interval)
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM quotes WHERE id IN (SELECT id FROM oldest) RETURNING 1)
            SELECT count(*) FROM gone""",
        kept,
        limit,
    )


async def _count(connection: Connection, statement: str, *arguments: object) -> int:
    return int(await connection.fetchval(statement, *arguments))
