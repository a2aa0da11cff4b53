"""The statements on `inbound_revisions`; called by service."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from channel_sync.domain.channels import Door
from channel_sync.domain.paging import Position
from channel_sync.domain.revisions import ParsedRevision, PendingRevision, RevisionResult, Source, StoredRevision
from channel_sync.repository.rows import affected, position_parameters, present
from runtime.postgres import Connection

_REVISION = (
    "id AS log_id, connection_id, revision_id, ota_reservation_code, revision_no, state, reason, reservation_id, "
    "block_id, received_at, settled_at"
)
_PENDING = """revision.id AS log_id, revision.agency_id, revision.connection_id, revision.property_id,
              connection.adapter, revision.revision_id, revision.ota_reservation_code, revision.ota_listing_id,
              revision.revision_no, revision.raw"""


@dataclass(frozen=True, slots=True)
class InboundContext:
    """What decides about a new revision, read in one snapshot under its locks.

    `earlier` is the log id of the same revision, `property_id` that of its listing; a cancellation goes where the
    reservation is, whatever its listing is mapped to by now. `taken` are the numbers of the reservation's revisions,
    `is_erased` says whether its guest was erased.
    """

    now: datetime
    earlier: UUID | None
    property_id: UUID | None
    taken: frozenset[int]
    is_erased: bool


async def lock_reservation_code(conn: Connection, connection_id: UUID, code: str) -> None:
    """Number the revisions of one reservation of the channel one after the other."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('code/' || $1::text || '/' || $2::text, 0))",
        str(connection_id),
        code,
    )


async def select_inbound_context(
    conn: Connection, agency_id: UUID, connection_id: UUID, revision: ParsedRevision
) -> InboundContext:
    """What decides about a revision; both locks must be held, taken in statements of their own."""
    row = await conn.fetchrow(
        """SELECT suite_now() AS now,
               (SELECT id FROM inbound_revisions
                WHERE agency_id = $1 AND connection_id = $2 AND revision_id = $3) AS earlier,
               coalesce(
                   CASE WHEN $6 THEN (
                       SELECT property_id FROM inbound_revisions
                       WHERE agency_id = $1 AND connection_id = $2 AND ota_reservation_code = $5
                         AND property_id IS NOT NULL
                       ORDER BY revision_no DESC LIMIT 1) END,
                   (SELECT property_id FROM listings
                    WHERE agency_id = $1 AND connection_id = $2 AND ota_listing_id = $4)) AS property_id,
               ARRAY(SELECT revision_no FROM inbound_revisions
                     WHERE agency_id = $1 AND connection_id = $2 AND ota_reservation_code = $5) AS taken,
               EXISTS (SELECT FROM erased_reservations
                       WHERE agency_id = $1 AND connection_id = $2 AND ota_reservation_code = $5) AS is_erased""",
        agency_id,
        connection_id,
        revision.revision_id,
        revision.ota_listing_id,
        revision.ota_reservation_code,
        revision.status == "cancelled",
    )
    found = present(row)
    return InboundContext(
        found["now"], found["earlier"], found["property_id"], frozenset(found["taken"]), found["is_erased"]
    )


async def insert_revision(
    conn: Connection,
    door: Door,
    log_id: UUID,
    revision: ParsedRevision,
    *,
    raw: bytes,
    source: Source,
    trace_id: str | None,
    revision_no: int,
    property_id: UUID | None,
) -> bool:
    """Store a readable revision, `published` when its listing is mapped, else `unmapped`; False for a duplicate."""
    inserted = await conn.fetchval(
        """INSERT INTO inbound_revisions (id, agency_id, connection_id, source, raw, received_at, trace_id, revision_id,
               ota_reservation_code, ota_listing_id, published_at, revision_no, property_id, state, reason,
               handed_over_at, revision_status, check_in, check_out)
           VALUES ($1, $2, $3, $4, $5, suite_now(), $6, $7, $8, $9, $10, $11, $12,
               CASE WHEN $12::uuid IS NULL THEN 'unmapped' ELSE 'published' END,
               CASE WHEN $12::uuid IS NULL THEN 'no listing of this connection is mapped to it' END,
               CASE WHEN $12::uuid IS NOT NULL THEN suite_now() END, $13, $14, $15)
           ON CONFLICT ON CONSTRAINT inbound_revisions_once DO NOTHING RETURNING true""",
        log_id,
        door.agency_id,
        door.connection_id,
        source,
        raw,
        trace_id,
        revision.revision_id,
        revision.ota_reservation_code,
        revision.ota_listing_id,
        revision.published_at,
        revision_no,
        property_id,
        revision.status,
        revision.check_in,
        revision.check_out,
    )
    return inserted is True


