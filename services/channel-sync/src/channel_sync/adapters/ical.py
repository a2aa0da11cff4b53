"""Owns the iCal channel: reads calendar feeds into events, and its own revisions back; called by service.

The connection's address is the calendar's. What events mean is `domain/ical_feed.py`; our own calendar is
`ical_export.py`. Sources: docs/channels/ical.md.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from channel_sync.adapters.ical_events import read_event
from channel_sync.domain.ari import ChannelTarget, ItemOutcome, Limits, PushItem, PushRequest
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.ical_feed import Feed, RefusedEvent, SeenEvent
from channel_sync.domain.pushes import ERROR_CLASSES, ChannelAnswer, OutboundRequest
from channel_sync.domain.revisions import ParsedRevision

MAX_CALENDAR_BYTES = 2 * 1024 * 1024
MAX_EVENTS = 2_000
MAX_VALIDATOR_CHARS = 1_000


class ICal:
    """The adapter `ical`. It pushes nothing: a channel reads our calendar when it likes."""

    name: ClassVar[str] = "ical"
    limits: ClassVar[Limits] = Limits(
        calls_per_minute_per_property=None, calls_per_minute=None, max_days=730, request_timeout_s=30.0
    )

    def parse(self, raw: bytes) -> ParsedRevision:
        """Read a revision that `changes` made; raises `UnparseableRevision` for a refused event."""
        message = _object_of(raw)
        if message is None:
            raise UnparseableRevision("body", "json_invalid", "must be a revision made from a calendar")
        refused = message.get("refused")
        if isinstance(refused, dict):
            raise UnparseableRevision(str(refused["field"]), str(refused["code"]), str(refused["reason"]))
        try:
            return ParsedRevision(
                revision_id=message["revision_id"],
                status=message["status"],
                ota_name=self.name,
                ota_reservation_code=message["code"],
                ota_listing_id=message["ota_listing_id"],
                published_at=datetime.fromisoformat(message["seen_at"]),
                check_in=date.fromisoformat(message["start"]),
                check_out=date.fromisoformat(message["end"]),
                kind="block",
            )
        except (KeyError, ValueError, TypeError):
            pass
        raise UnparseableRevision("body", "invalid", "must be a revision made from a calendar")

    def without_guest(self, raw: bytes) -> bytes:
        """The same bytes, which never name a guest; nothing of what is none of our revisions."""
        return b"" if _object_of(raw) is None else raw

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """None."""
        return ()

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """None, as nothing is pushed."""
        return ()

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """The calendar, unconditionally."""
        return self.feed_request(target, None)

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """Why the answer is no calendar; a calendar without events is one."""
        try:
            _calendar(answer)
        except FeedUnreadable as error:
            return error.reason
        return None

    def feed_request(self, target: ChannelTarget, cursor: str | None) -> OutboundRequest:
        """The calendar, unless it is as the cursor of the last answer says."""
        headers = {"Accept": "text/calendar"}
        validators = _object_of(cursor.encode()) if cursor else None
        for header, name in (("If-None-Match", "etag"), ("If-Modified-Since", "last_modified")):
            value = (validators or {}).get(name)
            if isinstance(value, str):
                headers[header] = value
        return OutboundRequest(target.endpoint_url, headers, b"", method="GET")

    def read(self, answer: ChannelAnswer, ota_listing_id: str, time_zone: str) -> Feed:
        """The whole calendar; `time_zone` is the property's. Raises `FeedUnreadable`: then keep what is known."""
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return Feed(ota_listing_id, is_unchanged=True)
        events = _calendar(answer).walk("VEVENT")
        if len(events) > MAX_EVENTS:
            raise FeedUnreadable(f"the calendar holds more than {MAX_EVENTS} events")
        return _feed(ota_listing_id, [event for event in events if isinstance(event, Event)], ZoneInfo(time_zone))

    def cursor_after(self, answer: ChannelAnswer, cursor: str | None) -> str | None:
        """What to ask with next time; stored with the known state in one transaction, never before it."""
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return cursor
        found = {"etag": _header(answer, "etag"), "last_modified": _header(answer, "last-modified")}
        kept = {name: value for name, value in found.items() if value and len(value) <= MAX_VALIDATOR_CHARS}
        return json.dumps(kept) if kept else None


def error_class(answer: ChannelAnswer) -> str | None:
    """The class of an answer's status; None for a calendar that may be read."""
    if answer.status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
        return None
    return ERROR_CLASSES.get(answer.status, "channel_error" if answer.status >= 500 else "refused")


def _calendar(answer: ChannelAnswer) -> Calendar:
    """The calendar of an answer that is a whole one: half of it would cancel what the other half shows."""
    if answer.status != HTTPStatus.OK:
        raise FeedUnreadable(f"the channel answered {answer.status}")
    if len(answer.body) > MAX_CALENDAR_BYTES:
        raise FeedUnreadable("the calendar is larger than 2 MiB")
    body = answer.body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        raise FeedUnreadable("the channel answered nothing")
    if body[:1] == b"<":
        raise FeedUnreadable("the channel answered with a web page")
    upper = body.upper()
    if not (upper.startswith(b"BEGIN:VCALENDAR") and upper.endswith(b"END:VCALENDAR")):
        raise FeedUnreadable("the answer is no whole calendar")
    try:
        found = Calendar.from_ical(body)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        found = None
    if not isinstance(found, Calendar):
        raise FeedUnreadable("the answer is no valid calendar")
    return found


def _feed(ota_listing_id: str, events: Sequence[Event], zone: ZoneInfo) -> Feed:
    seen: dict[str, SeenEvent] = {}
    refused: dict[str, RefusedEvent] = {}
    for event in events:
        read = read_event(event, zone)
        if isinstance(read, RefusedEvent):
            refused.setdefault(read.uid, read)
            continue
        other = seen.get(read.uid)
        if other is None or read.sequence > other.sequence:
            seen[read.uid] = read
        elif read.sequence == other.sequence and read != other:
            refused[read.uid] = RefusedEvent(read.uid, "UID", "duplicate", "must not be used for two events")
    kept = tuple(event for uid, event in seen.items() if uid not in refused)
    return Feed(ota_listing_id, kept, tuple(refused.values()))


def _object_of(raw: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _header(answer: ChannelAnswer, wanted: str) -> str | None:
    return next((value for name, value in answer.headers.items() if name.lower() == wanted), None)
