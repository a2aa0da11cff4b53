"""Owns reading one VEVENT into nights, or saying why it has none; called by the iCal adapter."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Event

from channel_sync.domain.ical_feed import RefusedEvent, SeenEvent
from contracts.values import EARLIEST_DATE

ONE_DAY = timedelta(days=1)
MAX_UID_CHARS = 1_000
MAX_NIGHTS = 1_000
RECURRENCE = ("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID")
READ = frozenset((*RECURRENCE, "UID", "DTSTART", "DTEND", "DURATION", "SEQUENCE", "STATUS"))


class _Refused(Exception):
    def __init__(self, field: str, code: str, reason: str) -> None:
        self.field, self.code, self.reason = field, code, reason
        super().__init__(code)


def read_event(event: Event, zone: ZoneInfo) -> SeenEvent | RefusedEvent:
    """The nights of an event in the property's time zone; what its other fields say is never looked at."""
    uid = str(event.get("UID", "")).strip()
    try:
        _check(event, uid)
        is_cancelled = str(event.get("STATUS", "")).upper() == "CANCELLED"
        start, end = _nights(event, zone)
        return SeenEvent(uid, start, end, int(event.get("SEQUENCE", 0)), is_cancelled)
    except _Refused as error:
        return RefusedEvent(uid[:MAX_UID_CHARS], error.field, error.code, error.reason)
    except (ValueError, TypeError, OverflowError):
        return RefusedEvent(uid[:MAX_UID_CHARS], "VEVENT", "invalid", "must be a valid event")


def _check(event: Event, uid: str) -> None:
    if not 0 < len(uid) <= MAX_UID_CHARS:
        raise _Refused("UID", "missing" if not uid else "too_long", f"must have 1 to {MAX_UID_CHARS} characters")
    for name in RECURRENCE:
        if name in event:
            raise _Refused(name, "recurring", "recurring events are not imported: enter each stay as its own event")
    for broken, _ in event.errors:
        if str(broken).upper() in READ:
            raise _Refused(str(broken).upper(), "invalid", "must be a valid value")
    for name in READ:
        if isinstance(event.get(name), list):
            raise _Refused(name, "repeated", "must be there once")


def _nights(event: Event, zone: ZoneInfo) -> tuple[date, date]:
    first = _value(event, "DTSTART")
    if first is None:
        raise _Refused("DTSTART", "missing", "is required")
    last = _value(event, "DTEND")
    duration = event.get("DURATION")
    if last is None and duration is not None:
        last = first + duration.dt
    start = _local(first, zone)
    if not isinstance(first, datetime) and (last is None or last == first):
        # Without an end, a day is meant; some calendars write that as an end on the same day.
        end = start + ONE_DAY
    elif last is None:
        raise _Refused("DTEND", "missing", "is required where DTSTART has a time")
    elif isinstance(last, datetime) is not isinstance(first, datetime):
        raise _Refused("DTEND", "other_type", "must be a date where DTSTART is one, and a time where that is one")
    else:
        end = _local(last, zone)
    if end <= start:
        raise _Refused("DTEND", "no_night", "must be at least one night after DTSTART")
    if start < EARLIEST_DATE or (end - start).days > MAX_NIGHTS:
        raise _Refused("DTSTART", "out_of_range", f"must be from {EARLIEST_DATE} on and at most {MAX_NIGHTS} nights")
    return start, end


def _value(event: Event, name: str) -> Any:
    found = event.get(name)
    if found is None:
        return None
    value = found.dt
    if isinstance(value, datetime) and value.tzinfo is None and "TZID" in found.params:
        # The library leaves a zone it does not know out; local time would be a guess that may close another night.
        raise _Refused(name, "unknown_time_zone", "must name a known time zone, or bring its own")
    return value


def _local(value: date | datetime, zone: ZoneInfo) -> date:
    """The date at the property: a floating time is one there, any other is converted."""
    if not isinstance(value, datetime):
        return value
    return value.date() if value.tzinfo is None else value.astimezone(zone).date()
