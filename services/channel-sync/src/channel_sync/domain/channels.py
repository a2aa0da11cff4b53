"""Owns what connections and listings are; made by repository, used by service and api."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from channel_sync.domain.night_values import NO_OVERRIDES, ListingOverrides


@dataclass(frozen=True, slots=True)
class NewConnection:
    """A connection to be made; without a secret one is made for it."""

    name: str
    adapter: str
    endpoint_url: str
    settings: dict[str, Any]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """What is to be changed of a connection; None is left as it is."""

    name: str | None
    endpoint_url: str | None
    settings: dict[str, Any] | None
    enabled: bool | None
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """What a real call to the channel came to: `status` None when it did not answer, `error` None when all is well."""

    status: int | None
    error: str | None
    duration_ms: int


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
    overrides: ListingOverrides = NO_OVERRIDES


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
    overrides: ListingOverrides
    calendar_token: UUID | None = field(default=None, repr=False)


def calendar_url(public_url: str, calendar_token: UUID) -> str:
    """Where a channel reads the calendar of a listing; whoever knows the address may."""
    return f"{public_url.rstrip('/')}/api/v1/ical/{calendar_token}.ics"


def inbound_url(public_url: str, connection_id: UUID) -> str:
    """Where the channel sends its revisions."""
    return f"{public_url.rstrip('/')}/api/v1/inbound/{connection_id}"
