"""Decides what an OTA revision does to the ledger; called by service for every record of channel-sync's topic.

An OTA reservation, or a block of a channel's calendar, is a fact: it is never refused. Revisions of one (connection,
code, property) are ordered by `revision_no` alone: a lower one is superseded, the same one is a duplicate, and a
cancellation or modification that arrives before its creation wins.
"""

from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from booking.domain.inventory import (
    NewId,
    after,
    block_event,
    block_range,
    close_conflict,
    nights_wanted,
    open_nights,
    opened_conflict,
    overlapping,
    reservation_range,
    settle,
    status_won,
)
from booking.domain.model import (
    Block,
    Change,
    ChannelReference,
    Guest,
    LedgerState,
    Reservation,
    RevisionDecision,
    WaitingStay,
)
from booking.domain.reservations import TRANSITIONS, cancel

OVER = frozenset({"checked_out", "no_show"})
"""Statuses a modification does not bring back to life."""
CANCELLED_FIRST = "cancelled before it was created"
PROPERTY_DELETED = "the property is deleted: the stay waits to be moved or cancelled"


@dataclass(frozen=True, slots=True)
class Revision:
    """One normalised OTA revision; stay fields are None on a cancellation that does not repeat them."""

    agency_id: UUID
    property_id: UUID
    channel: ChannelReference
    revision_id: str
    revision_no: int
    is_cancellation: bool
    check_in: date | None
    check_out: date | None
    adults: int
    children: int
    infants: int
    guest_name: str | None
    guest_email: str | None
    guest_phone: str | None
    total_amount_minor: int | None
    currency: str | None
    group_id: UUID | None = None
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What booking knows of the revision's reservation or block: the record, its latest decision, an equal one."""

    reservation: Reservation | None
    latest: RevisionDecision | None
    same: RevisionDecision | None
    guest_id: UUID | None
    block: Block | None = None


def decide(state: LedgerState, revision: Revision, known: Known, new_id: NewId) -> list[Change]:
    """The changes of one revision; the first of them carries the decision, so exactly one event tells the outcome.

    `state` is that of the property the reservation is in: the host may have moved it away from the listing's.
    """
    if known.same is not None:
        return [_outcome_only(state, known.same)]
    if known.latest is not None and known.latest.revision_no > revision.revision_no:
        decision = _decision(revision, "superseded", f"revision {known.latest.revision_no} is newer")
        concerned = replace(decision, reservation_id=known.latest.reservation_id, block_id=known.latest.block_id)
        return [_outcome_only(state, concerned)]
    if revision.is_block:
        return _decide_block(state, revision, known.block, new_id)
    if revision.is_cancellation:
        return _decide_cancellation(state, revision, known.reservation, new_id)
    return _decide_stay(state, revision, known, new_id)


def _decide_cancellation(
    state: LedgerState, revision: Revision, reservation: Reservation | None, new_id: NewId
) -> list[Change]:
    if reservation is None:
        return [_outcome_only(state, _decision(revision, "applied", CANCELLED_FIRST))]
    decision = replace(_decision(revision, "applied"), reservation_id=reservation.id)
    if "cancel" not in TRANSITIONS.get(reservation.status, {}):  # the guest was here, whatever the channel says
        return [_outcome_only(state, replace(decision, reason=f"the reservation stays {reservation.status}"))]
    if reservation.status == "cancelled":
        return [_outcome_only(state, decision)]
    changes = cancel(state, reservation, "cancelled by the channel", new_id)
    return [replace(changes[0], revision=decision), *changes[1:]]


def _decide_stay(state: LedgerState, revision: Revision, known: Known, new_id: NewId) -> list[Change]:
    guest = _new_guest(revision, known, new_id)
    wanted = _wanted(state, revision, known, guest, new_id)
    decision = replace(_decision(revision, "applied"), reservation_id=wanted.id)
    if wanted.status in OVER:
        modified = Change(state.property.id, "ReservationModified", reservation=wanted)
        return [replace(modified, guest=guest, revision=decision)]
    is_lost = state.property.deleted_at is not None and not _keeps_nights(known.reservation, wanted)
    is_held = known.reservation is not None and known.reservation.status == wanted.status
    taken = Change(
        state.property.id,
        "ReservationModified" if is_held else "ReservationConfirmed",
        occupied=(reservation_range(state.property, wanted, new_id()),),
        reservation=wanted,
    )
    overbooked = replace(wanted, status="overbooked")
    changes = _take_or_wait(state, taken, overbooked, new_id, must_wait=is_lost)
    decision = replace(decision, reason=PROPERTY_DELETED if is_lost else None)
    return [replace(changes[0], guest=guest, revision=decision), *changes[1:]]


