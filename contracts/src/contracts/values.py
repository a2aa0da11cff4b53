"""Value types shared by every contract; used by the event and HTTP models of this package."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

EARLIEST_DATE = date(2000, 1, 1)
LATEST_DATE = date(2100, 12, 31)
MAX_NIGHTS = 730


def storable(value: str) -> str:
    """The text, or `ValueError` for one that JSON can spell and no database takes."""
    if "\0" in value:
        raise ValueError("holds the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character (a lone surrogate)") from error
    return value


def _written_as_date(value: object) -> object:
    # pydantic takes numbers, and texts that are numbers, for seconds since 1970.
    if isinstance(value, str) and not (len(value) == 10 and value[4] == value[7] == "-"):
        raise ValueError("must be a date such as 2027-01-31")
    if isinstance(value, int | float):
        raise ValueError("must be a date such as 2027-01-31")
    return value


Storable = AfterValidator(storable)
CalendarDate = Annotated[date, Field(ge=EARLIEST_DATE, le=LATEST_DATE), BeforeValidator(_written_as_date)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
MoneyMinor = Annotated[int, Field(strict=True, ge=0, le=10**12, description="Integer minor units of the currency.")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Storable]
LongText = Annotated[str, StringConstraints(max_length=2000), Storable]
Code = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Flag = Annotated[bool, Field(strict=True)]
InventoryVersion = Annotated[int, Field(ge=0, description="Gapless version of one property's inventory.")]
Instant = AwareDatetime


class EventModel(BaseModel):
    """Base of everything on a topic: immutable; unknown fields are ignored, so a v1 may gain optional ones."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RequestModel(BaseModel):
    """Base of every HTTP request body: an unknown field is an error the caller is told about."""

    model_config = ConfigDict(extra="forbid")


class AnswerModel(BaseModel):
    """Base of every HTTP answer; a client ignores fields it does not know."""

    model_config = ConfigDict(extra="ignore")


class ReservationStatus(StrEnum):
    """Where a reservation stands."""

    INQUIRY = "inquiry"
    PENDING = "pending"
    CONFIRMED = "confirmed"
    CHECKED_IN = "checked_in"
    CHECKED_OUT = "checked_out"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NO_SHOW = "no_show"
    OVERBOOKED = "overbooked"


class RangeKind(StrEnum):
    """What occupies a stored range of nights."""

    RESERVATION = "reservation"
    BLOCK = "block"
    HOLD = "hold"
    CONFLICT = "conflict"


class RevisionOutcome(StrEnum):
    """What became of one OTA revision."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    PARKED = "parked"
    UNMAPPED = "unmapped"
    UNPARSEABLE = "unparseable"
    ECHO = "echo"
    DEAD_LETTERED = "dead_lettered"


class DateRange(EventModel):
    """Half-open range of nights `[start_date, end_date)`."""

    start_date: date
    end_date: date

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end_date <= self.start_date:
            raise ValueError("end_date must be after start_date")
        return self


class Occupancy(BaseModel):
    """Who stays: at least one adult; infants do not count against `max_occupancy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adults: Annotated[int, Field(strict=True, ge=1, le=100)]
    children: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    infants: Annotated[int, Field(strict=True, ge=0, le=100)] = 0


class Location(BaseModel):
    """A point on the globe, WGS 84, in degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latitude: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-90, le=90)]
    longitude: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-180, le=180)]


class InventoryRange(EventModel):
    """One stored range of a property's ledger.

    `stay` is what was asked for; `occupied` is `stay` plus the preparation days in force when it was written.
    Ranges of holds and pending reservations carry `expires_at`.
    """

    range_id: UUID
    kind: RangeKind
    source_id: UUID
    stay: DateRange
    occupied: DateRange
    expires_at: Instant | None = None


class StayRule(EventModel):
    """Restrictions of one level (default, weekday or dated); an absent field leaves the level below in force."""

    min_stay_arrival: Annotated[int, Field(ge=1, le=MAX_NIGHTS)] | None = None
    min_stay_through: Annotated[int, Field(ge=1, le=MAX_NIGHTS)] | None = None
    max_stay: Annotated[int, Field(ge=1, le=MAX_NIGHTS)] | None = None
    closed_to_arrival: bool | None = None
    closed_to_departure: bool | None = None
    stop_sell: bool | None = None


class DatedStayRule(StayRule):
    """A rule for the dates `[start_date, end_date)`."""

    start_date: date
    end_date: date


class StayRules(EventModel):
    """All restrictions of a property; `weekday` keys are 0 (Monday) to 6 (Sunday)."""

    default: StayRule = StayRule()
    weekday: dict[int, StayRule] = Field(default_factory=dict)
    dated: list[DatedStayRule] = Field(default_factory=list, max_length=800)


class DatedRate(EventModel):
    """The nightly rate of the dates `[start_date, end_date)`."""

    start_date: date
    end_date: date
    rate_minor: MoneyMinor


class LengthOfStayDiscount(BaseModel):
    """From `min_nights` nights on this part of the accommodation is off; 10,000 basis points are all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_nights: Annotated[int, Field(strict=True, ge=1, le=MAX_NIGHTS)]
    basis_points: Annotated[int, Field(strict=True, ge=0, le=10_000)]


class Rates(EventModel):
    """Nightly rates in minor units of the property's currency; `weekday` keys are 0 (Monday) to 6 (Sunday).

    The cleaning fee is per stay, the extra-guest fee per night and person above `included_guests` (None: nobody is
    extra).
    """

    default_minor: MoneyMinor | None = None
    weekday_minor: dict[int, MoneyMinor] = Field(default_factory=dict)
    dated: list[DatedRate] = Field(default_factory=list, max_length=800)
    cleaning_fee_minor: MoneyMinor = 0
    extra_guest_fee_minor: MoneyMinor = 0
    included_guests: int | None = None
    length_of_stay_discounts: list[LengthOfStayDiscount] = Field(default_factory=list)


class PropertyProfile(EventModel):
    """What a property is, and the conditions under which it is sold."""

    name: str
    time_zone: str
    currency: str
    max_occupancy: int
    preparation_days: int = 0
    lead_time_hours: int = 0
    booking_window_days: int = MAX_NIGHTS
    check_in_time: str = "15:00"
    check_out_time: str = "11:00"
    location: Location | None = None
    amenities: list[str] = Field(default_factory=list)
    active: bool = True
