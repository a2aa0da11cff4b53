"""Owns what a calendar feed's state means: which events are new, changed, gone or our own; called by service and ical.

A calendar shows a state, not revisions: these are found by comparing it with what was known. Nights are half-open
`[start, end)` in the property's time zone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from channel_sync.domain.ari import FeedItem
from channel_sync.domain.revisions import RevisionStatus

ONE_DAY = timedelta(days=1)
OWN_UID_SUFFIX = "@export.pms.invalid"
KEY_HEX_DIGITS = 32


class EventState(StrEnum):
    """LIVE: handed over; ECHO: our own closed nights, handed over to nobody; GONE: cancelled."""

    LIVE = "live"
    ECHO = "echo"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One event as the feed shows it now."""

    uid: str
    start: date
    end: date
    sequence: int = 0
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event that cannot be read; `uid` is empty where it has none, `reason` never says what was sent."""

    uid: str
    field: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Feed:
    """A whole calendar of one listing; `is_unchanged` (then without events) when the channel says it did not change.

    `source` tells it from others: an event of another source with the same UID is another event.
    """

    ota_listing_id: str
    events: tuple[SeenEvent, ...] = ()
    refused: tuple[RefusedEvent, ...] = ()
    is_unchanged: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """What is kept of an event, by its `event_key`.

    `life` counts how often the UID came back after it was gone, `revision` the revisions of this life;
    `missing_since` is the instant of the first poll that did not show it.
    """

    start: date
    end: date
    sequence: int = 0
    state: EventState = EventState.LIVE
    life: int = 1
    revision: int = 1
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """The revisions to store, and the state to keep with them in one transaction.

    `is_fresh` is false when the feed was not believed: then nothing changed and its staleness goes on growing.
    """

    items: tuple[FeedItem, ...]
    known: Mapping[str, KnownEvent]
    is_fresh: bool = True


def changes(
    known: Mapping[str, KnownEvent],
    seen: Feed,
    now: datetime,
    grace: timedelta,
    told: Sequence[tuple[date, date]] = (),
) -> Changes:
    """What a calendar changes in what is known of it; `told` are the closed nights this connection was told.

    The same arguments give the same revision ids, so that a poll repeated after a crash stores nothing twice. A feed
    without any event is not believed while events are known: it is how calendars fail.
    """
    if not (seen.is_unchanged or seen.events or seen.refused) and _has_live(known, now):
        return Changes((), known, is_fresh=False)
    after: dict[str, KnownEvent] = {}
    items: list[FeedItem] = [_refusal(event, seen) for event in seen.refused if not event.uid.endswith(OWN_UID_SUFFIX)]
    shown = {
        event_key(seen.source, event.uid): event for event in seen.events if not event.uid.endswith(OWN_UID_SUFFIX)
    }
    unread = {event_key(seen.source, event.uid) for event in seen.refused}
    for key in sorted({*known, *shown}):
        before, event = known.get(key), shown.get(key)
        if event is not None:
            next_known = _shown(before, event, told)
        elif before is None or key in unread:
            next_known = before
        else:
            next_known = _missing(before, now, grace, is_unchanged=seen.is_unchanged)
        if next_known is None or _is_past(next_known.end, now):
            continue
        after[key] = next_known
        status = _status(before, next_known)
        if status is not None:
            items.append(_revision(key, next_known, status, seen.ota_listing_id, now))
    return Changes(tuple(items), after)


def event_key(source: str, uid: str) -> str:
    """What an event of a source is known by: UIDs are of any length and may name somebody, hence a digest."""
    return sha256(f"{source}\n{uid}".encode()).hexdigest()[:KEY_HEX_DIGITS]


def reservation_code(key: str, life: int) -> str:
    """The code of an event's life."""
    return key if life == 1 else f"{key}-{life}"


def _has_live(known: Mapping[str, KnownEvent], now: datetime) -> bool:
    return any(event.state is EventState.LIVE and not _is_past(event.end, now) for event in known.values())