def _decide_block(state: LedgerState, revision: Revision, block: Block | None, new_id: NewId) -> list[Change]:
    """A channel's calendar closed nights, or opens them again; nights of a deleted property need not be closed."""
    decision = replace(_decision(revision, "applied"), block_id=block.id if block is not None else None)
    if revision.is_cancellation:
        if block is None:
            return [_outcome_only(state, replace(decision, reason=CANCELLED_FIRST))]
        changes = open_nights(state, block, new_id)
    elif state.property.deleted_at is not None:
        return [_outcome_only(state, replace(decision, reason="the property is deleted"))]
    else:
        wanted = _block_wanted(state, revision, block, new_id)
        decision = replace(decision, block_id=wanted.id)
        if wanted == block:
            return [_outcome_only(state, decision)]
        held = replace(wanted, waiting=False)
        taken = Change(state.property.id, block_event(held), occupied=(block_range(held, new_id()),), block=held)
        changes = _take_or_wait(state, taken, replace(wanted, waiting=True), new_id)
    if not changes:
        return [_outcome_only(state, decision)]
    return [replace(changes[0], revision=decision), *changes[1:]]


def _take_or_wait(
    state: LedgerState, taken: Change, waits: Reservation | Block, new_id: NewId, *, must_wait: bool = False
) -> list[Change]:
    """What a channel sold takes its nights anew, or waits for those that others have; its own count as free."""
    held = state.ranges_of(waits.id)
    closed = close_conflict(state, waits.id, "modified_by_channel")
    rest = after(replace(state, ranges=tuple(stored for stored in state.ranges if stored not in held)), closed)
    if must_wait or overlapping(rest.ranges, *nights_wanted(state.property, waits)):
        waiting = WaitingStay(opened_conflict(waits, new_id()), waits)
        return [*settle(rest, new_id, waiting, held), *closed]
    taken = replace(taken, released=held)
    return [taken, *closed, *settle(after(rest, [taken]), new_id)]


def _keeps_nights(present: Reservation | None, wanted: Reservation) -> bool:
    """Whether a stay has the nights it wants already, so that only other things of it change."""
    return present is not None and (present.status, present.check_in, present.check_out) == (
        wanted.status,
        wanted.check_in,
        wanted.check_out,
    )


def _status_after(earlier: Reservation) -> str:
    """The status of a reservation that the channel told anew, before its nights are decided."""
    if earlier.status in {"checked_in", *OVER}:
        return earlier.status
    return status_won(earlier) if earlier.status == "overbooked" else "confirmed"


def _wanted(state: LedgerState, revision: Revision, known: Known, guest: Guest | None, new_id: NewId) -> Reservation:
    if revision.check_in is None or revision.check_out is None:
        raise ValueError("a revision that is no cancellation has dates")
    guest_id = known.guest_id if guest is None else guest.id
    earlier = known.reservation
    told = Reservation(
        id=earlier.id if earlier else new_id(),
        agency_id=revision.agency_id,
        property_id=state.property.id,
        guest_id=guest_id if guest_id is not None else (earlier.guest_id if earlier else None),
        check_in=revision.check_in,
        check_out=revision.check_out,
        status="confirmed",
        source="ota",
        adults=revision.adults,
        children=revision.children,
        infants=revision.infants,
        currency=revision.currency or state.property.currency,
        total_amount_minor=revision.total_amount_minor,
        channel=revision.channel,
        group_id=revision.group_id,
    )
    if earlier is None:
        return told
    return replace(
        told,
        # What the host did counts: the guest is in the house, or has left.
        status=_status_after(earlier),
        notes=earlier.notes,
        checked_in_at=earlier.checked_in_at,
        checked_out_at=earlier.checked_out_at,
        rating=earlier.rating,
        created_at=earlier.created_at,
    )


def _block_wanted(state: LedgerState, revision: Revision, block: Block | None, new_id: NewId) -> Block:
    if revision.check_in is None or revision.check_out is None:
        raise ValueError("a revision that is no cancellation has dates")
    if block is not None:
        return replace(block, start_date=revision.check_in, end_date=revision.check_out, active=True)
    return Block(
        new_id(),
        revision.agency_id,
        state.property.id,
        revision.check_in,
        revision.check_out,
        None,
        "ota",
        True,
        channel=revision.channel,
    )


def _new_guest(revision: Revision, known: Known, new_id: NewId) -> Guest | None:
    has_guest = known.guest_id is not None or (known.reservation is not None and known.reservation.guest_id is not None)
    if has_guest or revision.guest_name is None:
        return None
    return Guest(new_id(), revision.agency_id, revision.guest_name, revision.guest_email, revision.guest_phone)


def _decision(revision: Revision, outcome: str, reason: str | None = None) -> RevisionDecision:
    return RevisionDecision(
        revision.agency_id,
        revision.property_id,
        revision.channel,
        revision.revision_id,
        revision.revision_no,
        outcome,
        reason,
    )


def _outcome_only(state: LedgerState, decision: RevisionDecision) -> Change:
    return Change(state.property.id, "ChannelRevisionApplied", revision=decision)
