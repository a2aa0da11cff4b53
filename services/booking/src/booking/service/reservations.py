"""Use cases of direct reservations: book, confirm, cancel, read, list."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from booking import events
from booking.domain import reservations
from booking.domain.errors import (
    Competitor,
    DatesUnavailable,
    GuestAppeared,
    HoldsOverdue,
    NotFound,
    RulesMoved,
    StayRulesViolated,
)
from booking.domain.model import Change, Guest, LedgerState, Page, Property, Reservation, normalise_email
from booking.repository import reads, writes
from booking.repository.reads import BookingContext
from booking.repository.writes import INVENTORY_RANGES_NO_OVERLAP, AnswerDraft, Written
from booking.service.writing import Decision, Deps, new_id, replaying, under_lock, write_request
from rules.stay_rules import RequestedStay, violations
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.logs import get_logger
from runtime.postgres import Connection, retrying_deadlocks, transaction

log = get_logger(__name__)

REJUDGEMENTS = 5
"""How often a booking is judged again because rules, prices or its guest moved meanwhile."""

Transition = Callable[[LedgerState, Reservation], list[Change]]


@dataclass(frozen=True, slots=True)
class BookingDraft:
    """What a client asks for; `guest_id` or the other guest fields, not both."""

    property_id: UUID
    check_in: date
    check_out: date
    adults: int
    children: int
    infants: int
    status: str
    notes: str | None
    guest_id: UUID | None = None
    guest_name: str | None = None
    guest_email: str | None = None
    guest_phone: str | None = None


async def book(deps: Deps, agency_id: UUID, draft: BookingDraft, key: IdempotencyKey | None) -> StoredAnswer:
    """Book a stay: 201 body, or `StayRulesViolated`, `DatesUnavailable`, `NotFound`.

    Judged without a lock on one snapshot, then written by one server-side call that refuses when what it was judged
    by moved; it is judged again then.
    """

    async def attempt() -> StoredAnswer:
        for _ in range(REJUDGEMENTS):
            wanted = (draft.guest_id, normalise_email(draft.guest_email))
            stay = (draft.check_in, draft.check_out)
            context = await reads.select_booking_context(deps.pool, agency_id, draft.property_id, stay, wanted, key)
            if context.answer is not None:
                return context.answer
            try:
                return await _write_booking(deps, agency_id, draft, context, key)
            except HoldsOverdue:
                await expire(deps, agency_id, draft.property_id)
            except (RulesMoved, GuestAppeared):
                continue
        raise RulesMoved(RulesMoved.__doc__)

    try:
        answer = await replaying(deps, key, lambda: retrying_deadlocks(attempt))
    except DatesUnavailable as refusal:
        log_refusal(draft.property_id, draft.check_in, draft.check_out, draft.status, refusal.competitor)
        raise
    deps.wake()
    return answer


async def _write_booking(
    deps: Deps, agency_id: UUID, draft: BookingDraft, context: BookingContext, key: IdempotencyKey | None
) -> StoredAnswer:
    owner = context.owner
    if owner is None:
        raise NotFound("property")
    if draft.guest_id is not None and context.guest_id is None:
        raise NotFound("guest")
    stay = RequestedStay(draft.check_in, draft.check_out, draft.adults + draft.children)
    broken = violations(owner.conditions, stay, context.now)
    if broken:
        raise StayRulesViolated(broken)
    if context.overlap is not None and draft.status != "inquiry":
        raise DatesUnavailable(context.overlap)
    guest = _new_guest(agency_id, draft) if context.guest_id is None else None
    reservation = _reservation(deps, agency_id, draft, owner, context, guest)
    changes = reservations.create(LedgerState(owner, context.now, (), (), ()), reservation, new_id)
    if guest is not None:
        changes[0] = replace(changes[0], guest=guest)
    request = write_request(
        agency_id,
        changes,
        key=key,
        answer=AnswerDraft(owner.id, 201, events.reservation_body(reservation)),
        rules_versions={owner.id: owner.rules_version},
    )
    return (await writes.write_changes(deps.pool, request)).created


def _reservation(
    deps: Deps, agency_id: UUID, draft: BookingDraft, owner: Property, context: BookingContext, guest: Guest | None
) -> Reservation:
    return Reservation(
        id=new_id(),
        agency_id=agency_id,
        property_id=owner.id,
        guest_id=guest.id if guest is not None else context.guest_id,
        check_in=draft.check_in,
        check_out=draft.check_out,
        status=draft.status,
        source="direct",
        adults=draft.adults,
        children=draft.children,
        infants=draft.infants,
        currency=owner.currency,
        notes=draft.notes,
        hold_expires_at=context.now + deps.pending_ttl if draft.status == "pending" else None,
    )


def _new_guest(agency_id: UUID, draft: BookingDraft) -> Guest:
    return Guest(new_id(), agency_id, draft.guest_name or "", draft.guest_email, draft.guest_phone)


async def expire(deps: Deps, agency_id: UUID, property_id: UUID) -> None:
    """Expire what is overdue in one property, by database time."""

    async def nothing_more(_: Connection, __: LedgerState) -> Decision:
        return Decision([])

    async def done(_: Connection, __: Written) -> None:
        return None

    await under_lock(deps, agency_id, property_id, nothing_more, done)


async def expire_overdue(deps: Deps, limit: int = 100) -> int:
    """Expire overdue pendings of every agency; how many properties were visited. For the worker's system role."""
    async with transaction(deps.pool, None) as connection:
        overdue = await reads.select_overdue_properties(connection, limit)
    for agency_id, property_id in overdue:
        await expire(deps, agency_id, property_id)
    return len(overdue)


