"""Reads of many records: pages of lists with their filters, totals, and a reservation's history."""

from dataclasses import astuple
from uuid import UUID

from booking.domain.model import Block, Conflict, HistoryEntry, Page, Property, Reservation, ReservationFilter
from booking.repository.reads import PROPERTY
from booking.repository.rows import block_from, conflict_from, history_from, property_from, reservation_from
from runtime.postgres import Connection

# $1 agency; each filter is left out when it is null. Free text meets the guest's name and e-mail, the reservation's id
# and the channel's code; guests are matched by a function, because row security keeps text search from its index.
_MATCHING = """
agency_id = $1
AND ($2::uuid IS NULL OR property_id = $2) AND ($3::uuid IS NULL OR guest_id = $3)
AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR source = $5)
AND ($6::date IS NULL OR check_out > $6) AND ($7::date IS NULL OR check_in < $7)
AND ($8::timestamptz IS NULL OR updated_at >= $8)
AND ($9::text IS NULL OR id::text = lower($9) OR upper(ota_reservation_code) = upper($9)
     OR guest_id IN (SELECT guests_matching($1, $9)))"""


async def select_reservations(
    connection: Connection, agency_id: UUID, page: Page, only: ReservationFilter
) -> list[Reservation]:
    """A page of the agency's reservations, newest first: rows made later never move it."""
    rows = await connection.fetch(
        f"""SELECT * FROM reservations
            WHERE {_MATCHING} AND ($10::timestamptz IS NULL OR (created_at, id) < ($10, $11))
            ORDER BY created_at DESC, id DESC LIMIT $12""",  # noqa: S608 - a constant of this module
        agency_id,
        *astuple(only),
        page.created_at,
        page.id,
        page.limit,
    )
    return [reservation_from(row) for row in rows]


async def count_reservations(connection: Connection, agency_id: UUID, only: ReservationFilter) -> int:
    """How many reservations match."""
    total: int = await connection.fetchval(
        f"SELECT count(*) FROM reservations WHERE {_MATCHING}",  # noqa: S608 - a constant of this module
        agency_id,
        *astuple(only),
    )
    return total


async def select_history(connection: Connection, agency_id: UUID, reservation_id: UUID) -> list[HistoryEntry]:
    """The changes of a reservation, oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM reservation_history WHERE agency_id = $1 AND reservation_id = $2 ORDER BY id",
        agency_id,
        reservation_id,
    )
    return [history_from(row) for row in rows]


async def select_properties(connection: Connection, agency_id: UUID, page: Page) -> list[Property]:
    """A page of the agency's properties, newest first; deleted ones are left out."""
    rows = await connection.fetch(
        f"""{PROPERTY}
        WHERE property.agency_id = $4 AND property.deleted_at IS NULL
          AND ($1::timestamptz IS NULL OR (property.created_at, property.id) < ($1, $2))
        ORDER BY property.created_at DESC, property.id DESC LIMIT $3""",
        page.created_at,
        page.id,
        page.limit,
        agency_id,
    )
    return [property_from(row) for row in rows]


async def select_blocks(connection: Connection, agency_id: UUID, page: Page, property_id: UUID | None) -> list[Block]:
    """A page of the agency's active blocks, newest first."""
    rows = await connection.fetch(
        """SELECT * FROM blocks
           WHERE agency_id = $5 AND active AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2))
             AND ($4::uuid IS NULL OR property_id = $4)
           ORDER BY created_at DESC, id DESC LIMIT $3""",
        page.created_at,
        page.id,
        page.limit,
        property_id,
        agency_id,
    )
    return [block_from(row) for row in rows]


async def select_conflicts(connection: Connection, agency_id: UUID, page: Page, state: str | None) -> list[Conflict]:
    """A page of the agency's conflicts, longest waiting first."""
    rows = await connection.fetch(
        """SELECT * FROM conflicts
           WHERE agency_id = $5 AND ($1::timestamptz IS NULL OR (opened_at, id) > ($1, $2))
             AND ($4::text IS NULL OR state = $4)
           ORDER BY opened_at, id LIMIT $3""",
        page.created_at,
        page.id,
        page.limit,
        state,
        agency_id,
    )
    return [conflict_from(row) for row in rows]
