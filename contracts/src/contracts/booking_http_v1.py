"""HTTP requests and answers of booking, public through the gateway; internal answers at the end."""

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from contracts.booking_properties_v1 import PropertySnapshot
from contracts.values import (
    MAX_NIGHTS,
    AnswerModel,
    CalendarDate,
    Currency,
    InventoryVersion,
    Location,
    LongText,
    MoneyMinor,
    Occupancy,
    RequestModel,
    ReservationStatus,
    ShortText,
    Storable,
)

LocalTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Email = Annotated[
    str, StringConstraints(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$", strip_whitespace=True), Storable
]
Phone = Annotated[str, StringConstraints(min_length=3, max_length=40, strip_whitespace=True), Storable]
MAX_GROUP_STAYS = 50
DEFAULT_HOLD_S = 15 * 60
HoldSeconds = Annotated[int, Field(strict=True, ge=1, le=7 * 24 * 3600)]
Amenity = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[a-z0-9_]+$")]


@cache
def _zones() -> frozenset[str]:
    # Reads hundreds of files.
    return frozenset(available_timezones())


def _known_zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("is not an IANA time zone name such as Europe/Lisbon")
    return ZoneInfo(value).key


TimeZoneName = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]


class PropertyCreate(RequestModel):
    """A new property. `time_zone` is an IANA name; times are local, `HH:MM`."""

    name: ShortText
    time_zone: TimeZoneName
    currency: Currency
    max_occupancy: Annotated[int, Field(strict=True, ge=1, le=100)]
    location: Location | None = None
    amenities: Annotated[list[Amenity], Field(max_length=100)] = Field(default_factory=list)
    preparation_days: Annotated[int, Field(strict=True, ge=0, le=30)] = 0
    lead_time_hours: Annotated[int, Field(strict=True, ge=0, le=8760)] = 0
    booking_window_days: Annotated[int, Field(strict=True, ge=1, le=MAX_NIGHTS)] = MAX_NIGHTS
    check_in_time: LocalTime = "15:00"
    check_out_time: LocalTime = "11:00"


class Property(AnswerModel):
    """A property as stored. `deleted_at` is there in the answer of its deletion alone: nothing reads it afterwards."""

    id: UUID
    name: str
    time_zone: str
    currency: str
    max_occupancy: int
    location: Location | None = None
    amenities: list[str]
    preparation_days: int
    lead_time_hours: int
    booking_window_days: int
    check_in_time: str
    check_out_time: str
    active: bool
    inventory_version: InventoryVersion
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


class PropertyList(AnswerModel):
    """One page of properties."""

    items: list[Property]
    next_cursor: str | None = None


class GuestInput(RequestModel):
    """The guest of a booking, created or found by e-mail within the agency."""

    name: ShortText
    email: Email
    phone: Phone | None = None


class Stay(RequestModel):
    """`check_in` is the first night, `check_out` the day of departure (exclusive)."""

    check_in: CalendarDate
    check_out: CalendarDate

    @model_validator(mode="after")
    def _whole_stay(self) -> Self:
        nights = (self.check_out - self.check_in).days
        if nights < 1:
            raise ValueError("check_out must be after check_in")
        if nights > MAX_NIGHTS:
            raise ValueError(f"a stay has at most {MAX_NIGHTS} nights")
        return self


class BookingCreate(Stay):
    """A booking: `guest` or `guest_id`, not both.

    `inquiry` blocks nothing, `confirmed` takes the nights, `pending` takes them until `hold_expires_at`. The price is
    computed here; with `expected_total_minor` a stay at another price is refused. `quote_id` names a quote of this very
    stay: one that is pinned to `hold_id` fixes the price, any other is an expected total.
    """

    property_id: UUID
    occupancy: Occupancy
    guest: GuestInput | None = None
    guest_id: UUID | None = None
    status: Literal["confirmed", "inquiry", "pending"] = "confirmed"
    hold_id: UUID | None = None
    quote_id: UUID | None = None
    notes: LongText | None = None
    expected_total_minor: MoneyMinor | None = None

    @model_validator(mode="after")
    def _one_guest(self) -> Self:
        if (self.guest is None) == (self.guest_id is None):
            raise ValueError("exactly one of guest and guest_id is required")
        if self.hold_id is not None and self.status == "inquiry":
            raise ValueError("an inquiry takes no nights, so it cannot consume a hold")
        return self


class GroupStay(Stay):
    """One stay of a group."""

    property_id: UUID
    occupancy: Occupancy
    hold_id: UUID | None = None
    quote_id: UUID | None = None
    notes: LongText | None = None


class GroupBookingCreate(RequestModel):
    """Several stays of one guest, all or nothing: `guest` or `guest_id`, not both."""

    stays: Annotated[list[GroupStay], Field(min_length=1, max_length=MAX_GROUP_STAYS)]
    guest: GuestInput | None = None
    guest_id: UUID | None = None
    status: Literal["confirmed", "pending"] = "confirmed"

    @model_validator(mode="after")
    def _one_guest(self) -> Self:
        if (self.guest is None) == (self.guest_id is None):
            raise ValueError("exactly one of guest and guest_id is required")
        return self


class BookingPatch(RequestModel):
    """The fields to change; absent ones stay. `notes: null` removes the notes."""

    check_in: CalendarDate | None = None
    check_out: CalendarDate | None = None
    occupancy: Occupancy | None = None
    property_id: UUID | None = None
    notes: LongText | None = None


