"""Owns a claim on stale listings of one connection, and what became of each; made by repository, used by service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from channel_sync.domain.ari import ChannelTarget, NightValues, ValueRun
from channel_sync.domain.batches import AVAILABILITY_UPDATE, PRICING_UPDATE
from channel_sync.domain.channels import Listing
from channel_sync.domain.night_values import ListingOverrides

NOTHING_KNOWN = NightValues(available=1)


@dataclass(frozen=True, slots=True)
class ClaimedConnection:
    """A connection some of whose listings this process alone may push; `claimed_at` is the database's time.

    `failures` are the calls in a row that found no working channel.
    """

    connection_id: UUID
    agency_id: UUID
    adapter: str
    endpoint_url: str
    sealed_secret: bytes = field(repr=False)
    settings: Mapping[str, Any]
    failures: int
    claimed_at: datetime

    def target(self, secret: str) -> ChannelTarget:
        """What the adapter needs to know of it."""
        return ChannelTarget(self.endpoint_url, secret, self.settings)


@dataclass(frozen=True, slots=True)
class ClaimedListing:
    """A stale listing that this process alone may push until its lease is over.

    `dirty_version` and `sent_version` bound the state that may be sent. `accepted` are the nights the channel last
    accepted, None when that is not known. `asks` counts what was asked for before the claim.
    """

    listing_id: UUID
    property_id: UUID
    ota_listing_id: str
    ota_rate_plan_id: str | None
    dirty_version: int
    sent_version: int
    accepted: tuple[ValueRun, ...] | None
    overrides: ListingOverrides
    attempts: int
    task_id: UUID
    lease_epoch: int
    traceparent: str | None
    stale_since: datetime
    changed_at: datetime | None
    batch_id: UUID | None
    asked_for: tuple[str, ...]
    asks: int

    @property
    def oldest_version(self) -> int:
        """No state older than what we heard of, or sent before, may be sent."""
        return max(self.dirty_version, self.sent_version)

    def task_of(self, operation_type: str) -> UUID:
        """The task of one kind since the listing became stale: every attempt has the same."""
        return uuid5(self.task_id, operation_type)


@dataclass(frozen=True, slots=True)
class Claim:
    """Stale listings of one connection, leased together."""

    connection: ClaimedConnection
    listings: tuple[ClaimedListing, ...]


@dataclass(frozen=True, slots=True)
class HeldListing:
    """A listing and the nights its channel last accepted, None when that is not known."""

    listing: Listing
    accepted: tuple[ValueRun, ...] | None
    overrides: ListingOverrides


def operation_types(accepted: tuple[ValueRun, ...] | None, told: tuple[ValueRun, ...]) -> tuple[str, ...]:
    """What kinds of work it is to tell these nights: availability, prices with restrictions, or both.

    Of nights of which nothing is known availability is told always, the rest where it says anything.
    """
    known = {run.start.fromordinal(day): run.values for run in accepted or () for day in _days(run)}
    kinds: set[str] = set()
    for run in told:
        for day in _days(run):
            before = known.get(run.start.fromordinal(day))
            if before is None or before.available != run.values.available:
                kinds.add(AVAILABILITY_UPDATE)
            if _priced(before or NOTHING_KNOWN) != _priced(run.values):
                kinds.add(PRICING_UPDATE)
    return tuple(sorted(kinds))


def _days(run: ValueRun) -> range:
    return range(run.start.toordinal(), run.end.toordinal())


def _priced(values: NightValues) -> tuple[object, ...]:
    """Everything but availability."""
    return (
        values.rate_minor,
        values.min_stay_arrival,
        values.min_stay_through,
        values.max_stay,
        values.closed_to_arrival,
        values.closed_to_departure,
        values.stop_sell,
    )
