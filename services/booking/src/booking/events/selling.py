"""Stay rules, rates and quotes as contracts, pure: sections of events and snapshots, bodies of HTTP answers."""

from dataclasses import asdict
from typing import Any

from booking.domain.model import Property, PropertyTerms, StoredQuote
from contracts import values
from rules.quotes import Quote
from rules.stay_rules import StayRule, StayRules


def stay_rules(rules: StayRules) -> values.StayRules:
    """The restrictions section of a property's events and snapshots."""
    return values.StayRules(
        default=values.StayRule(**asdict(rules.default)),
        weekday={day: values.StayRule(**asdict(rule)) for day, rule in rules.weekday.items()},
        dated=[
            values.DatedStayRule(start_date=entry.start_date, end_date=entry.end_date, **asdict(entry.rule))
            for entry in rules.dated
        ],
    )


def rates(terms: PropertyTerms) -> values.Rates:
    """The rates section of a property's events and snapshots, fees included."""
    fees = terms.fees
    return values.Rates(
        default_minor=terms.rates.default_minor,
        weekday_minor=dict(terms.rates.weekday_minor),
        dated=[
            values.DatedRate(start_date=entry.start_date, end_date=entry.end_date, rate_minor=entry.rate_minor)
            for entry in terms.rates.dated
        ],
        cleaning_fee_minor=fees.cleaning_fee_minor,
        extra_guest_fee_minor=fees.extra_guest_fee_minor,
        included_guests=fees.included_guests,
        length_of_stay_discounts=[
            values.LengthOfStayDiscount(min_nights=tier.min_nights, basis_points=tier.basis_points)
            for tier in fees.length_of_stay_discounts
        ],
    )


def stay_rules_body(owner: Property, terms: PropertyTerms) -> dict[str, Any]:
    """The HTTP answer for a property's restrictions."""
    rules = terms.rules
    return {
        "property_id": str(owner.id),
        "inventory_version": owner.inventory_version,
        "default": _rule_body(rules.default),
        "weekday": {str(day): _rule_body(rule) for day, rule in sorted(rules.weekday.items())},
        "dated": [
            {"start_date": entry.start_date, "end_date": entry.end_date, **_rule_body(entry.rule)}
            for entry in rules.dated
        ],
    }


def rates_body(owner: Property, terms: PropertyTerms) -> dict[str, Any]:
    """The HTTP answer for a property's rates and fees."""
    whole: dict[str, Any] = rates(terms).model_dump(mode="json")
    return {
        "property_id": str(owner.id),
        "inventory_version": owner.inventory_version,
        "currency": owner.currency,
        **whole,
        "weekday_minor": {str(day): rate for day, rate in whole["weekday_minor"].items()},
    }


def quote_body(owner: Property, made: StoredQuote, found: Quote | None) -> dict[str, Any]:
    """The HTTP answer for a quote; without amounts when the property is sold unpriced."""
    body: dict[str, Any] = {
        "id": str(made.id),
        "quote_id": str(made.id),
        "property_id": str(owner.id),
        "check_in": made.check_in,
        "check_out": made.check_out,
        "occupancy": {"adults": made.adults, "children": made.children, "infants": made.infants},
        "currency": owner.currency,
        "rules_version": owner.rules_version,
        "created_at": made.created_at,
        "expires_at": made.expires_at,
        "nights": [],
    }
    if made.hold_id is not None:
        body["hold_id"] = str(made.hold_id)
    if found is None:
        return body
    return body | {
        "nights": [{"date": night.date, "rate_minor": night.rate_minor} for night in found.nights],
        "accommodation_minor": found.accommodation_minor,
        "discount_minor": found.discount_minor,
        "extra_guest_minor": found.extra_guest_minor,
        "cleaning_fee_minor": found.cleaning_fee_minor,
        "total_minor": found.total_minor,
    }


def _rule_body(rule: StayRule) -> dict[str, Any]:
    return {name: value for name, value in asdict(rule).items() if value is not None}