class RatingPut(RequestModel):
    """The guest's rating after check-out."""

    rating: Annotated[int, Field(strict=True, ge=1, le=5)]


class TransitionRequest(RequestModel):
    """Optional body of a transition such as cancel."""

    reason: LongText | None = None


class Booking(AnswerModel):
    """A reservation. `guest_id` is absent for imported stays without a guest, `total_amount_minor` when unpriced."""

    id: UUID
    property_id: UUID
    guest_id: UUID | None = None
    check_in: date
    check_out: date
    nights: int
    status: ReservationStatus
    source: str
    occupancy: Occupancy
    total_amount_minor: int | None = None
    currency: str
    ota_name: str | None = None
    ota_reservation_code: str | None = None
    hold_expires_at: datetime | None = None
    notes: str | None = None
    inventory_version: InventoryVersion
    created_at: datetime
    updated_at: datetime
    cancelled_at: datetime | None = None
    checked_in_at: datetime | None = None
    checked_out_at: datetime | None = None
    group_id: UUID | None = None
    rating: int | None = None


class BookingList(AnswerModel):
    """One page of reservations, newest first; `next_cursor` is absent on the last page, `total` unless asked for."""

    items: list[Booking]
    next_cursor: str | None = None
    total: int | None = None


class BookingGroup(AnswerModel):
    """The reservations of a group, in the order of the request."""

    group_id: UUID
    bookings: list[Booking]


class BookingHistoryEntry(AnswerModel):
    """One change of a reservation: only the fields that differ, as they were (absent: it was new) and as they are."""

    action: str
    actor: str
    at: datetime
    trace_id: str | None = None
    property_id: UUID
    inventory_version: InventoryVersion
    before: dict[str, Any] | None = None
    after: dict[str, Any]


class BookingHistory(AnswerModel):
    """Every change of a reservation, oldest first."""

    items: list[BookingHistoryEntry]


class HoldCreate(Stay):
    """Keep the nights for `expires_in_s` seconds, 15 minutes unless said otherwise."""

    property_id: UUID
    expires_in_s: HoldSeconds = DEFAULT_HOLD_S


class HoldPatch(RequestModel):
    """Keep the nights for `expires_in_s` seconds from now on."""

    expires_in_s: HoldSeconds


class Hold(AnswerModel):
    """A hold as stored; only an `active` one keeps its nights."""

    id: UUID
    property_id: UUID
    check_in: date
    check_out: date
    state: Literal["active", "released", "expired", "consumed"]
    hold_expires_at: datetime
    inventory_version: InventoryVersion
    created_at: datetime
    updated_at: datetime


class BlockCreate(RequestModel):
    """Close the nights `[start_date, end_date)` by hand."""

    property_id: UUID
    start_date: CalendarDate
    end_date: CalendarDate
    reason: LongText | None = None

    @model_validator(mode="after")
    def _whole_range(self) -> Self:
        nights = (self.end_date - self.start_date).days
        if nights < 1:
            raise ValueError("end_date must be after start_date")
        if nights > MAX_NIGHTS:
            raise ValueError(f"a block has at most {MAX_NIGHTS} nights")
        return self


class Block(AnswerModel):
    """A block as stored; `active` is false once deleted.

    One with a `connection_id` came from a channel's calendar. It is `waiting` while other nights are in its way; an
    open conflict says which.
    """

    id: UUID
    property_id: UUID
    start_date: date
    end_date: date
    reason: str | None = None
    source: str
    active: bool
    waiting: bool = False
    connection_id: UUID | None = None
    ota_name: str | None = None
    ota_reservation_code: str | None = None
    inventory_version: InventoryVersion
    created_at: datetime
    updated_at: datetime


class BlockList(AnswerModel):
    """One page of active blocks."""

    items: list[Block]
    next_cursor: str | None = None


class ChannelConflict(AnswerModel):
    """An overbooked stay and what it competes with; closed ones keep their resolution.

    `reservation_id` names what waits; where that is a block of a channel's calendar, `block_id` names it too.
    """

    id: UUID
    property_id: UUID
    reservation_id: UUID
    block_id: UUID | None = None
    state: Literal["open", "closed"]
    check_in: date
    check_out: date
    competing_source_ids: list[UUID]
    resolution: str | None = None
    opened_at: datetime
    closed_at: datetime | None = None


class ConflictResolve(RequestModel):
    """Cancel a stay of the conflict, or move it to `property_id`; what waits unless `reservation_id` says."""

    action: Literal["cancel", "move"]
    reservation_id: UUID | None = None
    property_id: UUID | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.action == "move") != (self.property_id is not None):
            raise ValueError("property_id belongs to action move, which needs it")
        return self


class ChannelConflictList(AnswerModel):
    """One page of conflicts, oldest first."""

    items: list[ChannelConflict]
    next_cursor: str | None = None


class PropertyDigest(AnswerModel):
    """Digest of the stored ranges of one property that end after `after`; comparable only at equal versions."""

    property_id: UUID
    inventory_version: InventoryVersion
    digest: str


class PropertyDigests(AnswerModel):
    """Internal: one page of digests in property order, from booking's ledger or availability's cache.

    Whatever the ledger's page tells of was committed before database time `as_of`.
    """

    after: date
    as_of: datetime | None = None
    items: list[PropertyDigest]
    next_cursor: UUID | None = None


class PropertyState(AnswerModel):
    """Internal: the whole state of one property, read from the ledger at database time `as_of`."""

    as_of: datetime
    state: PropertySnapshot
