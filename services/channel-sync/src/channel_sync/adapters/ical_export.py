"""Owns our own calendar of a listing as .ics, and its ETag; called by service."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from uuid import UUID, uuid5

from icalendar import Calendar, Event

from channel_sync.domain.ical_feed import OWN_UID_SUFFIX


@dataclass(frozen=True, slots=True)
class ShownNights:
    """Closed nights `[start, end)`, and the instant they were first shown, with a time zone."""

    start: date
    end: date
    since: datetime


def export_calendar(listing_id: UUID, nights: Iterable[ShownNights]) -> bytes:
    """The closed nights of a listing as iCalendar.

    It says nothing of guests, prices or reasons. The same nights give the same bytes, in whatever order they come.
    """
    calendar = Calendar()
    calendar.add("PRODID", "-//PMS//Closed nights//EN")
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    calendar.add("METHOD", "PUBLISH")
    for closed in sorted(nights, key=lambda closed: closed.start):
        calendar.add_component(_event(listing_id, closed))
    return bytes(calendar.to_ical())


def etag_of(calendar: bytes) -> str:
    """The strong ETag of a calendar's bytes, quoted."""
    return f'"{sha256(calendar).hexdigest()}"'


def _event(listing_id: UUID, closed: ShownNights) -> Event:
    event = Event()
    event.add("UID", f"{uuid5(listing_id, f'{closed.start}/{closed.end}')}{OWN_UID_SUFFIX}")
    event.add("DTSTAMP", closed.since.astimezone(UTC))
    event.add("DTSTART", closed.start)
    event.add("DTEND", closed.end)
    event.add("SUMMARY", "Not available")
    event.add("TRANSP", "OPAQUE")
    return event
