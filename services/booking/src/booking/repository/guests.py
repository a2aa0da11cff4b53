"""Guests: their rows, their timeline, and what erasure leaves of them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from booking.domain.errors import GuestExists
from booking.domain.model import Guest, GuestRecord, HistoryEntry, Page, Reservation, normalise_email
from booking.repository.rows import history_from, reservation_from
from runtime.postgres import Connection, Row

_ROW = """id, agency_id, name, email, phone, total_bookings, total_spent, first_booking_at, last_booking_at,
          average_rating::float8 AS average_rating, created_at, updated_at, deleted_at, erased_at"""


@dataclass(frozen=True, slots=True)
class Miscount:
    """A guest whose figures differ from their reservations."""

    guest_id: UUID
    agency_id: UUID
    stored: dict[str, Any]
    counted: dict[str, Any]


async def insert_guest(connection: Connection, guest: Guest) -> GuestRecord:
    """Store a new guest; raises `GuestExists`."""
    try:
        row = await connection.fetchrow(
            f"""INSERT INTO guests (id, agency_id, name, email, email_normalised, phone, created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, suite_now(), suite_now()) RETURNING {_ROW}""",  # noqa: S608
            guest.id,
            guest.agency_id,
            guest.name,
            guest.email,
            guest.email_normalised,
            guest.phone,
        )
    except asyncpg.PostgresError as error:
        raise _refusal(error) from error
    return _record(row)


async def select_guest(connection: Connection, agency_id: UUID, guest_id: UUID) -> GuestRecord | None:
    """One guest, deleted ones too."""
    row = await connection.fetchrow(
        f"SELECT {_ROW} FROM guests WHERE agency_id = $1 AND id = $2",  # noqa: S608
        agency_id,
        guest_id,
    )
    return _record(row) if row else None


async def select_guests(
    connection: Connection, agency_id: UUID, page: Page, email: str | None, text: str | None
) -> list[GuestRecord]:
    """A page of the agency's guests that are not deleted, newest first; by e-mail, or by a part of name or e-mail."""
    rows = await connection.fetch(
        f"""SELECT {_ROW} FROM guests
            WHERE agency_id = $1 AND deleted_at IS NULL
              AND ($2::text IS NULL OR email_normalised = $2)
              AND ($3::text IS NULL OR id IN (SELECT guests_matching($1, $3)))
              AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5))
            ORDER BY created_at DESC, id DESC LIMIT $6""",  # noqa: S608
        agency_id,
        normalise_email(email),
        text,
        page.created_at,
        page.id,
        page.limit,
    )
    return [_record(row) for row in rows]


async def update_guest(connection: Connection, guest: Guest) -> GuestRecord:
    """Store what was changed of a guest; raises `GuestExists`."""
    try:
        row = await connection.fetchrow(
            f"""UPDATE guests SET name = $3, email = $4, email_normalised = $5, phone = $6, updated_at = suite_now()
                WHERE agency_id = $1 AND id = $2 RETURNING {_ROW}""",  # noqa: S608
            guest.agency_id,
            guest.id,
            guest.name,
            guest.email,
            guest.email_normalised,
            guest.phone,
        )
    except asyncpg.PostgresError as error:
        raise _refusal(error) from error
    return _record(row)


async def update_guest_deleted(connection: Connection, agency_id: UUID, guest_id: UUID) -> None:
    """Hide a guest from lists and look-ups; their reservations stay. Once is enough."""
    await connection.execute(
        """UPDATE guests SET deleted_at = suite_now(), updated_at = suite_now()
           WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL""",
        agency_id,
        guest_id,
    )


async def select_reservations_of_guest(connection: Connection, agency_id: UUID, guest_id: UUID) -> list[Reservation]:
    """All reservations of a guest, oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM reservations WHERE agency_id = $1 AND guest_id = $2 ORDER BY created_at, id",
        agency_id,
        guest_id,
    )
    return [reservation_from(row) for row in rows]


async def erase_guest(connection: Connection, agency_id: UUID, guest_id: UUID) -> None:
    """Blank a guest in records, history and stored answers; the caller holds the locks of their properties."""
    await connection.execute("SELECT erase_guest($1, $2)", agency_id, guest_id)


async def select_timeline(
    connection: Connection, agency_id: UUID, guest_id: UUID, before: int | None, limit: int
) -> list[tuple[int, HistoryEntry]]:
    """Changes of the guest's reservations with their numbers, newest first, those below a number."""
    rows = await connection.fetch(
        """SELECT * FROM reservation_history
           WHERE agency_id = $1 AND ($3::bigint IS NULL OR id < $3)
             AND reservation_id IN (SELECT id FROM reservations WHERE agency_id = $1 AND guest_id = $2)
           ORDER BY id DESC LIMIT $4""",
        agency_id,
        guest_id,
        before,
        limit,
    )
    return [(row["id"], history_from(row)) for row in rows]


async def select_miscounts(connection: Connection) -> list[Miscount]:
    """Guests whose figures differ from their reservations; for the system role."""
    rows = await connection.fetch("SELECT * FROM miscounted_guests()")
    return [Miscount(row["guest_id"], row["agency_id"], row["stored"], row["counted"]) for row in rows]


def _refusal(error: asyncpg.PostgresError) -> Exception:
    is_taken = error.sqlstate == "23505" and getattr(error, "constraint_name", None) == "guests_email"
    return GuestExists(GuestExists.__doc__) if is_taken else error


def _record(row: Row | None) -> GuestRecord:
    if row is None:
        raise RuntimeError("the statement returned no row")
    return GuestRecord(
        Guest(row["id"], row["agency_id"], row["name"], row["email"], row["phone"]),
        row["total_bookings"],
        row["total_spent"],
        row["first_booking_at"],
        row["last_booking_at"],
        row["average_rating"],
        row["created_at"],
        row["updated_at"],
        row["deleted_at"],
        row["erased_at"],
    )
