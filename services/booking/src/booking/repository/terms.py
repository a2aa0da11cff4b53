"""Reads of a property's stay rules, rates and fees, and their form as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any
from uuid import UUID

from booking.domain.model import PropertyTerms
from rules.quotes import DatedRate, Fees, LengthOfStayDiscount, Rates
from rules.stay_rules import DatedStayRule, StayRule, StayRules
from runtime.postgres import Connection, Row

KnownTerms = tuple[int, PropertyTerms]
"""Terms with the rules_version they are of."""

# Shared: making it anew costs as much as reading the row.
NO_TERMS = PropertyTerms()


async def select_terms(connection: Connection, property_id: UUID) -> KnownTerms | None:
    """The rules_version and the terms as of it, in one statement; None for an unknown property."""
    row = await connection.fetchrow(
        """SELECT version.rules_version, terms.stay_rules, terms.rates, terms.fees
           FROM inventory_versions AS version LEFT JOIN property_terms AS terms USING (property_id)
           WHERE version.property_id = $1""",
        property_id,
    )
    if row is None:
        return None
    return row["rules_version"], terms_from(row)


def terms_from(row: Row | Mapping[str, Any] | None) -> PropertyTerms:
    """A row of `property_terms`, or the same as JSON; a property without one is sold by no terms."""
    if row is None or row["rates"] is None:
        return NO_TERMS
    return PropertyTerms(_rules(row["stay_rules"]), _rates(row["rates"]), _fees(row["fees"]))


def terms_json(terms: PropertyTerms) -> dict[str, Any]:
    """What `write_property` stores."""
    rules, rates = terms.rules, terms.rates
    return {
        "stay_rules": {
            "default": _rule_json(rules.default),
            "weekday": {str(day): _rule_json(rule) for day, rule in rules.weekday.items()},
            "dated": [[entry.start_date, entry.end_date, _rule_json(entry.rule)] for entry in rules.dated],
        },
        "rates": {
            "default": rates.default_minor,
            "weekday": {str(day): rate for day, rate in rates.weekday_minor.items()},
            "dated": [[entry.start_date, entry.end_date, entry.rate_minor] for entry in rates.dated],
        },
        "fees": asdict(terms.fees),
    }


def _rule_json(rule: StayRule) -> dict[str, Any]:
    return {name: value for name, value in asdict(rule).items() if value is not None}


def _rules(stored: dict[str, Any]) -> StayRules:
    return StayRules(
        StayRule(**stored["default"]),
        {int(day): StayRule(**rule) for day, rule in stored["weekday"].items()},
        tuple(
            DatedStayRule(date.fromisoformat(start), date.fromisoformat(end), StayRule(**rule))
            for start, end, rule in stored["dated"]
        ),
    )


def _rates(stored: dict[str, Any]) -> Rates:
    return Rates(
        stored["default"],
        {int(day): rate for day, rate in stored["weekday"].items()},
        tuple(
            DatedRate(date.fromisoformat(start), date.fromisoformat(end), rate) for start, end, rate in stored["dated"]
        ),
    )


def _fees(stored: dict[str, Any]) -> Fees:
    discounts = tuple(LengthOfStayDiscount(**tier) for tier in stored["length_of_stay_discounts"])
    return Fees(**{**stored, "length_of_stay_discounts": discounts})
