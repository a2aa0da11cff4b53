"""HTTP answers of availability, public through the gateway."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from contracts.values import AnswerModel, InventoryVersion


class OccupiedRange(AnswerModel):
    """Nights `[start_date, end_date)` that cannot be sold, and why; never anything about a guest."""

    start_date: date
    end_date: date
    kind: Literal["reservation", "block", "hold", "conflict", "preparation"]


class AvailabilityAnswer(AnswerModel):
    """What is occupied between two dates, and how fresh the answer is.

    `as_of` is booking's database time up to which this answer is complete; `lag_ms` its age in milliseconds.
    `source` is `cache` (availability's memory) or `ledger` (asked of booking for this request).
    """

    property_id: UUID
    from_date: date
    to_date: date
    ranges: list[OccupiedRange]
    as_of: datetime
    inventory_version: InventoryVersion
    lag_ms: int
    source: Literal["cache", "ledger"]
