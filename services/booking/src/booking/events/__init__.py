"""Domain records as contracts, pure: events and snapshots for the topics; HTTP answers are in `bodies`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from booking.domain.model import (
    Block,
    Change,
    Conflict,
    Hold,
    Property,
    PropertyTerms,
    Reservation,
    RevisionDecision,
)
from booking.events.selling import rates, stay_rules
from contracts import booking_reservations_v1 as v1
from contracts.booking_properties_v1 import DeltaOffset, PropertySnapshot
from contracts.values import DateRange, InventoryRange, Location, Occupancy, PropertyProfile, RangeKind, RevisionOutcome
from rules.calendar import StoredRange

_MODELS = {model.__name__: model for model in v1.CHANGES}
_GIVEN_BY_DATABASE = {"inventory_version", "commit_version"}
# Snapshots reach two days back, so that "today" exists in every time zone.
PAST_DAYS_IN_SNAPSHOT = timedelta(days=2)


def event_data(change: Change) -> dict[str, Any]:
    """The data of a change's event as JSON-ready dict, without the versions the database gives it."""
    fields: dict[str, Any] = {
        "property_id": change.property_id,
        "inventory_version": 0,
        "commit_version": 0,
        "occupied": [inventory_range(stored) for stored in change.occupied],
        "released": [inventory_range(stored) for stored in change.released],
    }
    if change.revision is not None:
        fields["channel"] = _channel_origin(change.revision)
    if change.event == "ChannelRevisionApplied":
        decision = change.revision
        fields["reservation_id"] = decision.reservation_id if decision else None
        fields["block_id"] = decision.block_id if decision else None
    if change.property is not None:
        fields |= {"rules_version": 0, **_sections(change.property, change)}
    if change.reservation is not None:
        fields |= _reservation_fields(change.reservation)
    if change.moved is not None:
        fields |= {"from_property_id": change.moved[0], "to_property_id": change.moved[1]}
    if change.event == "GuestErased" and change.reservation is not None and change.reservation.channel is not None:
        fields["connection_id"] = change.reservation.channel.connection_id
    if change.event == "ReservationRated" and change.reservation is not None:
        fields["rating"] = change.reservation.rating
    if change.hold is not None:
        fields |= _hold_fields(change.hold)
    if change.block is not None:
        fields |= _block_fields(change.block)
    if change.conflict is not None:
        fields |= _conflict_fields(change.conflict)
    data: dict[str, Any] = _MODELS[change.event](**fields).model_dump(mode="json", exclude=_GIVEN_BY_DATABASE)
    return data


def _sections(record: Property, change: Change) -> dict[str, Any]:
    """The sections that changed, whole."""
    terms = change.terms or PropertyTerms()
    whole = {"profile": profile(record), "stay_rules": stay_rules(terms.rules), "rates": rates(terms)}
    return whole if change.event == "PropertyCreated" else {name: whole[name] for name in change.sections}


def subject_of(change: Change) -> str:
    """What an event is about, for people reading a topic: `reservation/<id>` and the like."""
    for name in ("reservation", "hold", "block", "conflict"):
        record = getattr(change, name)
        if record is not None:
            return f"{name}/{record.id}"
    return f"property/{change.property_id}"


def inventory_range(stored: StoredRange) -> InventoryRange:
    """A stored range as contract."""
    return InventoryRange(
        range_id=stored.range_id,
        kind=RangeKind(stored.kind),
        source_id=stored.source_id,
        stay=DateRange(start_date=stored.stay_start, end_date=stored.stay_end),
        occupied=DateRange(start_date=stored.occupied_start, end_date=stored.occupied_end),
        expires_at=stored.expires_at,
    )


def profile(record: Property) -> PropertyProfile:
    """The profile section of a property's events and snapshots."""
    return PropertyProfile(
        name=record.name,
        time_zone=record.time_zone,
        currency=record.currency,
        max_occupancy=record.max_occupancy,
        preparation_days=record.preparation_days,
        lead_time_hours=record.lead_time_hours,
        booking_window_days=record.booking_window_days,
        check_in_time=record.check_in_time,
        check_out_time=record.check_out_time,
        location=location(record),
        amenities=list(record.amenities),
        active=record.active,
    )


def snapshot(record: Property, terms: PropertyTerms, ranges: Sequence[StoredRange]) -> PropertySnapshot:
    """The whole state of a property at its version."""
    return PropertySnapshot(
        property_id=record.id,
        agency_id=record.agency_id,
        inventory_version=record.inventory_version,
        rules_version=record.rules_version,
        gone=record.deleted_at is not None,
        profile=profile(record),
        stay_rules=stay_rules(terms.rules),
        rates=rates(terms),
        ranges=[inventory_range(stored) for stored in ranges],
    )


def delta_offset(partition: int, offset: int) -> DeltaOffset:
    """The marker after the snapshots of a partition."""
    return DeltaOffset(partition=partition, delta_offset=offset)


def location(record: Property) -> Location | None:
    """The point of a property; None when it has none."""
    if record.latitude is None or record.longitude is None:
        return None
    return Location(latitude=record.latitude, longitude=record.longitude)


def _channel_origin(decision: RevisionDecision) -> v1.ChannelOrigin:
    return v1.ChannelOrigin(
        connection_id=decision.channel.connection_id,
        ota_name=decision.channel.ota_name,
        ota_reservation_code=decision.channel.ota_reservation_code,
        revision_id=decision.revision_id,
        revision_no=decision.revision_no,
        outcome=RevisionOutcome(decision.outcome),
        reason=decision.reason,
    )


def _reservation_fields(record: Reservation) -> dict[str, Any]:
    channel = record.channel
    return {
        "reservation_id": record.id,
        "status": record.status,
        "source": record.source,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "nights": record.nights,
        "occupancy": Occupancy(adults=record.adults, children=record.children, infants=record.infants),
        "guest_id": record.guest_id,
        "group_id": record.group_id,
        "ota_name": channel.ota_name if channel else None,
        "ota_reservation_code": channel.ota_reservation_code if channel else None,
        "total_amount_minor": record.total_amount_minor,
        "currency": record.currency,
        "hold_expires_at": record.hold_expires_at,
    }


def _hold_fields(record: Hold) -> dict[str, Any]:
    return {
        "hold_id": record.id,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "hold_expires_at": record.hold_expires_at,
    }


def _block_fields(record: Block) -> dict[str, Any]:
    return {
        "block_id": record.id,
        "start_date": record.start_date,
        "end_date": record.end_date,
        "source": record.source,
        "waiting": record.waiting,
    }


def _conflict_fields(record: Conflict) -> dict[str, Any]:
    competing: list[UUID] = list(record.competing_source_ids)
    fields: dict[str, Any] = {
        "conflict_id": record.id,
        "reservation_id": record.source_id,
        "block_id": record.source_id if record.is_of_block else None,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "competing_source_ids": competing,
    }
    if record.state == "closed":
        fields["resolution"] = record.resolution or ""
    return fields
