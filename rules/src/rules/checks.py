"""Says whether a stay may be booked, and everything that stands against it: nights, rules and rates alike.

Called by availability's checks and searches. Booking decides by the same parts (`judge`, and nights that meet an
`occupied` range), so at one version and one instant both say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from rules.calendar import StoredRange
from rules.stay_rules import RequestedStay, RuleViolation, SellingTerms, judge

INVENTORY_OVERLAP = "inventory_overlap"
HOLD_NOT_ACTIVE = "hold_not_active"


@dataclass(frozen=True, slots=True)
class Sellable:
    """What a property is sold by and what is taken of it, at one version; `preparation_days` are those of today."""

    terms: SellingTerms
    preparation_days: int
    ranges: Sequence[StoredRange]


def check(sellable: Sellable, stay: RequestedStay, now: datetime, hold_id: UUID | None = None) -> list[RuleViolation]:
    """All that keeps the stay from being booked at the instant `now`, by date and code; empty when nothing does.

    Each range that takes a night away is told once, as `inventory_overlap` on the first night it closes. The nights of
    the caller's own hold are no obstacle; a hold that is not active any more is one, `hold_not_active`.
    """
    found = judge(sellable.terms, stay, now)
    found += _overlaps(without_hold(sellable, hold_id), stay, now)
    if hold_id is not None and not _is_held(sellable, hold_id, now):
        found.append(RuleViolation(HOLD_NOT_ACTIVE, stay.check_in, "active", "over"))
    return sorted(found, key=lambda violation: (violation.date, violation.code))


def without_hold(sellable: Sellable, hold_id: UUID | None) -> Sellable:
    """The same as if the hold had given its nights back."""
    if hold_id is None:
        return sellable
    return replace(sellable, ranges=[stored for stored in sellable.ranges if not _is_of(stored, hold_id)])


def _is_held(sellable: Sellable, hold_id: UUID, now: datetime) -> bool:
    return any(_is_of(stored, hold_id) and not stored.is_overdue(now) for stored in sellable.ranges)


def _is_of(stored: StoredRange, hold_id: UUID) -> bool:
    return stored.kind == "hold" and stored.source_id == hold_id


def _overlaps(sellable: Sellable, stay: RequestedStay, now: datetime) -> list[RuleViolation]:
    preparation = timedelta(days=sellable.preparation_days)
    return [
        RuleViolation(INVENTORY_OVERLAP, max(stored.occupied_start - preparation, stay.check_in), "open", stored.kind)
        for stored in sellable.ranges
        if stored.occupied_start < stay.check_out + preparation
        and stay.check_in < stored.occupied_end
        and not stored.is_overdue(now)
    ]
