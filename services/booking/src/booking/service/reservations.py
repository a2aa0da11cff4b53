"""Use cases of reservations: book a stay, read, list, history."""

from dataclasses import replace
from uuid import UUID

from booking.domain import reservations
from booking.domain.drafts import BookingDraft, new_reservation
from booking.domain.errors import DatesUnavailable, GuestAppeared, HoldsOverdue, NotFound, RulesMoved
from booking.domain.model import HistoryEntry, LedgerState, Page, Reservation, ReservationFilter
from booking.events import bodies
from booking.repository import contexts, lists, reads
from booking.repository.contexts import BookingContext
from booking.repository.writes import AnswerDraft
from booking.service.expiry import expire
from booking.service.judging import price_of
from booking.service.refusals import log_refusal
from booking.service.writing import Deps, new_id, replaying, write_request
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection, retrying_deadlocks, transaction

REJUDGEMENTS = 5
"""How often a booking is judged again because rules, prices or its guest moved meanwhile."""


async def book(deps: Deps, agency_id: UUID, draft: BookingDraft, key: IdempotencyKey | None) -> StoredAnswer:
    """Book a stay: 201 body, or `StayRulesViolated`, `DatesUnavailable`, `NotFound`.

    Judged without a lock on one snapshot, then written by one server-side call that refuses when what it was judged
    by moved; it is judged again then.
    """

    async def attempt() -> StoredAnswer:
        for _ in range(REJUDGEMENTS):
            known = deps.terms.kept(draft.property_id)
            question = contexts.question_of(agency_id, draft, key, known)
            context = contexts.context_of(await deps.calls.context(deps.pool, question), key, known)
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
    if draft.guest.id is not None and context.guest_id is None:
        raise NotFound("guest")
    deps.terms.keep(owner.id, (owner.rules_version, context.terms))
    total = price_of(owner, context.terms, draft.requested, context.now, expected_minor=draft.expected_total_minor)
    if context.overlap is not None and draft.status != "inquiry":
        raise DatesUnavailable(context.overlap)
    guest = draft.guest.new_guest(agency_id, new_id) if context.guest_id is None else None
    guest_id = guest.id if guest is not None else context.guest_id
    reservation = new_reservation(draft, owner, guest_id, context.now + deps.pending_ttl, total, new_id)
    changes = reservations.create(LedgerState(owner, context.now, (), (), ()), reservation, new_id)
    if guest is not None:
        changes[0] = replace(changes[0], guest=guest)
    request = write_request(
        deps,
        agency_id,
        changes,
        key=key,
        answer=AnswerDraft(owner.id, 201, bodies.reservation_body(reservation)),
        rules_versions={owner.id: owner.rules_version},
    )
    return (await deps.calls.write(deps.pool, request)).created


async def get(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """One reservation of the agency, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await existing(connection, agency_id, reservation_id)


async def existing(connection: Connection, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """`get` inside a transaction."""
    reservation = await reads.select_reservation(connection, agency_id, reservation_id)
    if reservation is None:
        raise NotFound("booking")
    return reservation


async def list_page(
    deps: Deps, agency_id: UUID, page: Page, only: ReservationFilter, *, with_total: bool
) -> tuple[list[Reservation], int | None]:
    """A page of the agency's reservations, newest first; with the number of all that match when it is asked for."""
    async with transaction(deps.pool, agency_id) as connection:
        found = await lists.select_reservations(connection, agency_id, page, only)
        total = await lists.count_reservations(connection, agency_id, only) if with_total else None
    return found, total


async def history(deps: Deps, agency_id: UUID, reservation_id: UUID) -> list[HistoryEntry]:
    """Who changed what of a reservation, oldest first, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        await existing(connection, agency_id, reservation_id)
        return await lists.select_history(connection, agency_id, reservation_id)
