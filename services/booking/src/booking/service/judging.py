"""Judges a stay by the property's selling conditions before it is written; called by the use cases of direct stays."""

from collections.abc import Set
from datetime import date, datetime

from booking.domain.errors import StayRulesViolated
from booking.domain.model import Property
from rules.stay_rules import RequestedStay, violations

ARRIVAL_RULES = frozenset({"past", "lead_time"})
"""Rules about how soon a stay begins; they do not bind one whose arrival stays as it is."""


def require_sellable(
    owner: Property, stay: tuple[date, date], persons: int, now: datetime, ignoring: Set[str] = frozenset()
) -> None:
    """Raise `StayRulesViolated` with every rule that `(check_in, check_out)` breaks, but those of `ignoring`."""
    found = violations(owner.conditions, RequestedStay(*stay, persons), now)
    broken = [violation for violation in found if violation.code not in ignoring]
    if broken:
        raise StayRulesViolated(broken)
