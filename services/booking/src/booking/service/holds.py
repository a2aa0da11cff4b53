"""Use cases of holds: keep nights for somebody for a while, longer, no longer; read."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from booking.domain import holds
from booking.domain.errors import DatesUnavailable, NotFound
from booking.domain.model import Hold, LedgerState
from booking.events import bodies
from booking.repository import reads
from booking.repository.writes import AnswerDraft, Written
from booking.service.refusals import log_refusal
from booking.service.writing import Decision, Deps, new_id, only_answer, replaying, under_lock
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection, transaction


async def place(deps: Deps, wanted: Hold, lasts: timedelta, key: IdempotencyKey | None) -> StoredAnswer:
    """Hold nights for a while from now on: 201 body, `DatesUnavailable` or `NotFound`."""

    async def decide(_: Connection, state: LedgerState) -> Decision:
        hold = replace(wanted, hold_expires_at=state.now + lasts)
        try:
            change = holds.place(state, hold, new_id)
        except DatesUnavailable as refusal:
            log_refusal(hold.property_id, hold.check_in, hold.check_out, "hold", refusal.competitor)
            raise
        return Decision([change], AnswerDraft(hold.property_id, 201, bodies.hold_body(hold)))

    return await replaying(
        deps, key, lambda: under_lock(deps, wanted.agency_id, wanted.property_id, decide, only_answer, key)
    )


async def extend(deps: Deps, agency_id: UUID, hold_id: UUID, lasts: timedelta) -> Hold:
    """The hold lasts so long from now on: `HoldNotActive` once it is over."""

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        hold = holds.current(await _existing(connection, agency_id, hold_id), state.now)
        return Decision(holds.extend(state, hold, state.now + lasts, new_id))

    return await _changed(deps, agency_id, hold_id, decide)


async def release(deps: Deps, agency_id: UUID, hold_id: UUID) -> Hold:
    """Give the nights of a hold back; releasing twice answers the same."""

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        hold = holds.current(await _existing(connection, agency_id, hold_id), state.now)
        return Decision(holds.release(state, hold, new_id))

    return await _changed(deps, agency_id, hold_id, decide)


async def get(deps: Deps, agency_id: UUID, hold_id: UUID) -> Hold:
    """One hold of the agency, those that are over too, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await _existing(connection, agency_id, hold_id)


async def active_hold(connection: Connection, agency_id: UUID, property_id: UUID, hold_id: UUID, now: datetime) -> Hold:
    """The hold a request names, inside its transaction: `NotFound` for another property's, or `HoldNotActive`."""
    hold = holds.current(await _existing(connection, agency_id, hold_id), now)
    if hold.property_id != property_id:
        raise NotFound("hold")
    holds.require_active(hold)
    return hold


async def _changed(
    deps: Deps, agency_id: UUID, hold_id: UUID, decide: Callable[[Connection, LedgerState], Awaitable[Decision]]
) -> Hold:
    property_id = (await get(deps, agency_id, hold_id)).property_id

    async def finish(connection: Connection, _: Written) -> Hold:
        return await _existing(connection, agency_id, hold_id)

    return await under_lock(deps, agency_id, property_id, decide, finish)


async def _existing(connection: Connection, agency_id: UUID, hold_id: UUID) -> Hold:
    hold = await reads.select_hold(connection, agency_id, hold_id)
    if hold is None:
        raise NotFound("hold")
    return hold
