"""Reads of single records: what the writers decide by, and what the API answers; lists are in `lists`."""

from datetime import datetime
from uuid import UUID

from booking.domain.model import (
    Block,
    Conflict,
    Hold,
    LedgerState,
    Property,
    Reservation,
    RevisionDecision,
    WaitingStay,
)
from booking.repository.rows import (
    block_from,
    conflict_from,
    decision_from,
    hold_from,
    property_from,
    range_from,
    reservation_from,
)
from rules.calendar import StoredRange
from runtime.postgres import Connection

PROPERTY = """
SELECT property.*, version.inventory_version, version.rules_version
FROM properties AS property JOIN inventory_versions AS version ON version.property_id = property.id"""


async def select_now(connection: Connection) -> datetime:
    """The instant of this transaction's decisions, by the database's clock."""
    now: datetime = await connection.fetchval("SELECT suite_now()")
    return now


async def select_property(connection: Connection, property_id: UUID) -> Property | None:
    """One property with its versions, deleted ones too."""
    row = await connection.fetchrow(f"{PROPERTY} WHERE property.id = $1", property_id)
    return property_from(row) if row else None


async def select_ledger_state(connection: Connection, property_id: UUID) -> LedgerState | None:
    """The inventory of a property whose lock is held, deleted ones too; None when it does not exist."""
    owner = await select_property(connection, property_id)
    if owner is None:
        return None
    now = await select_now(connection)
    ranges = await select_active_ranges(connection, property_id)
    waiting = await _select_waiting(connection, property_id)
    if not any(stored.is_overdue(now) for stored in ranges):
        return LedgerState(owner, now, tuple(ranges), tuple(waiting), ())
    overdue = await _select_overdue(connection, property_id, now)
    holds = await _select_overdue_holds(connection, property_id, now)
    return LedgerState(owner, now, tuple(ranges), tuple(waiting), tuple(overdue), tuple(holds))


async def select_active_ranges(connection: Connection, property_id: UUID) -> list[StoredRange]:
    """The active ranges of a property, earliest first."""
    rows = await connection.fetch(
        """SELECT id, kind, source_id, stay, occupied, expires_at FROM inventory_ranges
           WHERE property_id = $1 AND state = 'active' ORDER BY occupied""",
        property_id,
    )
    return [range_from(row) for row in rows]


async def _select_waiting(connection: Connection, property_id: UUID) -> list[WaitingStay]:
    rows = await connection.fetch(
        "SELECT * FROM conflicts WHERE property_id = $1 AND state = 'open' ORDER BY opened_at, id", property_id
    )
    conflicts = [conflict_from(row) for row in rows]
    if not conflicts:
        return []
    stays = [conflict.source_id for conflict in conflicts if not conflict.is_of_block]
    found = await connection.fetch("SELECT * FROM reservations WHERE id = ANY ($1::uuid[])", stays)
    wanted: dict[UUID, Reservation | Block] = {row["id"]: reservation_from(row) for row in found}
    if len(wanted) < len(conflicts):
        blocks = [conflict.source_id for conflict in conflicts if conflict.is_of_block]
        rows = await connection.fetch("SELECT * FROM blocks WHERE id = ANY ($1::uuid[])", blocks)
        wanted |= {row["id"]: block_from(row) for row in rows}
    return [WaitingStay(conflict, wanted[conflict.source_id]) for conflict in conflicts]


async def _select_overdue(connection: Connection, property_id: UUID, now: datetime) -> list[Reservation]:
    rows = await connection.fetch(
        """SELECT * FROM reservations
           WHERE property_id = $1 AND status = 'pending' AND hold_expires_at <= $2 ORDER BY hold_expires_at, id""",
        property_id,
        now,
    )
    return [reservation_from(row) for row in rows]


async def _select_overdue_holds(connection: Connection, property_id: UUID, now: datetime) -> list[Hold]:
    rows = await connection.fetch(
        """SELECT * FROM holds
           WHERE property_id = $1 AND state = 'active' AND hold_expires_at <= $2 ORDER BY hold_expires_at, id""",
        property_id,
        now,
    )
    return [hold_from(row) for row in rows]