async def insert_unparseable_revision(
    conn: Connection,
    door: Door,
    log_id: UUID,
    *,
    revision_id: str,
    raw: bytes,
    source: Source,
    trace_id: str | None,
    reason: str,
) -> bool:
    """Store bytes that cannot be read; False when they are stored already."""
    inserted = await conn.fetchval(
        """INSERT INTO inbound_revisions (id, agency_id, connection_id, source, raw, received_at, trace_id, revision_id,
               state, reason, settled_at)
           VALUES ($1, $2, $3, $8, $4, suite_now(), $5, $6, 'unparseable', $7, suite_now())
           ON CONFLICT ON CONSTRAINT inbound_revisions_once DO NOTHING RETURNING true""",
        log_id,
        door.agency_id,
        door.connection_id,
        raw,
        trace_id,
        revision_id,
        reason,
        source,
    )
    return inserted is True


async def select_revision_log_id(conn: Connection, agency_id: UUID, connection_id: UUID, revision_id: str) -> UUID:
    """The log id of a stored revision."""
    log_id: UUID = await conn.fetchval(
        "SELECT id FROM inbound_revisions WHERE agency_id = $1 AND connection_id = $2 AND revision_id = $3",
        agency_id,
        connection_id,
        revision_id,
    )
    return log_id


async def publish_unmapped_revisions(
    conn: Connection, agency_id: UUID, connection_id: UUID, ota_listing_id: str, property_id: UUID
) -> list[PendingRevision]:
    """Give the unmapped revisions of a listing their property; what is to be handed over, oldest first."""
    rows = await conn.fetch(
        f"""UPDATE inbound_revisions AS revision
            SET state = 'published', reason = NULL, property_id = $4, handed_over_at = suite_now()
            FROM connections AS connection
            WHERE revision.agency_id = $1 AND revision.connection_id = $2 AND revision.ota_listing_id = $3
              AND revision.state = 'unmapped' AND connection.id = revision.connection_id
            RETURNING {_PENDING}""",  # noqa: S608
        agency_id,
        connection_id,
        ota_listing_id,
        property_id,
    )
    return sorted((PendingRevision(**row) for row in rows), key=lambda pending: pending.revision_no)


async def claim_revisions_without_outcome(conn: Connection, minutes: int, limit: int) -> list[PendingRevision]:
    """Revisions handed over `minutes` ago without an outcome since; they count as handed over now."""
    rows = await conn.fetch(
        f"""UPDATE inbound_revisions AS revision SET handed_over_at = suite_now()
            FROM connections AS connection
            WHERE revision.id IN (
                SELECT id FROM inbound_revisions
                WHERE state = 'published' AND handed_over_at < suite_now() - make_interval(mins => $1)
                ORDER BY handed_over_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ) AND connection.id = revision.connection_id
            RETURNING {_PENDING}""",  # noqa: S608
        minutes,
        limit,
    )
    return sorted((PendingRevision(**row) for row in rows), key=lambda pending: pending.revision_no)


async def settle_revision(conn: Connection, agency_id: UUID, result: RevisionResult) -> bool:
    """Note what booking decided; False when it is known already. A parked revision may still be decided."""
    return (
        affected(
            await conn.execute(
                """UPDATE inbound_revisions
               SET state = $4, reason = $5, reservation_id = coalesce($6, reservation_id),
                   block_id = coalesce($7, block_id), settled_at = suite_now()
               WHERE agency_id = $1 AND connection_id = $2 AND revision_id = $3 AND state IN ('published', 'parked')
                 AND state <> $4""",
                agency_id,
                result.connection_id,
                result.revision_id,
                result.outcome,
                result.reason,
                result.reservation_id,
                result.block_id,
            )
        )
        == 1
    )


async def select_revisions(
    conn: Connection,
    agency_id: UUID,
    connection_id: UUID | None,
    state: str | None,
    after: Position | None,
    limit: int,
) -> list[StoredRevision]:
    """The agency's revisions, newest first; of one connection or in one state when given."""
    rows = await conn.fetch(
        f"""SELECT {_REVISION} FROM inbound_revisions
            WHERE agency_id = $1 AND ($2::uuid IS NULL OR connection_id = $2) AND ($3::text IS NULL OR state = $3)
              AND ($4::timestamptz IS NULL OR (received_at, id) < ($4, $5::uuid))
            ORDER BY received_at DESC, id DESC LIMIT $6""",  # noqa: S608
        agency_id,
        connection_id,
        state,
        *position_parameters(after),
        limit,
    )
    return [StoredRevision(**row) for row in rows]


