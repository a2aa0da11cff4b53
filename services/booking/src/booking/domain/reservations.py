"""The reservation's state machine: what an action makes of a reservation and its nights; called by service."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from booking.domain.errors import IllegalTransition, InvalidStay
from booking.domain.inventory import (
    NewId,
    after,
    close_conflict,
    refuse_overlap,
    reservation_range,
    settle,
    status_won,
    take_nights,
)
from booking.domain.model import OCCUPYING, Change, Hold, LedgerState, Reservation
from rules.calendar import StoredRange
from rules.stay_rules import RequestedStay

TRANSITIONS: dict[str, dict[str, str]] = {
    "inquiry": {"confirm": "confirmed", "decline": "declined", "cancel": "cancelled"},
    "pending": {"confirm": "confirmed", "decline": "declined", "cancel": "cancelled"},
    "confirmed": {"check-in": "checked_in", "cancel": "cancelled", "no-show": "no_show"},
    "checked_in": {"check-out": "checked_out"},
    "overbooked": {"cancel": "cancelled"},
    "cancelled": {"cancel": "cancelled"},
}
"""Status -> action -> status after it. Cancelling twice is safe and answers the same."""

MAX_NIGHTS = 730
MODIFIABLE = frozenset({"inquiry", "pending", "confirmed", "checked_in"})

EVENT_OF_NEW = {
    "inquiry": "ReservationInquired",
    "pending": "ReservationRequested",
    "confirmed": "ReservationConfirmed",
}


@dataclass(frozen=True, slots=True)
class Modification:
    """What a reservation shall become, whole: its stay, guests and notes."""

    check_in: date
    check_out: date
    adults: int
    children: int
    infants: int
    notes: str | None
    total_amount_minor: int | None

    @property
    def requested(self) -> RequestedStay:
        """What stay rules have a say in: infants do not count."""
        return RequestedStay(self.check_in, self.check_out, self.adults + self.children)


def current(reservation: Reservation, now: datetime) -> Reservation:
    """The reservation as it is at an instant: a pending one that ran out is expired, whether written yet or not."""
    expires_at = reservation.hold_expires_at
    is_overdue = reservation.status == "pending" and expires_at is not None and expires_at <= now
    return replace(reservation, status="expired") if is_overdue else reservation


def next_status(reservation: Reservation, action: str) -> str:
    """The status after an action; raises `IllegalTransition` naming the actions that are allowed."""
    allowed = TRANSITIONS.get(reservation.status, {})
    if action not in allowed:
        raise IllegalTransition(action, reservation.status, sorted(allowed))
    return allowed[action]


def create(state: LedgerState, reservation: Reservation, new_id: NewId, hold: Hold | None = None) -> list[Change]:
    """A new direct reservation; an inquiry takes no nights. `hold` is consumed. Raises `DatesUnavailable`."""
    event = EVENT_OF_NEW[reservation.status]
    if reservation.status == "inquiry":
        return [Change(state.property.id, event, reservation=reservation)]
    if hold is None:
        return [take_nights(state, reservation, event, new_id)]
    consumed = Change(state.property.id, "HoldConsumed", state.ranges_of(hold.id), hold=replace(hold, state="consumed"))
    rest = after(state, [consumed])
    taken = take_nights(rest, reservation, event, new_id)
    # The hold may have kept more nights than the stay takes.
    return [consumed, taken, *settle(after(rest, [taken]), new_id)]


def confirm(state: LedgerState, reservation: Reservation, new_id: NewId) -> list[Change]:
    """An inquiry or pending reservation becomes confirmed; an inquiry decides like a new booking."""
    confirmed = replace(reservation, status=next_status(reservation, "confirm"), hold_expires_at=None)
    held = state.ranges_of(reservation.id)
    if held:
        kept = replace(held[0], range_id=new_id(), expires_at=None)
        return [Change(state.property.id, "ReservationConfirmed", held, (kept,), reservation=confirmed)]
    return [take_nights(state, confirmed, "ReservationConfirmed", new_id)]


def cancel(state: LedgerState, reservation: Reservation, reason: str | None, new_id: NewId) -> list[Change]:
    """The reservation gives its nights back at once; nothing changes when it is cancelled already."""
    if reservation.status == next_status(reservation, "cancel"):
        return []
    cancelled = replace(
        reservation, status="cancelled", cancelled_at=state.now, cancel_reason=reason, hold_expires_at=None
    )
    return _give_back(state, "ReservationCancelled", cancelled, "cancelled", new_id)


def decline(state: LedgerState, reservation: Reservation, reason: str | None, new_id: NewId) -> list[Change]:
    """The host refuses an inquiry or a pending reservation."""
    status = next_status(reservation, "decline")
    declined = replace(reservation, status=status, cancel_reason=reason, hold_expires_at=None)
    return _give_back(state, "ReservationDeclined", declined, "declined", new_id)


def mark_no_show(state: LedgerState, reservation: Reservation, reason: str | None, new_id: NewId) -> list[Change]:
    """The guest never came: the nights are free."""
    absent = replace(reservation, status=next_status(reservation, "no-show"), cancel_reason=reason)
    return _give_back(state, "ReservationNoShow", absent, "no_show", new_id)


def check_in(state: LedgerState, reservation: Reservation) -> list[Change]:
    """The guest arrived; the nights stay as they are."""
    arrived = replace(reservation, status=next_status(reservation, "check-in"), checked_in_at=state.now)
    return [Change(state.property.id, "ReservationCheckedIn", reservation=arrived)]


def check_out(state: LedgerState, reservation: Reservation, today: date, new_id: NewId) -> list[Change]:
    """The guest left on `today`, the property's local date; an early departure gives the remaining nights back."""
    left = replace(reservation, status=next_status(reservation, "check-out"), checked_out_at=state.now)
    if today >= reservation.check_out:
        return [Change(state.property.id, "ReservationCheckedOut", reservation=left)]
    held = state.ranges_of(reservation.id)
    kept: tuple[StoredRange, ...] = ()
    if today > reservation.check_in:
        # Of the range as it was taken: more preparation days now may not fit any more.
        end = min(held[0].occupied_end, state.property.occupied_end(today))
        kept = (replace(held[0], range_id=new_id(), stay_end=today, occupied_end=end),)
    change = Change(state.property.id, "ReservationCheckedOut", held, kept, reservation=left)
    return [change, *settle(after(state, [change]), new_id)]


