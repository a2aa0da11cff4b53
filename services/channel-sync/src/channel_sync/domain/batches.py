"""Owns what batches and operations are and how they are told apart; made by repository, used by service and api."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

AVAILABILITY_UPDATE = "availability_update"
PRICING_UPDATE = "pricing_update"
BOOKINGS_SYNC = "bookings_sync"
BOOKINGS = "bookings"
CHANGES = "changes"
"""The type of a batch nobody asked for: changes that were told together."""

OPERATIONS_OF: Mapping[str, tuple[str, ...]] = {
    "full": (AVAILABILITY_UPDATE, PRICING_UPDATE),
    "availability": (AVAILABILITY_UPDATE,),
    "pricing": (PRICING_UPDATE,),
    BOOKINGS: (),
}
"""What a synchronisation does at each listing."""
READS_BOOKINGS = frozenset(("full", BOOKINGS))
"""What also asks the channel for its revisions, once, where the adapter does that."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One attempt against a channel, or one that is to come; attempts of one task share its `task_id`.

    `staleness_ms` is the time from the commit of the oldest change told to its acceptance. `payload_digest` is the
    SHA-256 of what was sent.
    """

    log_id: UUID
    connection_id: UUID
    listing_id: UUID | None
    batch_id: UUID | None
    task_id: UUID
    operation_type: str
    direction: str
    status: str
    inventory_version: int | None
    error: str | None
    error_class: str | None
    attempt: int
    payload_digest: str | None
    staleness_ms: int | None
    duration_ms: int | None
    trace_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Work of one connection that belongs together, and how it stands."""

    batch_id: UUID
    connection_id: UUID
    sync_type: str
    batch_status: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ListingStaleness:
    """How far a channel is behind with one listing: since when (database time), and why it was not told."""

    listing_id: UUID
    property_id: UUID
    ota_listing_id: str
    stale_since: datetime | None
    age_ms: int | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Delays:
    """How long changes took to their acceptance by the channel, over the last day.

    `counts` has one number for each bound of `DELAY_BOUNDS_MS`, those up to it and above the one before, and a last one
    for all above.
    """

    told: int
    p50_ms: float | None
    p99_ms: float | None
    counts: tuple[int, ...]


DELAY_BOUNDS_MS = (100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000)