async def select_overdue_properties(connection: Connection, limit: int) -> list[tuple[UUID, UUID]]:
    """Properties with overdue ranges, as (agency, property); for the expiry worker's system role."""
    rows = await connection.fetch(
        """SELECT DISTINCT agency_id, property_id FROM inventory_ranges
           WHERE state = 'active' AND expires_at <= suite_now() LIMIT $1""",
        limit,
    )
    return [(row["agency_id"], row["property_id"]) for row in rows]


async def select_reservation(connection: Connection, agency_id: UUID, reservation_id: UUID) -> Reservation | None:
    """One reservation."""
    row = await connection.fetchrow(
        "SELECT * FROM reservations WHERE agency_id = $1 AND id = $2", agency_id, reservation_id
    )
    return reservation_from(row) if row else None


async def select_inquiries(connection: Connection, property_id: UUID) -> list[Reservation]:
    """The open inquiries of a property, past ones too."""
    rows = await connection.fetch(
        "SELECT * FROM reservations WHERE property_id = $1 AND status = 'inquiry' ORDER BY check_in, id", property_id
    )
    return [reservation_from(row) for row in rows]


async def select_guest_exists(connection: Connection, agency_id: UUID, guest_id: UUID) -> bool:
    """Whether the agency has this guest, not deleted."""
    found = await connection.fetchval(
        "SELECT true FROM guests WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL", agency_id, guest_id
    )
    return found is True


async def select_hold(connection: Connection, agency_id: UUID, hold_id: UUID) -> Hold | None:
    """One hold, those that are over too."""
    row = await connection.fetchrow("SELECT * FROM holds WHERE agency_id = $1 AND id = $2", agency_id, hold_id)
    return hold_from(row) if row else None


async def select_guest_id(connection: Connection, agency_id: UUID, email_normalised: str | None) -> UUID | None:
    """The guest with this e-mail."""
    if email_normalised is None:
        return None
    guest_id: UUID | None = await connection.fetchval(
        "SELECT id FROM guests WHERE agency_id = $1 AND email_normalised = $2 AND deleted_at IS NULL",
        agency_id,
        email_normalised,
    )
    return guest_id


async def select_block(connection: Connection, agency_id: UUID, block_id: UUID) -> Block | None:
    """One block, deleted ones too."""
    row = await connection.fetchrow("SELECT * FROM blocks WHERE agency_id = $1 AND id = $2", agency_id, block_id)
    return block_from(row) if row else None


async def select_conflict(connection: Connection, agency_id: UUID, conflict_id: UUID) -> Conflict | None:
    """One conflict, closed ones too."""
    row = await connection.fetchrow("SELECT * FROM conflicts WHERE agency_id = $1 AND id = $2", agency_id, conflict_id)
    return conflict_from(row) if row else None


async def select_latest_decision(
    connection: Connection, connection_id: UUID, code: str, property_id: UUID
) -> RevisionDecision | None:
    """The decision with the highest revision number of an OTA code in a property."""
    row = await connection.fetchrow(
        """SELECT * FROM channel_revisions
           WHERE connection_id = $1 AND ota_reservation_code = $2 AND property_id = $3
           ORDER BY revision_no DESC LIMIT 1""",
        connection_id,
        code,
        property_id,
    )
    return decision_from(row) if row else None


async def select_decision(
    connection: Connection, connection_id: UUID, code: str, property_id: UUID, revision_no: int
) -> RevisionDecision | None:
    """What was decided about exactly this revision."""
    row = await connection.fetchrow(
        """SELECT * FROM channel_revisions
           WHERE connection_id = $1 AND ota_reservation_code = $2 AND property_id = $3 AND revision_no = $4""",
        connection_id,
        code,
        property_id,
        revision_no,
    )
    return decision_from(row) if row else None
