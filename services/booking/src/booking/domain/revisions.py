"""Decides what an OTA revision does to the ledger; called by service for every record of channel-sync's topic.

An OTA reservation is a fact: it is never refused. Revisions of one (connection, code, property) are ordered by
`revision_no` alone: a lower one is superseded, the same one is a duplicate, and a cancellation or modification that
arrives before its creation wins.
"""

from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from booking.domain.inventory import (
    NewId,
    after,
    close_conflict,
    opened_conflict,
    overlapping,
    reservation_range,
    settle,
    status_won,
)
from booking.domain.model import (
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


@dataclass(frozen=True, slots=True)
class Known:
    """What booking knows of the revision's reservation: the record, its latest decision, an earlier equal one."""

    reservation: Reservation | None
    latest: RevisionDecision | None
    same: RevisionDecision | None
    guest_id: UUID | None


def decide(state: LedgerState, revision: Revision, known: Known, new_id: NewId) -> list[Change]:
    """The changes of one revision; the first of them carries the decision, so exactly one event tells the outcome.

    `state` is that of the property the reservation is in: the host may have moved it away from the listing's.
    """
    if known.same is not None:
        return [_outcome_only(state, known.same)]
    if known.latest is not None and known.latest.revision_no > revision.revision_no:
        reason = f"revision {known.latest.revision_no} is newer"
        reservation_id = known.reservation.id if known.reservation else None
        return [_outcome_only(state, _decision(revision, "superseded", reservation_id, reason))]
    if revision.is_cancellation:
        return _decide_cancellation(state, revision, known.reservation, new_id)
    return _decide_stay(state, revision, known, new_id)


def _decide_cancellation(
    state: LedgerState, revision: Revision, reservation: Reservation | None, new_id: NewId
) -> list[Change]:
    if reservation is None:
        return [_outcome_only(state, _decision(revision, "applied", None, "cancelled before it was created"))]
    decision = _decision(revision, "applied", reservation.id)
    if "cancel" not in TRANSITIONS.get(reservation.status, {}):  # the guest was here, whatever the channel says
        return [_outcome_only(state, replace(decision, reason=f"the reservation stays {reservation.status}"))]
    if reservation.status == "cancelled":
        return [_outcome_only(state, decision)]
    changes = cancel(state, reservation, "cancelled by the channel", new_id)
    return [replace(changes[0], revision=decision), *changes[1:]]


def _decide_stay(state: LedgerState, revision: Revision, known: Known, new_id: NewId) -> list[Change]:
    guest = _new_guest(revision, known, new_id)
    wanted = _wanted(state, revision, known, guest, new_id)
    if wanted.status in OVER:
        modified = Change(state.property.id, "ReservationModified", reservation=wanted)
        return [replace(modified, guest=guest, revision=_decision(revision, "applied", wanted.id))]
    held = state.ranges_of(wanted.id)
    closed = close_conflict(state, wanted.id, "modified_by_channel")
    rest = after(replace(state, ranges=tuple(stored for stored in state.ranges if stored not in held)), closed)
    is_lost = state.property.deleted_at is not None and not _keeps_nights(known.reservation, wanted)
    decision = _decision(revision, "applied", wanted.id, PROPERTY_DELETED if is_lost else None)
    if is_lost or overlapping(rest.ranges, wanted.check_in, state.property.occupied_end(wanted.check_out)):
        overbooked = replace(wanted, status="overbooked")
        waiting = WaitingStay(opened_conflict(overbooked, new_id()), overbooked)
        changes = [*settle(rest, new_id, waiting, held), *closed]
    else:
        stored = reservation_range(state.property, wanted, new_id())
        is_held = known.reservation is not None and known.reservation.status == wanted.status
        event = "ReservationModified" if is_held else "ReservationConfirmed"
        taken = Change(state.property.id, event, held, (stored,), reservation=wanted)
        changes = [taken, *closed, *settle(after(rest, [taken]), new_id)]
    first = replace(changes[0], guest=guest, revision=decision)
    return [first, *changes[1:]]


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


def _new_guest(revision: Revision, known: Known, new_id: NewId) -> Guest | None:
    has_guest = known.guest_id is not None or (known.reservation is not None and known.reservation.guest_id is not None)
    if has_guest or revision.guest_name is None:
        return None
    return Guest(new_id(), revision.agency_id, revision.guest_name, revision.guest_email, revision.guest_phone)


def _decision(
    revision: Revision, outcome: str, reservation_id: UUID | None, reason: str | None = None
) -> RevisionDecision:
    return RevisionDecision(
        revision.agency_id,
        revision.property_id,
        revision.channel,
        revision.revision_id,
        revision.revision_no,
        outcome,
        reason,
        reservation_id,
    )


def _outcome_only(state: LedgerState, decision: RevisionDecision) -> Change:
    return Change(state.property.id, "ChannelRevisionApplied", revision=decision)
