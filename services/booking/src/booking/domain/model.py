"""The records of booking as the domain sees them; read by repository, decided on by the other domain modules."""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from rules.calendar import StoredRange
from rules.quotes import Fees, Rates
from rules.stay_rules import RequestedStay, SellingConditions, SellingTerms, StayRules

OCCUPYING = frozenset({"pending", "confirmed", "checked_in"})


@dataclass(frozen=True, slots=True)
class Property:
    """A property and the versions of its inventory; `check_in_time` and `check_out_time` are local, `HH:MM`."""

    id: UUID
    agency_id: UUID
    name: str
    time_zone: str
    currency: str
    max_occupancy: int
    preparation_days: int
    lead_time_hours: int
    booking_window_days: int
    check_in_time: str
    check_out_time: str
    latitude: float | None = None
    longitude: float | None = None
    amenities: tuple[str, ...] = ()
    active: bool = True
    inventory_version: int = 0
    rules_version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None

    @property
    def conditions(self) -> SellingConditions:
        """What decides whether a stay may be sold."""
        return SellingConditions(
            self.time_zone,
            self.max_occupancy,
            self.lead_time_hours,
            self.booking_window_days,
            time.fromisoformat(self.check_in_time),
            self.active,
        )

    def occupied_end(self, stay_end: date) -> date:
        """End of the range a stay occupies: preparation days follow the departure."""
        return stay_end + timedelta(days=self.preparation_days)


@dataclass(frozen=True, slots=True)
class PropertyTerms:
    """Stay rules, nightly rates and fees of a property."""

    rules: StayRules = field(default_factory=StayRules)
    rates: Rates = field(default_factory=Rates)
    fees: Fees = field(default_factory=Fees)

    def selling(self, owner: Property) -> SellingTerms:
        """Everything a stay of the property is judged and priced by."""
        return SellingTerms(owner.conditions, self.rules, self.rates, self.fees, owner.currency)


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest of an agency; `email_normalised` finds them again."""

    id: UUID
    agency_id: UUID
    name: str
    email: str | None
    phone: str | None

    @property
    def email_normalised(self) -> str | None:
        """The e-mail as compared: trimmed, case folded."""
        return normalise_email(self.email)


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """A guest with their figures; `total_spent` is in minor units by currency."""

    guest: Guest
    total_bookings: int
    total_spent: dict[str, int]
    first_booking_at: datetime | None
    last_booking_at: datetime | None
    average_rating: float | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    erased_at: datetime | None


def normalise_email(email: str | None) -> str | None:
    """The form under which an e-mail address is looked up."""
    return email.strip().casefold() if email else None


@dataclass(frozen=True, slots=True)
class ChannelReference:
    """Where an OTA reservation comes from."""

    connection_id: UUID
    ota_name: str
    ota_reservation_code: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """One stay of one guest in one property; `total_amount_minor` is None while nobody priced it.

    Reservations made together share a `group_id`.
    """

    id: UUID
    agency_id: UUID
    property_id: UUID
    guest_id: UUID | None
    check_in: date
    check_out: date
    status: str
    source: str
    adults: int
    children: int
    infants: int
    currency: str
    total_amount_minor: int | None = None
    notes: str | None = None
    channel: ChannelReference | None = None
    group_id: UUID | None = None
    hold_expires_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    checked_in_at: datetime | None = None
    checked_out_at: datetime | None = None
    rating: int | None = None
    inventory_version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def nights(self) -> int:
        """Difference of calendar dates, never of hours: a DST change has no say."""
        return (self.check_out - self.check_in).days

    @property
    def requested(self) -> RequestedStay:
        """As it is judged: infants do not count."""
        return RequestedStay(self.check_in, self.check_out, self.adults + self.children)


@dataclass(frozen=True, slots=True)
class Hold:
    """Nights kept for somebody until an instant; `state` is active, released, expired or consumed."""

    id: UUID
    agency_id: UUID
    property_id: UUID
    check_in: date
    check_out: date
    hold_expires_at: datetime
    state: str = "active"
    inventory_version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredQuote:
    """A price that was told for a stay until an instant; `total_minor` is None while the property is unpriced.

    With `hold_id` it is pinned: the price is fixed as long as that hold is active, whatever `expires_at` says.
    """

    id: UUID
    agency_id: UUID
    property_id: UUID
    hold_id: UUID | None
    check_in: date
    check_out: date
    adults: int
    children: int
    infants: int
    currency: str
    total_minor: int | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Block:
    """Nights closed by hand or by a channel's calendar; `waiting` while other nights are in an imported one's way."""

    id: UUID
    agency_id: UUID
    property_id: UUID
    start_date: date
    end_date: date
    reason: str | None
    source: str
    active: bool
    inventory_version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    channel: ChannelReference | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """An overbooked stay, or an imported block, and the sources it competes with."""

    id: UUID
    agency_id: UUID
    property_id: UUID
    source_id: UUID
    state: str
    check_in: date
    check_out: date
    competing_source_ids: tuple[UUID, ...]
    resolution: str | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    is_of_block: bool = False


@dataclass(frozen=True, slots=True)
class RevisionDecision:
    """What became of one OTA revision."""

    agency_id: UUID
    property_id: UUID
    channel: ChannelReference
    revision_id: str
    revision_no: int
    outcome: str
    reason: str | None = None
    reservation_id: UUID | None = None
    block_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One state change: exactly one inventory version and one event.

    `event` is the event's type; the records are the states after the change, None when the change has none. `moved`
    says from and to which property a reservation moved: both properties have such a change, in this order. Of a changed
    property `sections` names what changed: profile, stay_rules, rates; `terms` is stored when one of the latter did.
    """

    property_id: UUID
    event: str
    released: tuple[StoredRange, ...] = ()
    occupied: tuple[StoredRange, ...] = ()
    property: Property | None = None
    terms: PropertyTerms | None = None
    sections: frozenset[str] = frozenset()
    guest: Guest | None = None
    reservation: Reservation | None = None
    hold: Hold | None = None
    block: Block | None = None
    conflict: Conflict | None = None
    revision: RevisionDecision | None = None
    moved: tuple[UUID, UUID] | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of a reservation: only the fields that differ, as they were (None: it was new) and as they are."""

    reservation_id: UUID
    property_id: UUID
    inventory_version: int
    action: str
    actor: str
    trace_id: str | None
    at: datetime
    before: dict[str, Any] | None
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Where a list goes on: records before (`created_at`, `id`) in its order."""

    limit: int
    created_at: datetime | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ReservationFilter:
    """Which reservations a list shows; None leaves a filter out. The window `[from_date, to_date)` meets the stay.

    The fields stand in the order of the statement's parameters.
    """

    property_id: UUID | None = None
    guest_id: UUID | None = None
    status: str | None = None
    source: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    updated_since: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class WaitingStay:
    """An overbooked reservation, or an imported block that found its nights taken, and its open conflict."""

    conflict: Conflict
    wanted: Reservation | Block


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A property's inventory read under its lock: active ranges, waiting stays oldest first, what is overdue."""

    property: Property
    now: datetime
    ranges: tuple[StoredRange, ...]
    waiting: tuple[WaitingStay, ...]
    overdue: tuple[Reservation, ...]
    overdue_holds: tuple[Hold, ...] = ()

    def ranges_of(self, source_id: UUID) -> tuple[StoredRange, ...]:
        """The active ranges of one reservation, block or hold."""
        return tuple(stored for stored in self.ranges if stored.source_id == source_id)
