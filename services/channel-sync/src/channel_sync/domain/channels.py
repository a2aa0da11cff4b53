"""Owns what connections, listings and operations are; made by repository, used by service and api."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewConnection:
    """A connection to be made; without a secret one is made for it."""

    name: str
    adapter: str
    endpoint_url: str
    settings: dict[str, Any]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as stored, without its secret."""

    id: UUID
    name: str
    adapter: str
    endpoint_url: str
    settings: dict[str, Any]
    enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Door:
    """What an inbound revision needs to know of the connection it names, and the database's time."""

    connection_id: UUID
    agency_id: UUID
    adapter: str
    sealed_secret: bytes = field(repr=False)
    now: datetime


@dataclass(frozen=True, slots=True)
class NewListing:
    """A listing of a channel to be mapped to a property."""

    property_id: UUID
    ota_listing_id: str
    ota_rate_plan_id: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A mapped listing; stale while the channel must be told something."""

    id: UUID
    connection_id: UUID
    property_id: UUID
    ota_listing_id: str
    ota_rate_plan_id: str | None
    stale_since: datetime | None
    pushed_version: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Operation:
    """One attempt against a channel; attempts of one task share its `task_id`."""

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
    duration_ms: int | None
    trace_id: str | None
    created_at: datetime
    updated_at: datetime


def inbound_url(public_url: str, connection_id: UUID) -> str:
    """Where the channel sends its revisions."""
    return f"{public_url.rstrip('/')}/api/v1/inbound/{connection_id}"
