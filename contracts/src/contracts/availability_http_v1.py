"""HTTP questions and answers of availability, public through the gateway.

Every answer says how fresh it is: `as_of` is booking's database time up to which it is complete, `lag_ms` its age in
milliseconds, `source` is `cache` (availability's memory) or `ledger` (asked of booking for this request). One over
several properties carries the oldest of each.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.booking_http_v1 import Stay
from contracts.problems import Violation
from contracts.values import AnswerModel, InventoryVersion, Occupancy

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
