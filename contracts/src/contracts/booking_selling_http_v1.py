"""HTTP requests and answers of how a property is sold: its profile's changes, stay rules, rates, fees and quotes."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.booking_http_v1 import Amenity, LocalTime, Stay, TimeZoneName
from contracts.values import (
    MAX_NIGHTS,
    AnswerModel,
    CalendarDate,
    Currency,
    Flag,
    InventoryVersion,
    LengthOfStayDiscount,
    Location,
    MoneyMinor,
    Occupancy,
    RequestModel,
    ShortText,
)

MAX_DATED = 800
MAX_BULK_ITEMS = 800
Weekday = Annotated[int, Field(ge=0, le=6, description="0 is Monday, 6 is Sunday.")]
Nights = Annotated[int, Field(strict=True, ge=1, le=MAX_NIGHTS)]
ExtraGuestFee = Annotated[int, Field(strict=True, ge=0, le=10**8, description="Per extra person and night.")]


class PropertyPatch(RequestModel):
    """The fields of the profile to change; absent ones stay."""

    name: ShortText | None = None
    time_zone: TimeZoneName | None = None
    currency: Currency | None = None
    max_occupancy: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    location: Location | None = None
    amenities: Annotated[list[Amenity], Field(max_length=100)] | None = None
    preparation_days: Annotated[int, Field(strict=True, ge=0, le=30)] | None = None
    lead_time_hours: Annotated[int, Field(strict=True, ge=0, le=8760)] | None = None
    booking_window_days: Annotated[int, Field(strict=True, ge=1, le=MAX_NIGHTS)] | None = None
    check_in_time: LocalTime | None = None
    check_out_time: LocalTime | None = None
    active: Flag | None = None


class StayRuleFields(RequestModel):
    """Restrictions of one level; an absent field leaves the level below in force, `false` lifts what it closed."""

    min_stay_arrival: Nights | None = None
    min_stay_through: Nights | None = None
    max_stay: Nights | None = None
    closed_to_arrival: Flag | None = None
    closed_to_departure: Flag | None = None
    stop_sell: Flag | None = None


class DatedStayRuleFields(StayRuleFields):
    """Restrictions of the dates `[start_date, end_date)`; without any they clear these dates."""

    start_date: CalendarDate
    end_date: CalendarDate


class StayRulesPut(RequestModel):
    """All restrictions of a property, in place of those it has. Of two dated rules for a date the later wins."""

    default: StayRuleFields = StayRuleFields()
    weekday: dict[Weekday, StayRuleFields] = Field(default_factory=dict)
    dated: Annotated[list[DatedStayRuleFields], Field(max_length=MAX_DATED)] = Field(default_factory=list)


class StayRulesPatch(RequestModel):
    """Restrictions to lay over those the property has, in this order."""

    items: Annotated[list[DatedStayRuleFields], Field(min_length=1, max_length=MAX_BULK_ITEMS)]


class DatedRateFields(RequestModel):
    """The nightly rate of the dates `[start_date, end_date)`; null clears these dates."""

    start_date: CalendarDate
    end_date: CalendarDate
    rate_minor: MoneyMinor | None


class RatesPut(RequestModel):
    """All rates and fees of a property, in place of those it has, in minor units of its currency."""

    default_minor: MoneyMinor | None = None
    weekday_minor: dict[Weekday, MoneyMinor] = Field(default_factory=dict)
    dated: Annotated[list[DatedRateFields], Field(max_length=MAX_DATED)] = Field(default_factory=list)
    cleaning_fee_minor: MoneyMinor = 0
    extra_guest_fee_minor: ExtraGuestFee = 0
    included_guests: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    length_of_stay_discounts: Annotated[list[LengthOfStayDiscount], Field(max_length=20)] = Field(default_factory=list)


class RatesPatch(RequestModel):
    """Rates to lay over those the property has, in this order."""

    items: Annotated[list[DatedRateFields], Field(min_length=1, max_length=MAX_BULK_ITEMS)]


class StayRuleAnswer(AnswerModel):
    """Restrictions of one level; an absent field leaves the level below in force."""

    min_stay_arrival: int | None = None
    min_stay_through: int | None = None
    max_stay: int | None = None
    closed_to_arrival: bool | None = None
    closed_to_departure: bool | None = None
    stop_sell: bool | None = None


class DatedStayRuleAnswer(StayRuleAnswer):
    """Restrictions of the dates `[start_date, end_date)`."""

    start_date: date
    end_date: date


class PropertyStayRules(AnswerModel):
    """All restrictions of a property; the dated ones sorted and apart."""

    property_id: UUID
    inventory_version: InventoryVersion
    default: StayRuleAnswer
    weekday: dict[int, StayRuleAnswer]
    dated: list[DatedStayRuleAnswer]


class DatedRateAnswer(AnswerModel):
    """The nightly rate of the dates `[start_date, end_date)`."""

    start_date: date
    end_date: date
    rate_minor: int


class PropertyRates(AnswerModel):
    """All rates and fees of a property in minor units of its currency; the dated rates sorted and apart."""

    property_id: UUID
    inventory_version: InventoryVersion
    currency: str
    default_minor: int | None = None
    weekday_minor: dict[int, int]
    dated: list[DatedRateAnswer]
    cleaning_fee_minor: int
    extra_guest_fee_minor: int
    included_guests: int | None = None
    length_of_stay_discounts: list[LengthOfStayDiscount]


class BulkItem(AnswerModel):
    """What became of one item of a bulk change; `detail` says why it was refused."""

    index: int
    status: Literal["applied", "refused"]
    detail: str | None = None


class BulkResult(AnswerModel):
    """What became of each item of a bulk change, in the order of the request."""

    property_id: UUID
    inventory_version: InventoryVersion
    items: list[BulkItem]


class QuoteCreate(Stay):
    """Ask what a stay costs. With `hold_id` the price is fixed as long as that hold lives, which keeps these nights."""

    property_id: UUID
    occupancy: Occupancy
    hold_id: UUID | None = None


class QuoteNight(AnswerModel):
    """The rate of one night, before fees and discount."""

    date: date
    rate_minor: int


class Quote(AnswerModel):
    """What a stay costs: `total = accommodation - discount + extra_guest + cleaning_fee`; absent amounts: unpriced.

    `POST /bookings` takes `quote_id`, the same as `id`, until `expires_at`. A quote with a `hold_id` is pinned to that
    hold: its price holds as long as the hold does, however often that is extended. Any other promises nothing beyond
    now: a booking at another price is refused. `rules_version` is the version of the property's last change of profile,
    rules or rates.
    """

    id: UUID | None = None
    quote_id: UUID | None = None
    property_id: UUID
    hold_id: UUID | None = None
    check_in: date
    check_out: date
    currency: str
    rules_version: InventoryVersion
    nights: list[QuoteNight]
    accommodation_minor: int | None = None
    discount_minor: int | None = None
    extra_guest_minor: int | None = None
    cleaning_fee_minor: int | None = None
    total_minor: int | None = None
    occupancy: Occupancy | None = None
    expires_at: datetime | None = None
    created_at: datetime | None = None
