"""Events of `booking.reservations.v1`: every committed change of a property's inventory, written by booking."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.values import (
    EventModel,
    Instant,
    InventoryRange,
    InventoryVersion,
    Occupancy,
    PropertyProfile,
    Rates,
    ReservationStatus,
    RevisionOutcome,
    StayRules,
)


class ChannelOrigin(EventModel):
    """The OTA revision that caused a change, and what became of it."""

    connection_id: UUID
    ota_name: str
    ota_reservation_code: str
    revision_id: str
    revision_no: int
    outcome: RevisionOutcome
    reason: str | None = None


class InventoryChange(EventModel):
    """What every change carries.

    `inventory_version` is gapless per property. `commit_version` is the highest version the same transaction gave
    this property: a cache shows the versions up to it together, so a state that never was committed is never served.
    `occupied` and `released` may be empty.
    """

    property_id: UUID
    inventory_version: InventoryVersion
    commit_version: InventoryVersion
    occupied: list[InventoryRange] = Field(default_factory=list)
    released: list[InventoryRange] = Field(default_factory=list)
    channel: ChannelOrigin | None = None


class ReservationChange(InventoryChange):
    """A change of one reservation, with its state after the change; never a guest's name, e-mail or phone."""

    reservation_id: UUID
    status: ReservationStatus
    source: str
    check_in: date
    check_out: date
    nights: int
    occupancy: Occupancy
    guest_id: UUID | None = None
    group_id: UUID | None = None
    ota_name: str | None = None
    ota_reservation_code: str | None = None
    total_amount_minor: int | None = None
    currency: str | None = None
    hold_expires_at: Instant | None = None


class ReservationInquired(ReservationChange):
    """A guest asked without blocking nights."""


class ReservationRequested(ReservationChange):
    """A pending reservation was taken; its range carries `expires_at`."""


class ReservationConfirmed(ReservationChange):
    """A reservation holds its nights."""


class ReservationModified(ReservationChange):
    """Dates, occupancy, amount or notes of a reservation changed."""


class ReservationMoved(ReservationChange):
    """A reservation left this property for another, or came from another; written once per property."""

    from_property_id: UUID
    to_property_id: UUID


class ReservationCancelled(ReservationChange):
    """A reservation was cancelled; its nights are released."""


class ReservationDeclined(ReservationChange):
    """The host refused an inquiry or a pending reservation."""


class ReservationExpired(ReservationChange):
    """A pending reservation ran out of time."""


class ReservationCheckedIn(ReservationChange):
    """The guest arrived."""


class ReservationCheckedOut(ReservationChange):
    """The guest left; remaining nights are released."""


class ReservationNoShow(ReservationChange):
    """The guest never came; the nights are released."""


class ReservationOverbooked(ReservationChange):
    """An OTA sold nights that were taken; the still-free ones are occupied by conflict ranges."""


class ReservationRated(ReservationChange):
    """The guest's rating was recorded."""

    rating: Annotated[int, Field(ge=1, le=5)]


class HoldChange(InventoryChange):
    """A change of one hold, with its state after the change."""

    hold_id: UUID
    check_in: date
    check_out: date
    hold_expires_at: Instant


class HoldPlaced(HoldChange):
    """Nights are held for a while."""


class HoldExtended(HoldChange):
    """A hold runs longer."""


class HoldReleased(HoldChange):
    """A hold was given back."""


class HoldExpired(HoldChange):
    """A hold ran out of time."""


class HoldConsumed(HoldChange):
    """A hold became a reservation; the reservation's own event follows in the same commit."""


class BlockChange(InventoryChange):
    """A change of one block, with its state after the change.

    `waiting`: an imported block that found nights taken; it holds the others as conflict ranges.
    """

    block_id: UUID
    start_date: date
    end_date: date
    source: str
    waiting: bool = False


class BlockCreated(BlockChange):
    """Nights were closed by hand or by an imported calendar."""


class BlockModified(BlockChange):
    """A block covers other nights."""


class BlockDeleted(BlockChange):
    """A block was removed; its nights are released."""


class ConflictChange(InventoryChange):
    """A change of one conflict: an overbooked stay and the ranges it competes with.

    `reservation_id` names what waits; where that is an imported block, `block_id` names it too.
    """

    conflict_id: UUID
    reservation_id: UUID
    block_id: UUID | None = None
    check_in: date
    check_out: date
    competing_source_ids: list[UUID] = Field(default_factory=list)


class ConflictOpened(ConflictChange):
    """An overbooked stay waits for nights others hold."""


class ConflictChanged(ConflictChange):
    """The conflict's ranges or competitors were dealt again."""


class ConflictClosed(ConflictChange):
    """The conflict is over: the stay got its nights, or gave them up."""

    resolution: str


class PropertyChange(InventoryChange):
    """A change of the property itself; the changed sections travel whole, unchanged ones are absent.

    `rules_version` is the version of the last change of profile, stay rules or rates.
    """

    rules_version: InventoryVersion
    profile: PropertyProfile | None = None
    stay_rules: StayRules | None = None
    rates: Rates | None = None


class PropertyCreated(PropertyChange):
    """A property exists; version 1 of its inventory, all sections present."""


class PropertyChanged(PropertyChange):
    """Profile, stay rules or rates changed."""


class PropertyDeleted(PropertyChange):
    """The property is gone for good: nothing of it is sold any more. Only what OTAs still tell of it may follow."""


class ChannelRevisionApplied(InventoryChange):
    """An OTA revision that changed no reservation got its outcome (duplicate, superseded, echo)."""

    reservation_id: UUID | None = None
    block_id: UUID | None = None


class GuestErased(InventoryChange):
    """A guest's personal data was erased from one reservation; ids only."""

    guest_id: UUID
    reservation_id: UUID
    connection_id: UUID | None = None
    ota_reservation_code: str | None = None


class Watermark(EventModel):
    """The relay left nothing older than `database_time` unsent on this partition. Takes no version.

    But of the keys that are `held_back`: their events wait for a resync behind one that cannot be sent, and nothing is
    said about them.
    """

    partition: int
    database_time: Instant
    held_back: list[UUID] = Field(default_factory=list)


CHANGES: tuple[type[InventoryChange], ...] = (
    ReservationInquired,
    ReservationRequested,
    ReservationConfirmed,
    ReservationModified,
    ReservationMoved,
    ReservationCancelled,
    ReservationDeclined,
    ReservationExpired,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationNoShow,
    ReservationOverbooked,
    ReservationRated,
    HoldPlaced,
    HoldExtended,
    HoldReleased,
    HoldExpired,
    HoldConsumed,
    BlockCreated,
    BlockModified,
    BlockDeleted,
    ConflictOpened,
    ConflictChanged,
    ConflictClosed,
    PropertyCreated,
    PropertyChanged,
    PropertyDeleted,
    ChannelRevisionApplied,
    GuestErased,
)
