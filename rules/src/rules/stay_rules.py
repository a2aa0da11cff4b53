"""Judges a stay against a property's selling conditions; called by booking before it writes.

This holds the conditions of the property's profile. `now` and everything else is an argument. Sources of the rules: the
stay-rule semantics in docs/glossary.md.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class SellingConditions:
    """The parts of a property's profile that decide whether a stay may be sold; `check_in_time` is local."""

    time_zone: str
    max_occupancy: int
    lead_time_hours: int
    booking_window_days: int
    check_in_time: time
    active: bool = True


@dataclass(frozen=True, slots=True)
class RequestedStay:
    """What a guest asks for; `persons` counts adults and children, infants do not count."""

    check_in: date
    check_out: date
    persons: int


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One broken rule: the date it binds on, what is allowed and what was asked."""

    code: str
    date: date
    limit: int | str
    actual: int | str


def violations(conditions: SellingConditions, stay: RequestedStay, now: datetime) -> list[RuleViolation]:
    """All rules the stay breaks at the instant `now`; empty when it may be sold."""
    zone = ZoneInfo(conditions.time_zone)
    today = now.astimezone(zone).date()
    found = []
    if not conditions.active:
        found.append(RuleViolation("inactive", stay.check_in, "active", "inactive"))
    if stay.persons > conditions.max_occupancy:
        found.append(RuleViolation("max_occupancy", stay.check_in, conditions.max_occupancy, stay.persons))
    if stay.check_in < today:
        found.append(RuleViolation("past", stay.check_in, today.isoformat(), stay.check_in.isoformat()))
    elif conditions.lead_time_hours:
        found += _lead_time(conditions, stay, now, zone)
    last_night = stay.check_out - timedelta(days=1)
    window_end = today + timedelta(days=conditions.booking_window_days)
    if last_night >= window_end:
        found.append(
            RuleViolation("booking_window", last_night, conditions.booking_window_days, (last_night - today).days)
        )
    return found


def _lead_time(
    conditions: SellingConditions, stay: RequestedStay, now: datetime, zone: ZoneInfo
) -> list[RuleViolation]:
    # Elapsed time counts in UTC: local differences are off by an hour across a DST change.
    arrival = datetime.combine(stay.check_in, conditions.check_in_time, zone).astimezone(UTC)
    ahead = arrival - now.astimezone(UTC)
    if ahead >= timedelta(hours=conditions.lead_time_hours):
        return []
    hours = int(ahead.total_seconds() // 3600)
    return [RuleViolation("lead_time", stay.check_in, conditions.lead_time_hours, hours)]
