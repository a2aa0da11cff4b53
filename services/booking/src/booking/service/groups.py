"""Use cases of stays decided under the locks: several at once, all or nothing; one that names a hold or a quote."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from booking.domain import reservations
from booking.domain.drafts import BookingDraft, GuestDraft, new_reservation
from booking.domain.errors import DatesUnavailable, GuestAppeared, HoldNotActive, NotFound
from booking.domain.inventory import after, refuse_deleted
from booking.domain.model import Change, Guest, LedgerState, Reservation
from booking.events import bodies
from booking.repository import reads
from booking.repository.writes import AnswerDraft
from booking.service.holds import active_hold
from booking.service.quotes import price
from booking.service.refusals import log_refusal
from booking.service.writing import DecideOverSeveral, Decision, Deps, new_id, only_answer, replaying, under_locks
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection

GUEST_ATTEMPTS = 3


async def book_group(
    deps: Deps, agency_id: UUID, drafts: Sequence[BookingDraft], key: IdempotencyKey | None
) -> StoredAnswer:
    """Book several stays of one guest, all or nothing: 201 body with a `group_id`, or what `book` raises."""
    group_id = new_id()

    async def decide(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        changes, made = await _decide(deps, connection, states, drafts, group_id)
        items = tuple((record.property_id, bodies.reservation_body(record)) for record in made)
        return Decision(changes, AnswerDraft(drafts[0].property_id, 201, {"group_id": str(group_id)}, items))

    return await _book(deps, agency_id, drafts, decide, key)


async def book_hold(deps: Deps, agency_id: UUID, draft: BookingDraft, key: IdempotencyKey | None) -> StoredAnswer:
    """Book a stay that names a hold, which is consumed, or a quote: 201 body, or what `book` raises.

    Raises `HoldNotActive` too, and `QuoteExpired`, `QuoteMismatch`, `PriceChanged`. A plain booking does not come here:
    it pays for no look at either.
    """

    async def decide(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        changes, made = await _decide(deps, connection, states, [draft], None)
        return Decision(changes, AnswerDraft(draft.property_id, 201, bodies.reservation_body(made[0])))

    return await _book(deps, agency_id, [draft], decide, key)


async def _book(
    deps: Deps,
    agency_id: UUID,
    drafts: Sequence[BookingDraft],
    decide: DecideOverSeveral,
    key: IdempotencyKey | None,
) -> StoredAnswer:
    property_ids = sorted({draft.property_id for draft in drafts})
    for _ in range(GUEST_ATTEMPTS):
        try:
            return await replaying(
                deps, key, lambda: under_locks(deps, agency_id, property_ids, decide, only_answer, key)
            )
        except GuestAppeared:
            continue
    raise GuestAppeared(GuestAppeared.__doc__)


async def _decide(
    deps: Deps,
    connection: Connection,
    states: Mapping[UUID, LedgerState],
    drafts: Sequence[BookingDraft],
    group_id: UUID | None,
) -> tuple[list[Change], list[Reservation]]:
    """Each draft against the state the ones before it left."""
    agency_id = next(iter(states.values())).property.agency_id
    known_id, guest = await _guest(connection, agency_id, drafts[0].guest)
    left = dict(states)
    changes: list[Change] = []
    made: list[Reservation] = []
    consumed: set[UUID] = set()
    for draft in drafts:
        state = left[draft.property_id]
        refuse_deleted(state.property)
        hold = None
        if draft.hold_id is not None:
            hold = await active_hold(connection, agency_id, draft.property_id, draft.hold_id, state.now)
            if hold.id in consumed:  # by a stay before it in the group
                raise HoldNotActive("consumed")
            consumed.add(hold.id)
        total, currency = await price(deps, connection, state, draft)
        until = state.now + deps.pending_ttl
        record = new_reservation(draft, state.property, known_id, until, total, new_id, group_id)
        record = replace(record, currency=currency)
        try:
            own = reservations.create(state, record, new_id, hold)
        except DatesUnavailable as refusal:
            log_refusal(draft.property_id, draft.check_in, draft.check_out, draft.status, refusal.competitor)
            raise
        left[draft.property_id] = after(state, own)
        changes += own
        made.append(record)
    if guest is not None:
        changes[0] = replace(changes[0], guest=guest)
    return changes, made


async def _guest(connection: Connection, agency_id: UUID, draft: GuestDraft) -> tuple[UUID, Guest | None]:
    """The guest's id, and the record when it is new. Raises `NotFound` for an unknown id."""
    if draft.id is not None:
        if not await reads.select_guest_exists(connection, agency_id, draft.id):
            raise NotFound("guest")
        return draft.id, None
    known_id = await reads.select_guest_id(connection, agency_id, draft.email_normalised)
    if known_id is not None:
        return known_id, None
    guest = draft.new_guest(agency_id, new_id)
    return guest.id, guest
