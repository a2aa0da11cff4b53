"""Owns what is pushed to a channel, what became of it and when to try again; called by service and adapters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from rules.calendar import NightRun, StoredRange, night_runs

FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 60.0
MAX_PAUSE_NOT_SENT_S = 10.0
MAX_RETRY_AFTER_S = 3600.0
MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class PropertyCalendar:
    """A property's state in booking's ledger at database time `as_of`, as far as a channel must know it."""

    property_id: UUID
    agency_id: UUID
    inventory_version: int
    gone: bool
    time_zone: str
    preparation_days: int
    ranges: tuple[StoredRange, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ClaimedListing:
    """A stale listing that this process alone may push until `lease_s` after the claim was asked for.

    `claimed_at` is the database's time, `dirty_version` and `sent_version` bound the state that may be sent.
    """

    listing_id: UUID
    agency_id: UUID
    connection_id: UUID
    property_id: UUID
    ota_listing_id: str
    adapter: str
    endpoint_url: str
    sealed_secret: bytes = field(repr=False)
    dirty_version: int
    sent_version: int
    attempts: int
    task_id: UUID
    lease_epoch: int
    traceparent: str | None
    claimed_at: datetime

    @property
    def oldest_version(self) -> int:
        """No state older than what we heard of, or sent before, may be sent."""
        return max(self.dirty_version, self.sent_version)


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """An HTTP request to a channel, signed and ready."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """What a channel answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OutcomeKind(StrEnum):
    """What became of one push."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one push; `runs` are the nights the channel accepted, `version` that of the state sent."""

    kind: OutcomeKind
    version: int | None = None
    runs: tuple[NightRun, ...] = ()
    error: str | None = None
    retry_after_s: float | None = None


def calendar_runs(calendar: PropertyCalendar, horizon_days: int) -> tuple[NightRun, ...]:
    """The open and closed nights from the property's local today on; all closed once the property is gone."""
    start = local_today(calendar)
    end = start + timedelta(days=horizon_days)
    if calendar.gone:
        return (NightRun(start, end, is_open=False),)
    return tuple(night_runs(calendar.ranges, calendar.preparation_days, start, end, calendar.as_of))


def local_today(calendar: PropertyCalendar) -> date:
    """The date in the property's time zone when its state was read."""
    return calendar.as_of.astimezone(ZoneInfo(calendar.time_zone)).date()


def pause_s(outcome: Outcome, attempts: int, jitter: float) -> float:
    """Seconds until the next attempt after `attempts` failed ones (at least 1); `jitter` is uniform in [0, 1).

    Doubles up to a minute, up to ten seconds when nothing was sent, because then the channel need not be spared. Half
    of it is jitter. The channel's own Retry-After is honoured, up to an hour.
    """
    longest = MAX_PAUSE_NOT_SENT_S if outcome.kind is OutcomeKind.NOT_SENT else MAX_PAUSE_S
    doubled = FIRST_PAUSE_S * 2.0 ** min(attempts - 1, MAX_DOUBLINGS)
    own = min(doubled, longest) * (0.5 + jitter / 2)
    return max(own, min(outcome.retry_after_s or 0.0, MAX_RETRY_AFTER_S))