async def select_other_stays(
    conn: Connection, agency_id: UUID, connection_id: UUID, codes: Sequence[str]
) -> dict[str, str]:
    """Of these reservation codes those with a revision whose newest is no cancellation: each one's listing."""
    rows = await conn.fetch(
        """SELECT ota_reservation_code, ota_listing_id FROM (
               SELECT DISTINCT ON (ota_reservation_code) ota_reservation_code, ota_listing_id, revision_status
               FROM inbound_revisions
               WHERE agency_id = $1 AND connection_id = $2 AND ota_reservation_code = ANY ($3)
               ORDER BY ota_reservation_code, revision_no DESC
           ) AS newest WHERE revision_status IS DISTINCT FROM 'cancelled'""",
        agency_id,
        connection_id,
        codes,
    )
    return {row["ota_reservation_code"]: row["ota_listing_id"] for row in rows}


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A stored revision that is to be read, or handed over, again."""

    state: str
    connection_id: UUID
    source: Source
    raw: bytes = field(repr=False)


async def lock_revision(conn: Connection, agency_id: UUID, log_id: UUID) -> KeptRevision | None:
    """One stored revision, locked until the transaction ends."""
    row = await conn.fetchrow(
        "SELECT state, connection_id, source, raw FROM inbound_revisions WHERE agency_id = $1 AND id = $2 FOR UPDATE",
        agency_id,
        log_id,
    )
    return KeptRevision(**row) if row is not None else None


async def republish_revision(conn: Connection, agency_id: UUID, log_id: UUID) -> PendingRevision | None:
    """Have a revision handed over again, an unmapped one if its listing is mapped by now; None when it is not."""
    row = await conn.fetchrow(
        f"""UPDATE inbound_revisions AS revision SET
                handed_over_at = suite_now(),
                property_id = coalesce(revision.property_id, listing.property_id),
                state = CASE WHEN revision.state = 'unmapped' THEN 'published' ELSE revision.state END,
                reason = CASE WHEN revision.state = 'unmapped' THEN NULL ELSE revision.reason END
            FROM connections AS connection
            LEFT JOIN listings AS listing ON listing.connection_id = connection.id AND listing.ota_listing_id = (
                SELECT ota_listing_id FROM inbound_revisions WHERE id = $2)
            WHERE revision.agency_id = $1 AND revision.id = $2 AND connection.id = revision.connection_id
              AND coalesce(revision.property_id, listing.property_id) IS NOT NULL
            RETURNING {_PENDING}""",  # noqa: S608
        agency_id,
        log_id,
    )
    return PendingRevision(**row) if row is not None else None


async def retire_revision(conn: Connection, agency_id: UUID, log_id: UUID) -> None:
    """An unreadable revision is about to be read as another row: it gives its name away."""
    await conn.execute(
        """UPDATE inbound_revisions SET revision_id = 'read again/' || id::text
           WHERE agency_id = $1 AND id = $2""",
        agency_id,
        log_id,
    )


async def note_read_again(conn: Connection, agency_id: UUID, log_id: UUID, read_as: UUID) -> None:
    """An unreadable revision was read as another row."""
    await conn.execute(
        """UPDATE inbound_revisions SET state = 'duplicate', reason = 'read again as ' || $3::text,
               settled_at = suite_now()
           WHERE agency_id = $1 AND id = $2""",
        agency_id,
        log_id,
        str(read_as),
    )


async def note_acknowledged(conn: Connection, connection_id: UUID, revision_ids: Sequence[str]) -> None:
    """The channel took note that we have these revisions, with all their stays."""
    await conn.execute(
        """UPDATE inbound_revisions SET acknowledged_at = suite_now()
           WHERE connection_id = $1 AND acknowledged_at IS NULL
             AND (revision_id = ANY ($2) OR split_part(revision_id, '#', 1) = ANY ($2))
             AND source = 'feed'""",
        connection_id,
        revision_ids,
    )


@dataclass(frozen=True, slots=True)
class Troubles:
    """Revisions somebody should look at, by what is wrong."""

    unacknowledged: int
    parked: int
    unmapped: int
    unparseable: int


async def count_troubles(conn: Connection) -> Troubles:
    """Of all agencies: unacknowledged for ten minutes, parked for a day, unmapped for an hour, unreadable this day."""
    row = await conn.fetchrow(
        """SELECT
            (SELECT count(*) FROM inbound_revisions WHERE source = 'feed' AND acknowledged_at IS NULL
             AND received_at < suite_now() - interval '10 minutes') AS unacknowledged,
            (SELECT count(*) FROM inbound_revisions WHERE state = 'parked'
             AND received_at < suite_now() - interval '24 hours') AS parked,
            (SELECT count(*) FROM inbound_revisions WHERE state = 'unmapped'
             AND received_at < suite_now() - interval '1 hour') AS unmapped,
            (SELECT count(*) FROM inbound_revisions WHERE state = 'unparseable'
             AND received_at > suite_now() - interval '24 hours') AS unparseable"""
    )
    return Troubles(**present(row))
