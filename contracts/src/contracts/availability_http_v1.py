"""HTTP questions and answers of availability, public through the gateway.

Every answer says how fresh it is: `as_of` is booking's database time up to which it is complete, `lag_ms` its age in
milliseconds, `source` is `cache` (availability's memory) or `ledger` (asked of booking for this request). One over
several properties carries the oldest of each.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.booking_http_v1 import Amenity, Stay
from contracts.problems import Violation
from contracts.values import AnswerModel, CalendarDate, Currency, InventoryVersion, Occupancy, RequestModel

MAX_PROPERTIES = 50
MAX_DAYS = 365
Source = Literal["cache", "ledger"]
Reason = Literal[
    "reservation",
    "block",
    "hold",
    "conflict",
    "preparation",
    "stop_sell",
    "no_rate",
    "closed_to_arrival",
    "closed_to_departure",
    "min_stay",
    "lead_time",
    "booking_window",
    "past",
    "inactive",
]


ReadVersion = Annotated[int, Field(ge=0, lt=2**63)]
VersionOfProperty = Annotated[str, Field(max_length=60, examples=["0192f1c4-5d3a-7c1e-9b60-3f6f2d1a7e01:17"])]
Persons = Annotated[int, Field(ge=0, le=100)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
TotalMinor = Annotated[int, Field(ge=0, le=10**15)]


class AvailabilityQuery(RequestModel):
    """Which nights of a property are closed, and why."""

    property_id: Annotated[UUID, Field(description="The property.")]
    from_date: Annotated[CalendarDate, Field(description="First night asked for.")]
    to_date: Annotated[CalendarDate, Field(description="Day after the last night; at most 365 days after `from_date`.")]
    min_version: Annotated[
        ReadVersion | None, Field(description="The `inventory_version` of an own write: the answer is never older.")
    ] = None


class CalendarQuery(RequestModel):
    """What may happen on each date at several properties."""

    property_id: Annotated[
        list[UUID], Field(min_length=1, max_length=MAX_PROPERTIES, description="The properties, once for each.")
    ]
    from_date: Annotated[CalendarDate, Field(description="First date asked for.")]
    to_date: Annotated[CalendarDate, Field(description="Day after the last; at most 365 days after `from_date`.")]
    min_version: Annotated[
        list[VersionOfProperty],
        Field(
            max_length=MAX_PROPERTIES,
            description="`property_id:inventory_version` of an own write, once for each property: none is older.",
        ),
    ] = Field(default_factory=list)


class SearchQuery(RequestModel):
    """Which properties may be booked: for `check_in` to `check_out`, or for `nights` between `from_date` and `to_date`.

    Every filter narrows. Prices of different currencies are never compared: bounds of the total hold for `currency`,
    which may be left out while all the agency's properties are sold in one; and by price the currencies come one after
    the other. What has no price comes last, and not at all between bounds.
    """

    check_in: Annotated[CalendarDate | None, Field(description="The first night, with `check_out`.")] = None
    check_out: Annotated[
        CalendarDate | None, Field(description="The day of departure; at most 365 days after `check_in`.")
    ] = None
    nights: Annotated[int | None, Field(ge=1, le=MAX_DAYS, description="So many nights, at any time of a window.")] = (
        None
    )
    from_date: Annotated[CalendarDate | None, Field(description="With `nights`: the first possible arrival.")] = None
    to_date: Annotated[
        CalendarDate | None,
        Field(description="With `nights`: the last possible departure; at most 365 days after `from_date`."),
    ] = None
    adults: Annotated[int, Field(ge=1, le=100, description="Who stays.")]
    children: Annotated[Persons, Field(description="They count as adults do.")] = 0
    infants: Annotated[Persons, Field(description="They do not count.")] = 0
    latitude: Annotated[
        Latitude | None, Field(description="A point, with `longitude`: answers tell the distance from it.")
    ] = None
    longitude: Longitude | None = None
    radius_km: Annotated[
        float | None, Field(gt=0, le=20_040, allow_inf_nan=False, description="At most so far from the point.")
    ] = None
    south: Annotated[Latitude | None, Field(description="A box, with `west`, `north` and `east`.")] = None
    west: Annotated[Longitude | None, Field(description="Greater than `east` for a box across the antimeridian.")] = (
        None
    )
    north: Latitude | None = None
    east: Longitude | None = None
    amenity: Annotated[list[Amenity], Field(max_length=50, description="Each of these must be there.")] = Field(
        default_factory=list
    )
    currency: Annotated[Currency | None, Field(description="Only what is sold in this currency.")] = None
    min_total_minor: Annotated[TotalMinor | None, Field(description="At least this total for the stay.")] = None
    max_total_minor: Annotated[TotalMinor | None, Field(description="At most this total for the stay.")] = None
    sort: Annotated[
        Literal["price", "distance"], Field(description="The cheapest first, or the nearest (with a point).")
    ] = "price"
    limit: Annotated[int, Field(ge=1, le=50, description="Items per page.")] = 20
    cursor: Annotated[
        str | None, Field(max_length=300, description="`next_cursor` of the page before, for the same question.")
    ] = None
    min_version: Annotated[
        list[VersionOfProperty],
        Field(
            max_length=MAX_PROPERTIES,
            description="`property_id:inventory_version` of an own write, once for each property: none is older.",
        ),
    ] = Field(default_factory=list)


class OccupiedRange(AnswerModel):
    """Nights `[start_date, end_date)` that cannot be sold, and why; never anything about a guest."""

    start_date: date
    end_date: date
    kind: Literal["reservation", "block", "hold", "conflict", "preparation"]


class AvailabilityAnswer(AnswerModel):
    """What is occupied between two dates, and how fresh the answer is."""

    property_id: UUID
    from_date: date
    to_date: date
    ranges: list[OccupiedRange]
    as_of: datetime
    inventory_version: InventoryVersion
    lag_ms: int
    source: Source


class CalendarDay(AnswerModel):
    """One date. A stay that may be booked has open nights only, arrives where one can arrive and departs where one can.

    `reasons` is everything that limits the date. `rate_minor` is absent for a night without a rate.
    """

    date: date
    status: Literal["open", "closed"]
    can_arrive: bool
    can_depart: bool
    reasons: list[Reason]
    rate_minor: int | None = None
    min_stay_arrival: int | None = None
    min_stay_through: int | None = None
    max_stay: int | None = None


class PropertyCalendar(AnswerModel):
    """The dates of one property, at one version."""

    property_id: UUID
    currency: str
    days: list[CalendarDay]
    as_of: datetime
    inventory_version: InventoryVersion
    lag_ms: int
    source: Source


class CalendarAnswer(AnswerModel):
    """The dates `[from_date, to_date)` of several properties, in the order asked for."""

    from_date: date
    to_date: date
    items: list[PropertyCalendar]
    as_of: datetime
    lag_ms: int


class StayCheck(Stay):
    """May this stay be booked? `hold_id` names a hold of the caller's, whose nights are no obstacle.

    The answer is never older than `min_version`, the version a write answered.
    """

    property_id: UUID
    occupancy: Occupancy
    hold_id: UUID | None = None
    min_version: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None


class StayAlternative(AnswerModel):
    """A stay of the same length that may be booked: on other dates, or at another property of the agency.

    `distance_km` tells how far another property is; it is absent when one of the two has no location. With the
    `hold_id` of the check, other dates of the same property may be booked; another property is booked without it.
    """

    property_id: UUID
    check_in: date
    check_out: date
    total_amount_minor: int | None = None
    currency: str
    distance_km: float | None = None
    inventory_version: InventoryVersion


class StayChecked(AnswerModel):
    """Whether the stay may be booked; when not, everything against it and what may be booked instead.

    `bookable` is what `POST /bookings` would decide at this `inventory_version`. A taken night is a violation
    `inventory_overlap`. The price is absent for a property without rates, or when a night has none.
    """

    property_id: UUID
    check_in: date
    check_out: date
    bookable: bool
    violations: list[Violation]
    alternatives: list[StayAlternative]
    total_amount_minor: int | None = None
    currency: str
    as_of: datetime
    inventory_version: InventoryVersion
    lag_ms: int
    source: Source


class SearchOffer(AnswerModel):
    """A stay that may be booked: `POST /bookings` would take it at this `inventory_version`, at this total.

    The total is absent for a property without rates, `distance_km` without a point or for a property without a place.
    """

    property_id: UUID
    check_in: date
    check_out: date
    total_amount_minor: int | None = None
    currency: str
    distance_km: float | None = None
    inventory_version: InventoryVersion


class SearchAnswer(AnswerModel):
    """Properties that may be booked, each once: with the cheapest of its stays, of equally cheap ones the earliest.

    `unknown` counts the agency's properties that could not be judged now; they are not offered. `source` is `ledger`
    when booking was asked about a property. A property whose own price or dates change between two pages may come
    again or be left out; it moves no other.
    """

    items: list[SearchOffer]
    next_cursor: str | None = None
    unknown: int
    as_of: datetime
    lag_ms: int
    source: Source
