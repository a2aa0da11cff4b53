"""Judges and prices a direct stay by what its property is sold by, before it is written; called by the use cases."""

from collections.abc import Set
from datetime import datetime

from booking.domain.errors import PriceChanged, StayRulesViolated
from booking.domain.inventory import refuse_deleted
from booking.domain.model import Property, PropertyTerms
from rules.quotes import quote
from rules.stay_rules import RequestedStay, judge

ARRIVAL_RULES = frozenset({"past", "lead_time"})
"""Rules about how soon a stay begins; they do not bind one whose arrival stays as it is."""


def require_rules(
    owner: Property, terms: PropertyTerms, stay: RequestedStay, now: datetime, *, ignoring: Set[str] = frozenset()
) -> None:
    """Raise `StayRulesViolated` with every rule the stay breaks but those of `ignoring`; `NotFound` once deleted."""
    refuse_deleted(owner)
    broken = [violation for violation in judge(terms.selling(owner), stay, now) if violation.code not in ignoring]
    if broken:
        raise StayRulesViolated(broken)


def price_of(
    owner: Property,
    terms: PropertyTerms,
    stay: RequestedStay,
    now: datetime,
    *,
    ignoring: Set[str] = frozenset(),
    expected_minor: int | None = None,
) -> int | None:
    """The stay's price in minor units, None when the property is sold unpriced.

    Raises what `require_rules` does, and `PriceChanged` when the client expected another price.
    """
    require_rules(owner, terms, stay, now, ignoring=ignoring)
    found = quote(terms.selling(owner), stay)
    total = None if found is None else found.total_minor
    if expected_minor is not None and expected_minor != total:
        raise PriceChanged(total, owner.currency)
    return total
