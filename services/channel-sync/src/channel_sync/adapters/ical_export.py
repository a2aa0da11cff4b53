"""Owns our own calendar of a property as .ics, its address's token and its ETag; called by service and api."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from uuid import UUID

from icalendar import Calendar, Event

from channel_sync.domain.ical_feed import OWN_UID_SUFFIX

MIN_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExportedRange:
    """Closed nights `[start, end)`; `connection_id` is where they came from, None for our own.

    `range_id` must stay the same as long as the range lives; `changed_at` is its last change, with a time zone.
    """

    range_id: UUID
    start: date
    end: date
    changed_at: datetime
    connection_id: UUID | None = None


def export_calendar(ranges: Iterable[ExportedRange], for_connection: UUID | None) -> bytes:
    """The closed nights as iCalendar, without what came from the connection that reads it.

    It says nothing of guests, prices or reasons. The same ranges give the same bytes, in whatever order they come.
    """
    calendar = Calendar()
    calendar.add("PRODID", "-//PMS//Closed nights//EN")
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    calendar.add("METHOD", "PUBLISH")
    for closed in sorted(ranges, key=lambda closed: (closed.start, closed.end, closed.range_id)):
        if closed.connection_id is None or closed.connection_id != for_connection:
            calendar.add_component(_event(closed))
    return bytes(calendar.to_ical())


def export_token(key: bytes, connection_id: UUID, listing_id: UUID, generation: int) -> str:
    """The unguessable part of a calendar's address: 43 URL-safe characters; another `generation` revokes it.

    Raises `ValueError` for a key shorter than 32 bytes.
    """
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the key must have at least {MIN_KEY_BYTES} bytes")
    message = b"ical-export\x00" + connection_id.bytes + listing_id.bytes + str(generation).encode()
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")).rstrip(b"=").decode()


def etag_of(calendar: bytes) -> str:
    """The strong ETag of a calendar's bytes, quoted."""
    return f'"{sha256(calendar).hexdigest()}"'


def _event(closed: ExportedRange) -> Event:
    event = Event()
    event.add("UID", f"{closed.range_id}{OWN_UID_SUFFIX}")
    event.add("DTSTAMP", closed.changed_at.astimezone(UTC))
    event.add("DTSTART", closed.start)
    event.add("DTEND", closed.end)
    event.add("SUMMARY", "Not available")
    event.add("TRANSP", "OPAQUE")
    return event
