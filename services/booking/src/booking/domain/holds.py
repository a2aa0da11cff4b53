"""Decides about holds: nights kept for somebody until an instant; called by service under the property's lock."""

from dataclasses import replace
from datetime import datetime

from booking.domain.errors import HoldNotActive
from booking.domain.inventory import NewId, after, refuse_overlap, settle
from booking.domain.model import Change, Hold, LedgerState
from rules.calendar import StoredRange


def place(state: LedgerState, hold: Hold, new_id: NewId) -> Change:
    """A hold takes its nights like a stay, until it expires; raises `DatesUnavailable`."""
    stored = _range_of(state, hold, new_id)
    refuse_overlap(state, stored)
    return Change(state.property.id, "HoldPlaced", occupied=(stored,), hold=hold)


def extend(state: LedgerState, hold: Hold, until: datetime, new_id: NewId) -> list[Change]:
    """The hold ends at another instant; raises `HoldNotActive`. The same instant again changes nothing."""
    require_active(hold)
    if until == hold.hold_expires_at:
        return []
    extended = replace(hold, hold_expires_at=until)
    # The range keeps the preparation days of the time it was placed in: more of them now may not fit any more.
    held = state.ranges_of(hold.id)
    kept = tuple(replace(stored, range_id=new_id(), expires_at=until) for stored in held)
    return [Change(state.property.id, "HoldExtended", held, kept, hold=extended)]


def release(state: LedgerState, hold: Hold, new_id: NewId) -> list[Change]:
    """The hold gives its nights back; nothing changes when it is over already."""
    if hold.state != "active":
        return []
    change = Change(state.property.id, "HoldReleased", state.ranges_of(hold.id), hold=replace(hold, state="released"))
    return [change, *settle(after(state, [change]), new_id)]


def current(hold: Hold, now: datetime) -> Hold:
    """The hold as it is at an instant: one that ran out is over, whether that was written yet or not."""
    is_overdue = hold.state == "active" and hold.hold_expires_at <= now
    return replace(hold, state="expired") if is_overdue else hold


def require_active(hold: Hold) -> None:
    """Raise `HoldNotActive` for a hold that was released, consumed or ran out."""
    if hold.state != "active":
        raise HoldNotActive(hold.state)


def _range_of(state: LedgerState, hold: Hold, new_id: NewId) -> StoredRange:
    return StoredRange(
        new_id(),
        "hold",
        hold.id,
        hold.check_in,
        hold.check_out,
        hold.check_in,
        state.property.occupied_end(hold.check_out),
        hold.hold_expires_at,
    )
