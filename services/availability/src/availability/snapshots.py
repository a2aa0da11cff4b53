"""Where whole states come from: turns what booking publishes or answers into calendar states; called by the service.

This service has no database: in place of a repository it has the compacted topic and booking's state answers, both of
which carry `PropertySnapshot`.
"""

from datetime import UTC, datetime
from uuid import UUID

from availability.domain.property_calendar import CalendarState, Delta, Profile
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import InventoryChange, PropertyChange, PropertyDeleted
from contracts.values import InventoryRange, PropertyProfile
from rules.calendar import StoredRange


class ZonelessInstant(ValueError):
    """An instant has no UTC offset."""


def state_of(snapshot: PropertySnapshot) -> CalendarState:
    """The calendar state in a snapshot; raises `ZonelessInstant`."""
    return CalendarState(
        agency_id=snapshot.agency_id,
        version=snapshot.inventory_version,
        rules_version=snapshot.rules_version,
        profile=_profile(snapshot.profile),
        ranges={found.range_id: _stored(found) for found in snapshot.ranges},
        is_gone=snapshot.gone,
    )


def delta_of(change: InventoryChange, agency_id: UUID) -> Delta:
    """The calendar's part of a change; raises `ZonelessInstant`."""
    property_change = change if isinstance(change, PropertyChange) else None
    profile = property_change.profile if property_change is not None else None
    return Delta(
        agency_id=agency_id,
        version=change.inventory_version,
        commit_version=change.commit_version,
        occupied=tuple(_stored(found) for found in change.occupied),
        released=frozenset(found.range_id for found in change.released),
        profile=_profile(profile) if profile is not None else None,
        rules_version=property_change.rules_version if property_change is not None else None,
        removes=isinstance(change, PropertyDeleted),
    )


def instant(value: datetime) -> datetime:
    """The same instant in UTC; raises `ZonelessInstant`."""
    if value.tzinfo is None:
        raise ZonelessInstant(ZonelessInstant.__doc__)
    return value.astimezone(UTC)


def _profile(profile: PropertyProfile) -> Profile:
    return Profile(preparation_days=profile.preparation_days)


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
