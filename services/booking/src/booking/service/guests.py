"""Use cases of guests: create, find, change, delete, erase, timeline, and whether their figures are right."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from booking.domain.errors import GuestExists, NotFound, RangeMoved
from booking.domain.model import Change, Guest, GuestRecord, HistoryEntry, LedgerState, Page
from booking.events import bodies
from booking.repository import guests
from booking.repository.guests import Miscount
from booking.repository.writes import Written
from booking.service.writing import Decision, Deps, keep_answer, replaying, under_locks
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import Connection, transaction

ATTEMPTS = 3
"""How often a guest's erasure begins anew because they booked in another property meanwhile."""


async def create(deps: Deps, guest: Guest, key: IdempotencyKey | None) -> StoredAnswer:
    """A new guest: 201 body, or `GuestExists`."""

    async def attempt() -> StoredAnswer:
        async with transaction(deps.pool, guest.agency_id) as connection:
            stored = await select_idempotent_answer(connection, key) if key else None
            if stored is not None:
                return stored
            made = await guests.insert_guest(connection, guest)
            answer = StoredAnswer(201, orjson.dumps(bodies.guest_body(made)).decode())
            await keep_answer(connection, key, answer)
            return answer

    try:
        return await replaying(deps, key, attempt)
    except GuestExists:  # perhaps a concurrent request with the same key made this guest
        if key is None:
            raise
        async with transaction(deps.pool, guest.agency_id) as connection:
            stored = await select_idempotent_answer(connection, key)
        if stored is None:
            raise
        return stored


async def get(deps: Deps, agency_id: UUID, guest_id: UUID) -> GuestRecord:
    """One guest of the agency, deleted ones too, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await _existing(connection, agency_id, guest_id)


async def list_page(deps: Deps, agency_id: UUID, page: Page, email: str | None, text: str | None) -> list[GuestRecord]:
    """A page of the agency's guests, newest first; by e-mail, or by a part of name or e-mail."""
    async with transaction(deps.pool, agency_id) as connection:
        return await guests.select_guests(connection, agency_id, page, email, text)


async def modify(deps: Deps, agency_id: UUID, guest_id: UUID, fields: Mapping[str, Any]) -> GuestRecord:
    """Change fields of a guest who is not deleted; the others stay. Raises `GuestExists`, `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        found = await _existing(connection, agency_id, guest_id)
        if found.deleted_at is not None:
            raise NotFound("guest")
        changed = replace(found.guest, **fields)
        return found if changed == found.guest else await guests.update_guest(connection, changed)


async def delete(deps: Deps, agency_id: UUID, guest_id: UUID) -> GuestRecord:
    """Hide a guest from lists and look-ups; their reservations stay. Deleting twice answers the same."""
    async with transaction(deps.pool, agency_id) as connection:
        await _existing(connection, agency_id, guest_id)
        await guests.update_guest_deleted(connection, agency_id, guest_id)
        return await _existing(connection, agency_id, guest_id)


async def erase(deps: Deps, agency_id: UUID, guest_id: UUID) -> GuestRecord:
    """Remove a guest's personal data everywhere booking has it, and tell every service, reservation by reservation.

    Erasing twice answers the same and tells nothing more.
    """
    for _ in range(ATTEMPTS):
        async with transaction(deps.pool, agency_id) as connection:
            found = await _existing(connection, agency_id, guest_id)
            stays = await guests.select_reservations_of_guest(connection, agency_id, guest_id)
        if found.erased_at is not None:
            return found
        try:
            return await _erase(deps, agency_id, guest_id, sorted({stay.property_id for stay in stays}))
        except RangeMoved:
            continue
    raise RangeMoved(RangeMoved.__doc__)


async def _erase(deps: Deps, agency_id: UUID, guest_id: UUID, property_ids: Sequence[UUID]) -> GuestRecord:
    """Raises `RangeMoved` when the guest has a stay in another property by now: its lock is missing."""

    async def decide(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        stays = await guests.select_reservations_of_guest(connection, agency_id, guest_id)
        if any(stay.property_id not in states for stay in stays):
            raise RangeMoved(RangeMoved.__doc__)
        return Decision(
            [
                Change(stay.property_id, "GuestErased", reservation=replace(stay, notes=None, cancel_reason=None))
                for stay in stays
            ]
        )

    async def finish(connection: Connection, _: Written) -> GuestRecord:
        await guests.erase_guest(connection, agency_id, guest_id)
        return await _existing(connection, agency_id, guest_id)

    return await under_locks(deps, agency_id, property_ids, decide, finish)


async def timeline(
    deps: Deps, agency_id: UUID, guest_id: UUID, before: int | None, limit: int
) -> list[tuple[int, HistoryEntry]]:
    """Every change of the guest's reservations with its number, newest first, those below a number."""
    async with transaction(deps.pool, agency_id) as connection:
        await _existing(connection, agency_id, guest_id)
        return await guests.select_timeline(connection, agency_id, guest_id, before, limit)


async def reconcile(deps: Deps) -> list[Miscount]:
    """Guests whose figures differ from their reservations, in every agency; for the system role."""
    async with transaction(deps.pool, None) as connection:
        return await guests.select_miscounts(connection)


async def _existing(connection: Connection, agency_id: UUID, guest_id: UUID) -> GuestRecord:
    found = await guests.select_guest(connection, agency_id, guest_id)
    if found is None:
        raise NotFound("guest")
    return found
