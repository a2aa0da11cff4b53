"""The reservation's state machine: what an action makes of a status; called by service."""

from dataclasses import replace

from booking.domain.errors import IllegalTransition
from booking.domain.inventory import NewId, after, close_conflict, settle, take_nights
from booking.domain.model import Change, LedgerState, Reservation

TRANSITIONS: dict[str, dict[str, str]] = {
    "inquiry": {"confirm": "confirmed", "cancel": "cancelled"},
    "pending": {"confirm": "confirmed", "cancel": "cancelled"},
    "confirmed": {"cancel": "cancelled"},
    "overbooked": {"cancel": "cancelled"},
    "cancelled": {"cancel": "cancelled"},
}
"""Status -> action -> status after it. Cancelling twice is safe and answers the same."""

EVENT_OF_NEW = {
    "inquiry": "ReservationInquired",
    "pending": "ReservationRequested",
    "confirmed": "ReservationConfirmed",
}


def next_status(reservation: Reservation, action: str) -> str:
    """The status after an action; raises `IllegalTransition` naming the actions that are allowed."""
    allowed = TRANSITIONS.get(reservation.status, {})
    if action not in allowed:
        raise IllegalTransition(action, reservation.status, sorted(allowed))
    return allowed[action]


def create(state: LedgerState, reservation: Reservation, new_id: NewId) -> list[Change]:
    """A new direct reservation; an inquiry takes no nights. Raises `DatesUnavailable`."""
    event = EVENT_OF_NEW[reservation.status]
    if reservation.status == "inquiry":
        return [Change(state.property.id, event, reservation=reservation)]
    return [take_nights(state, reservation, event, new_id)]


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
    status = next_status(reservation, "cancel")
    if reservation.status == status:
        return []
    cancelled = replace(reservation, status=status, cancelled_at=state.now, cancel_reason=reason, hold_expires_at=None)
    released = state.ranges_of(reservation.id)
    change = Change(state.property.id, "ReservationCancelled", released, reservation=cancelled)
    changes = [change, *close_conflict(state, reservation.id, "cancelled")]
    return [*changes, *settle(after(state, changes), new_id)]