def rate(state: LedgerState, reservation: Reservation, rating: int) -> list[Change]:
    """The guest's rating, 1 to 5, after check-out; rating again replaces it."""
    if reservation.status != "checked_out":
        raise IllegalTransition("rate", reservation.status, sorted(TRANSITIONS.get(reservation.status, {})))
    if reservation.rating == rating:
        return []
    return [Change(state.property.id, "ReservationRated", reservation=replace(reservation, rating=rating))]


def modify(state: LedgerState, reservation: Reservation, wanted: Modification, new_id: NewId) -> list[Change]:
    """Dates, guests or notes change; the old nights are given back only if the new ones are won."""
    require_modifiable(reservation, wanted)
    modified = _modified(reservation, wanted)
    if modified == reservation:
        return []
    held = state.ranges_of(reservation.id)
    same_stay = (modified.check_in, modified.check_out) == (reservation.check_in, reservation.check_out)
    if same_stay or not held:
        return [Change(state.property.id, "ReservationModified", reservation=modified)]
    stored = reservation_range(state.property, modified, new_id())
    refuse_overlap(replace(state, ranges=tuple(found for found in state.ranges if found not in held)), stored)
    change = Change(state.property.id, "ReservationModified", held, (stored,), reservation=modified)
    return [change, *settle(after(state, [change]), new_id)]


def move(
    source: LedgerState, target: LedgerState, reservation: Reservation, wanted: Modification, new_id: NewId
) -> list[Change]:
    """A reservation leaves `source` for `target`, where it must win its nights; raises `DatesUnavailable`.

    An overbooked stay that moves is confirmed there, and its conflict ends.
    """
    if reservation.status != "overbooked":
        require_modifiable(reservation, wanted)
    status = status_won(reservation) if reservation.status == "overbooked" else reservation.status
    moved = replace(
        _modified(reservation, wanted), property_id=target.property.id, status=status, currency=target.property.currency
    )
    where = (source.property.id, target.property.id)
    occupied: tuple[StoredRange, ...] = ()
    if status in OCCUPYING:
        stored = reservation_range(target.property, moved, new_id())
        refuse_overlap(target, stored)
        occupied = (stored,)
    left = Change(
        source.property.id, "ReservationMoved", source.ranges_of(reservation.id), reservation=moved, moved=where
    )
    closed = close_conflict(source, reservation.id, "moved")
    came = Change(target.property.id, "ReservationMoved", occupied=occupied, reservation=moved, moved=where)
    dealt = settle(after(source, [left, *closed]), new_id)
    return [left, *closed, *dealt, came]


def require_modifiable(reservation: Reservation, wanted: Modification) -> None:
    """Raise `IllegalTransition` when the reservation is over, or the guest has arrived and the arrival would change.

    Raises `InvalidStay` for dates that are no stay.
    """
    if not 1 <= (wanted.check_out - wanted.check_in).days <= MAX_NIGHTS:
        raise InvalidStay(InvalidStay.__doc__)
    allowed = sorted(TRANSITIONS.get(reservation.status, {}))
    if reservation.status not in MODIFIABLE:
        raise IllegalTransition("be modified", reservation.status, allowed)
    if reservation.status == "checked_in" and wanted.check_in != reservation.check_in:
        raise IllegalTransition("change its check-in", reservation.status, allowed)


def _modified(reservation: Reservation, wanted: Modification) -> Reservation:
    return replace(
        reservation,
        check_in=wanted.check_in,
        check_out=wanted.check_out,
        adults=wanted.adults,
        children=wanted.children,
        infants=wanted.infants,
        notes=wanted.notes,
        total_amount_minor=wanted.total_amount_minor,
    )


def _give_back(
    state: LedgerState, event: str, reservation: Reservation, resolution: str, new_id: NewId
) -> list[Change]:
    change = Change(state.property.id, event, state.ranges_of(reservation.id), reservation=reservation)
    changes = [change, *close_conflict(state, reservation.id, resolution)]
    return [*changes, *settle(after(state, changes), new_id)]
