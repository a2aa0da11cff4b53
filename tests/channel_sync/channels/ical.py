"""Owns a calendar channel's side: events it shows, and how it answers; called by tests and the channel simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest

CALENDAR_TYPE = {"Content-Type": "text/calendar; charset=utf-8"}


def vevent(uid: str, start: str, end: str | None, *lines: str) -> str:
    """A VEVENT; dates as `20260601`, times as `20260601T150000Z`, or with parameters `;TZID=X:20260601T150000`."""
    parts = [f"UID:{uid}", "DTSTAMP:20260101T000000Z", _line("DTSTART", start)]
    parts += [_line("DTEND", end)] if end is not None else []
    return "\r\n".join(("BEGIN:VEVENT", *parts, *lines, "END:VEVENT"))


def _line(name: str, value: str) -> str:
    if value.startswith(";"):
        return name + value
    return f"{name};VALUE=DATE:{value}" if len(value) == 8 else f"{name}:{value}"


@dataclass(slots=True)
class CalendarChannel:
    """A channel that shows its events by their UID at one address, with an ETag if `has_etag`."""

    events: dict[str, str] = field(default_factory=dict)
    has_etag: bool = True
    failure: ChannelAnswer | None = None

    def show(self, uid: str, start: str, end: str | None, *lines: str) -> None:
        """Add an event, or replace the one with this UID."""
        self.events[uid] = vevent(uid, start, end, *lines)

    def body(self) -> bytes:
        """The calendar as it is now."""
        parts = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Channel//EN", *self.events.values(), "END:VCALENDAR")
        return ("\r\n".join(parts) + "\r\n").encode()

    def answer(self, request: OutboundRequest, now: datetime | None = None) -> ChannelAnswer:
        """What the channel answers; 304 without a body when the caller has this calendar, 405 to all but GET."""
        if self.failure is not None:
            return self.failure
        if request.method != "GET":
            return ChannelAnswer(405, {}, b"")
        etag = f'"{sha256(self.body()).hexdigest()[:16]}"'
        if self.has_etag and request.headers.get("If-None-Match") == etag:
            return ChannelAnswer(304, {"ETag": etag}, b"")
        headers: Mapping[str, str] = {**CALENDAR_TYPE, **({"ETag": etag} if self.has_etag else {})}
        return ChannelAnswer(200, headers, self.body())
