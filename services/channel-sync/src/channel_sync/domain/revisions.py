"""Owns what a channel's revision is once it is read, and the order of revisions; called by service and adapters."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID

MAX_REVISION_BYTES = 256 * 1024
MAX_STAYS = 100
"""Stays one booking of a channel may have."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RevisionStatus = Literal["new", "modified", "cancelled"]
RevisionKind = Literal["reservation", "block"]
Source = Literal["webhook", "kafka", "feed"]

PUBLISHED = "published"
UNMAPPED = "unmapped"
UNPARSEABLE = "unparseable"


@dataclass(frozen=True, slots=True)
class Party:
    """Who stays."""

    adults: int
    children: int
    infants: int


@dataclass(frozen=True, slots=True)
class Guest:
    """The guest as the channel named them; never in a log line or a trace, hence no repr."""

    name: str = field(repr=False)
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedRevision:
    """One revision of one reservation, read from a channel's bytes by its adapter.

    Unless it is a cancellation, both dates are there and `check_out` is after `check_in`. Where one booking of the
    channel holds several rooms, this is the first and `others` are the rest, in the channel's order; each has a
    reservation code of its own: the first plainly that of the booking, the n-th with `room_suffix(n)` behind it.
    """

    revision_id: str
    status: RevisionStatus
    ota_name: str
    ota_reservation_code: str
    ota_listing_id: str
    published_at: datetime | None = None
    check_in: date | None = None
    check_out: date | None = None
    party: Party | None = None
    guest: Guest | None = None
    total_amount_minor: int | None = None
    currency: str | None = None
    others: tuple["ParsedRevision", ...] = ()
    kind: RevisionKind = "reservation"


def stays_of(revision: ParsedRevision) -> tuple[ParsedRevision, ...]:
    """The stays of a booking, each by itself, in the channel's order."""
    return (replace(revision, others=()), *revision.others)


def cancellation_of(revision: ParsedRevision, number: int, ota_listing_id: str) -> ParsedRevision:
    """A revision that does not name the `number`-th stay of its booking any more cancels it."""
    first, suffix = stays_of(revision)[0], room_suffix(number)
    return ParsedRevision(
        revision_id=first.revision_id + suffix,
        status="cancelled",
        ota_name=first.ota_name,
        ota_reservation_code=first.ota_reservation_code + suffix,
        ota_listing_id=ota_listing_id,
        published_at=first.published_at,
    )


def room_suffix(number: int) -> str:
    """What the codes of the `number`-th stay of a booking end with, counted from 1; nothing for the first."""
    return "" if number == 1 else f"#{number}"


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """One row of our history of revisions, without the bytes."""

    log_id: UUID
    connection_id: UUID
    revision_id: str
    ota_reservation_code: str | None
    revision_no: int | None
    state: str
    reason: str | None
    reservation_id: UUID | None
    block_id: UUID | None
    received_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class PendingRevision:
    """A stored revision that is to be handed over to booking (again), with its bytes."""

    log_id: UUID
    agency_id: UUID
    connection_id: UUID
    property_id: UUID
    adapter: str
    revision_id: str
    ota_reservation_code: str
    ota_listing_id: str
    revision_no: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """What the channel is told: its revision is durable under `log_id`; `is_new` is false for a duplicate."""

    revision_id: str
    log_id: UUID
    is_new: bool


@dataclass(frozen=True, slots=True)
class RevisionResult:
    """What booking decided about a revision."""

    connection_id: UUID
    revision_id: str
    outcome: str
    reason: str | None
    reservation_id: UUID | None
    block_id: UUID | None


def microseconds(instant: datetime) -> int:
    """Whole microseconds since 1970 UTC, exactly."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def next_revision_no(published_at: datetime | None, received_at: datetime, taken: Collection[int]) -> int:
    """The number of a new revision among those of its reservation; `taken` are the numbers given before.

    The channel's own order decides: the microsecond of publication, moved up to the next free number when it is
    taken, so that of two revisions with one instant the later arrival is the newer one. Without an instant the
    arrival decides: such a revision is newer than all before it.
    """
    if published_at is None:
        return max(microseconds(received_at), max(taken, default=0) + 1)
    number = microseconds(published_at)
    while number in taken:
        number += 1
    return number
