"""Where whole states come from: turns what booking publishes or answers into calendar states; called by the service.

This service has no database: in place of a repository it has the compacted topic and booking's state answers, both of
which carry `PropertySnapshot`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from uuid import UUID

from availability.domain.packed_ranges import PackedRanges, record_of
from availability.domain.property_calendar import CalendarState, Delta, Pricing, Profile
from contracts import values
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import InventoryChange, PropertyChange, PropertyDeleted
from contracts.values import InventoryRange, PropertyProfile
from rules.calendar import StoredRange
from rules.quotes import DatedRate, Fees, LengthOfStayDiscount, Rates
from rules.stay_rules import DatedStayRule, SellingConditions, StayRule, StayRules


class ZonelessInstant(ValueError):
    """An instant has no UTC offset."""


def state_of(snapshot: PropertySnapshot) -> CalendarState:
    """The calendar state in a snapshot; raises `ZonelessInstant`."""
    return CalendarState(
        agency_id=snapshot.agency_id,
        version=snapshot.inventory_version,
        rules_version=snapshot.rules_version,
        profile=_profile(snapshot.profile),
        rules=_rules(snapshot.stay_rules),
        pricing=_pricing(snapshot.rates),
        ranges=_packed(snapshot.ranges),
        is_gone=snapshot.gone,
    )


def delta_of(change: InventoryChange, agency_id: UUID) -> Delta:
    """The calendar's part of a change; raises `ZonelessInstant`."""
    delta = Delta(
        agency_id=agency_id,
        version=change.inventory_version,
        commit_version=change.commit_version,
        occupied=_packed(change.occupied),
        released=_packed(change.released),
        removes=isinstance(change, PropertyDeleted),
    )
    if not isinstance(change, PropertyChange):
        return delta
    return replace(
        delta,
        profile=_profile(change.profile) if change.profile is not None else None,
        rules=_rules(change.stay_rules) if change.stay_rules is not None else None,
        pricing=_pricing(change.rates) if change.rates is not None else None,
        rules_version=change.rules_version,
    )


def instant(value: datetime) -> datetime:
    """The same instant in UTC; raises `ZonelessInstant`."""
    if value.tzinfo is None:
        raise ZonelessInstant(ZonelessInstant.__doc__)
    return value.astimezone(UTC)


def _profile(profile: PropertyProfile) -> Profile:
    conditions = SellingConditions(
        time_zone=profile.time_zone,
        max_occupancy=profile.max_occupancy,
        lead_time_hours=profile.lead_time_hours,
        booking_window_days=profile.booking_window_days,
        check_in_time=time.fromisoformat(profile.check_in_time),
        active=profile.active,
    )
    location = profile.location
    return Profile(
        preparation_days=profile.preparation_days,
        conditions=conditions,
        currency=profile.currency,
        location=(location.latitude, location.longitude) if location is not None else None,
        amenities=frozenset(profile.amenities),
    )


def _rules(stay_rules: values.StayRules) -> StayRules:
    return StayRules(
        _rule(stay_rules.default),
        {day: _rule(rule) for day, rule in stay_rules.weekday.items()},
        tuple(DatedStayRule(entry.start_date, entry.end_date, _rule(entry)) for entry in stay_rules.dated),
    )


def _rule(rule: values.StayRule) -> StayRule:
    return StayRule(
        rule.min_stay_arrival,
        rule.min_stay_through,
        rule.max_stay,
        rule.closed_to_arrival,
        rule.closed_to_departure,
        rule.stop_sell,
    )


def _pricing(rates: values.Rates) -> Pricing:
    dated = tuple(DatedRate(entry.start_date, entry.end_date, entry.rate_minor) for entry in rates.dated)
    tiers = rates.length_of_stay_discounts
    discounts = tuple(LengthOfStayDiscount(tier.min_nights, tier.basis_points) for tier in tiers)
    return Pricing(
        Rates(rates.default_minor, rates.weekday_minor, dated),
        Fees(rates.cleaning_fee_minor, rates.extra_guest_fee_minor, rates.included_guests, discounts),
    )


def _packed(ranges: Iterable[InventoryRange]) -> PackedRanges:
    records, whole = [], []
    for found in ranges:
        stay, occupied, record = found.stay, found.occupied, None
        if found.expires_at is None:
            days = (stay.start_date, stay.end_date, occupied.start_date, occupied.end_date)
            record = record_of(found.kind, *map(date.toordinal, days))
        if record is None:
            whole.append(_stored(found))
        else:
            records.append(record)
    return PackedRanges(b"".join(records), tuple(whole))


def _stored(found: InventoryRange) -> StoredRange:
    return StoredRange(
        range_id=found.range_id,
        kind=found.kind.value,
        source_id=found.source_id,
        stay_start=found.stay.start_date,
        stay_end=found.stay.end_date,
        occupied_start=found.occupied.start_date,
        occupied_end=found.occupied.end_date,
        expires_at=instant(found.expires_at) if found.expires_at is not None else None,
    )