async def confirm(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """An inquiry or pending reservation takes its nights for good: `DatesUnavailable`, `IllegalTransition`."""
    return await _transition(deps, agency_id, reservation_id, lambda state, it: reservations.confirm(state, it, new_id))


async def cancel(deps: Deps, agency_id: UUID, reservation_id: UUID, reason: str | None) -> Reservation:
    """Cancel a reservation; its nights are free at once. Cancelling twice answers the same."""
    return await _transition(
        deps, agency_id, reservation_id, lambda state, it: reservations.cancel(state, it, reason, new_id)
    )


async def _transition(deps: Deps, agency_id: UUID, reservation_id: UUID, change: Transition) -> Reservation:
    # A reservation that moved to another property between this look and the lock is refused like a missing one.
    property_id = (await get(deps, agency_id, reservation_id)).property_id

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        reservation = await reads.select_reservation(connection, agency_id, reservation_id)
        if reservation is None or reservation.property_id != property_id:
            raise NotFound("booking")
        try:
            return Decision(change(state, reservation))
        except DatesUnavailable as refusal:
            log_refusal(
                property_id, reservation.check_in, reservation.check_out, reservation.status, refusal.competitor
            )
            raise

    async def finish(connection: Connection, _: Written) -> Reservation:
        reservation = await reads.select_reservation(connection, agency_id, reservation_id)
        if reservation is None:
            raise NotFound("booking")
        return reservation

    return await under_lock(deps, agency_id, property_id, decide, finish)


async def get(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """One reservation of the agency, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        reservation = await reads.select_reservation(connection, agency_id, reservation_id)
    if reservation is None:
        raise NotFound("booking")
    return reservation


async def list_page(
    deps: Deps, agency_id: UUID, page: Page, property_id: UUID | None, status: str | None
) -> list[Reservation]:
    """A page of the agency's reservations, newest first."""
    async with transaction(deps.pool, agency_id) as connection:
        return await reads.select_reservations(connection, agency_id, page, property_id, status)


def log_refusal(property_id: UUID, start: date, end: date, status: str, competitor: Competitor) -> None:
    """One line behind each 409: constraint, property, dates, status and what holds the nights."""
    log.info(
        "nights refused",
        constraint=INVENTORY_RANGES_NO_OVERLAP,
        property_id=str(property_id),
        check_in=start.isoformat(),
        check_out=end.isoformat(),
        status=status,
        competing_kind=competitor.kind,
        competing_start=competitor.start_date.isoformat(),
        competing_end=competitor.end_date.isoformat(),
    )