def _is_past(end: date, now: datetime) -> bool:
    """Channels drop what is past, which cancels nothing; a day's margin covers every time zone."""
    return end < now.date() - ONE_DAY


def _shown(before: KnownEvent | None, event: SeenEvent, told: Sequence[tuple[date, date]]) -> KnownEvent | None:
    """What is known of an event that the feed shows."""
    if before is None or before.state is EventState.GONE:
        return _new_life(before, event, told)
    here = replace(before, missing_since=None)
    if event.sequence < before.sequence:
        # An old copy of the calendar, from a cache.
        return here
    if event.is_cancelled:
        return replace(here, state=EventState.GONE, sequence=event.sequence, revision=here.revision + 1)
    here = replace(here, sequence=event.sequence)
    if (event.start, event.end) == (before.start, before.end):
        return here
    if before.state is EventState.ECHO:
        return replace(here, start=event.start, end=event.end, state=_state(event, told))
    return replace(here, start=event.start, end=event.end, revision=here.revision + 1)


def _new_life(before: KnownEvent | None, event: SeenEvent, told: Sequence[tuple[date, date]]) -> KnownEvent | None:
    if event.is_cancelled or (before is not None and event.sequence < before.sequence):
        return before
    life = 1 if before is None else before.life + 1
    return KnownEvent(event.start, event.end, event.sequence, _state(event, told), life)


def _missing(before: KnownEvent, now: datetime, grace: timedelta, *, is_unchanged: bool) -> KnownEvent | None:
    """What is known of an event that the feed does not show."""
    if before.state is EventState.GONE or (is_unchanged and before.missing_since is None):
        return before
    if before.state is EventState.ECHO:
        return None
    since = before.missing_since or now
    if now - since < grace:
        return replace(before, missing_since=since)
    return replace(before, state=EventState.GONE, missing_since=since, revision=before.revision + 1)


def _state(event: SeenEvent, told: Sequence[tuple[date, date]]) -> EventState:
    """An event whose nights the connection was all told are closed is what it was told."""
    closed = {night for start, end in told for night in _nights(start, end)}
    return EventState.ECHO if closed.issuperset(_nights(event.start, event.end)) else EventState.LIVE


def _nights(start: date, end: date) -> Iterator[date]:
    return (start + timedelta(days=offset) for offset in range((end - start).days))


def _status(before: KnownEvent | None, after: KnownEvent) -> RevisionStatus | None:
    """The revision that leads from one state to the other; None when booking need not know."""
    was = before.state if before is not None else EventState.GONE
    if after.state is EventState.LIVE and was is not EventState.LIVE:
        return "new"
    if was is not EventState.LIVE or before is None:
        return None
    if after.state is EventState.GONE:
        return "cancelled"
    return "modified" if (before.start, before.end) != (after.start, after.end) else None


def _revision(key: str, event: KnownEvent, status: RevisionStatus, ota_listing_id: str, now: datetime) -> FeedItem:
    # The dates are in the id: after a crash the same number may come with other dates, and is then another revision.
    code = reservation_code(key, event.life)
    revision_id = f"{code}:{event.revision}:{status}:{event.start:%Y%m%d}-{event.end:%Y%m%d}"
    message = {
        "revision_id": revision_id,
        "status": status,
        "code": code,
        "ota_listing_id": ota_listing_id,
        "seen_at": now.isoformat(),
        "start": event.start.isoformat(),
        "end": event.end.isoformat(),
    }
    return FeedItem(revision_id, json.dumps(message).encode(), now)


def _refusal(event: RefusedEvent, seen: Feed) -> FeedItem:
    """An event that is refused, as a revision nobody can read: shown once to who looks after the connection."""
    revision_id = f"{event_key(seen.source, event.uid)}:refused:{event.field}:{event.code}"
    refused = {"field": event.field, "code": event.code, "reason": event.reason}
    message = {"revision_id": revision_id, "ota_listing_id": seen.ota_listing_id, "refused": refused}
    return FeedItem(revision_id, json.dumps(message).encode())
