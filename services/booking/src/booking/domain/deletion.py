"""Decides whether a property may be deleted; called by service under the property's lock."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

from booking.domain.errors import Competitor, PropertyInUse
from booking.domain.model import Change, LedgerState, Reservation


def delete(state: LedgerState, inquiries: Sequence[Reservation]) -> list[Change]:
    """The property is gone for good; nothing changes when it is already. Raises `PropertyInUse`.

    What stands in the way is anything from the property's local today on: nights that a reservation, hold, block or
    conflict occupies (preparation included), and open inquiries. An overbooked stay that waits has such nights, its own
    or its competitors'. The past does not count, not even a guest who was never checked out: their records stay, and
    can still be closed.
    """
    owner = state.property
    if owner.deleted_at is not None:
        return []
    in_the_way = _in_the_way(state, inquiries)
    if in_the_way:
        raise PropertyInUse(min(in_the_way, key=lambda found: (found.start_date, found.kind)))
    gone = replace(owner, deleted_at=state.now)
    return [Change(owner.id, "PropertyDeleted", property=gone)]


def _in_the_way(state: LedgerState, inquiries: Sequence[Reservation]) -> list[Competitor]:
    today = _local_today(state)
    taken = [
        Competitor(stored.kind, stored.stay_start, stored.stay_end)
        for stored in state.ranges
        if stored.occupied_end > today
    ]
    asked = [
        Competitor("inquiry", inquiry.check_in, inquiry.check_out) for inquiry in inquiries if inquiry.check_out > today
    ]
    return taken + asked


def _local_today(state: LedgerState) -> date:
    return state.now.astimezone(ZoneInfo(state.property.time_zone)).date()
