"""Database rows and JSON to domain records, and back; used by the other modules of this package."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson

from booking.domain.errors import Competitor
from booking.domain.model import (
    Block,
    ChannelReference,
    Conflict,
    Guest,
    HistoryEntry,
    Hold,
    Property,
    Reservation,
    RevisionDecision,
)
from rules.calendar import StoredRange
from runtime.postgres import Row


def property_from(row: Row | Mapping[str, Any]) -> Property:
    """A row of `properties` joined with `inventory_versions`, or the same as JSON."""
    location = row["location"] or {}
    return Property(
        id=_uuid(row["id"]),
        agency_id=_uuid(row["agency_id"]),
        name=row["name"],
        time_zone=row["time_zone"],
        currency=row["currency"],
        max_occupancy=row["max_occupancy"],
        preparation_days=row["preparation_days"],
        lead_time_hours=row["lead_time_hours"],
        booking_window_days=row["booking_window_days"],
        check_in_time=row["check_in_time"],
        check_out_time=row["check_out_time"],
        latitude=location.get("latitude"),
        longitude=location.get("longitude"),
        amenities=tuple(row["amenities"]),
        active=row["active"],
        inventory_version=row["inventory_version"],
        rules_version=row["rules_version"],
        created_at=_instant(row["created_at"]),
        updated_at=_instant(row["updated_at"]),
        deleted_at=_instant(row["deleted_at"]) if row["deleted_at"] is not None else None,
    )


def _channel_of(row: Row) -> ChannelReference | None:
    if row["connection_id"] is None:
        return None
    return ChannelReference(row["connection_id"], row["ota_name"], row["ota_reservation_code"])


def reservation_from(row: Row) -> Reservation:
    """A row of `reservations`."""
    return Reservation(
        id=row["id"],
        agency_id=row["agency_id"],
        property_id=row["property_id"],
        guest_id=row["guest_id"],
        check_in=row["check_in"],
        check_out=row["check_out"],
        status=row["status"],
        source=row["source"],
        adults=row["adults"],
        children=row["children"],
        infants=row["infants"],
        currency=row["currency"],
        total_amount_minor=row["total_amount_minor"],
        notes=row["notes"],
        channel=_channel_of(row),
        group_id=row["group_id"],
        hold_expires_at=row["hold_expires_at"],
        cancelled_at=row["cancelled_at"],
        cancel_reason=row["cancel_reason"],
        checked_in_at=row["checked_in_at"],
        checked_out_at=row["checked_out_at"],
        rating=row["rating"],
        inventory_version=row["inventory_version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def hold_from(row: Row) -> Hold:
    """A row of `holds`."""
    return Hold(
        row["id"],
        row["agency_id"],
        row["property_id"],
        row["check_in"],
        row["check_out"],
        row["hold_expires_at"],
        row["state"],
        row["inventory_version"],
        row["created_at"],
        row["updated_at"],
    )


def block_from(row: Row) -> Block:
    """A row of `blocks`."""
    return Block(
        row["id"],
        row["agency_id"],
        row["property_id"],
        row["start_date"],
        row["end_date"],
        row["reason"],
        row["source"],
        row["active"],
        row["inventory_version"],
        row["created_at"],
        row["updated_at"],
        _channel_of(row),
        row["waiting"],
    )


def conflict_from(row: Row) -> Conflict:
    """A row of `conflicts`."""
    return Conflict(
        row["id"],
        row["agency_id"],
        row["property_id"],
        row["reservation_id"] or row["block_id"],
        row["state"],
        row["check_in"],
        row["check_out"],
        tuple(UUID(source) for source in row["competing_source_ids"]),
        row["resolution"],
        row["opened_at"],
        row["closed_at"],
        row["block_id"] is not None,
    )


def range_from(row: Row) -> StoredRange:
    """A row of `inventory_ranges`."""
    return StoredRange(
        row["id"],
        row["kind"],
        row["source_id"],
        row["stay"].lower,
        row["stay"].upper,
        row["occupied"].lower,
        row["occupied"].upper,
        row["expires_at"],
    )


def history_from(row: Row) -> HistoryEntry:
    """A row of `reservation_history`."""
    return HistoryEntry(
        row["reservation_id"],
        row["property_id"],
        row["inventory_version"],
        row["action"],
        row["actor"],
        row["trace_id"],
        row["at"],
        row["before"],
        row["after"],
    )


def decision_from(row: Row) -> RevisionDecision:
    """A row of `channel_revisions`."""
    return RevisionDecision(
        row["agency_id"],
        row["property_id"],
        ChannelReference(row["connection_id"], row["ota_name"], row["ota_reservation_code"]),
        row["revision_id"],
        row["revision_no"],
        row["outcome"],
        row["reason"],
        row["reservation_id"],
        row["block_id"],
    )


def property_json(record: Property) -> dict[str, Any]:
    """What `write_property` stores."""
    location = None
    if record.latitude is not None and record.longitude is not None:
        location = {"latitude": record.latitude, "longitude": record.longitude}
    return {
        "id": record.id,
        "agency_id": record.agency_id,
        "name": record.name,
        "time_zone": record.time_zone,
        "currency": record.currency,
        "max_occupancy": record.max_occupancy,
        "location": location,
        "amenities": list(record.amenities),
        "preparation_days": record.preparation_days,
        "lead_time_hours": record.lead_time_hours,
        "booking_window_days": record.booking_window_days,
        "check_in_time": record.check_in_time,
        "check_out_time": record.check_out_time,
        "active": record.active,
        "deleted_at": record.deleted_at,
    }


def guest_json(record: Guest) -> dict[str, Any]:
    """What `write_guests` stores."""
    return {
        "id": record.id,
        "agency_id": record.agency_id,
        "name": record.name,
        "email": record.email,
        "email_normalised": record.email_normalised,
        "phone": record.phone,
    }


def reservation_json(record: Reservation) -> dict[str, Any]:
    """What `write_reservation` stores; versions and instants of new records are the function's to fill."""
    row: dict[str, Any] = {
        "id": record.id,
        "agency_id": record.agency_id,
        "property_id": record.property_id,
        "guest_id": record.guest_id,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "status": record.status,
        "source": record.source,
        **_channel_json(record.channel),
        "group_id": record.group_id,
        "adults": record.adults,
        "children": record.children,
        "infants": record.infants,
        "total_amount_minor": record.total_amount_minor,
        "currency": record.currency,
        "notes": record.notes,
        "hold_expires_at": record.hold_expires_at,
        "cancelled_at": record.cancelled_at,
        "cancel_reason": record.cancel_reason,
        "checked_in_at": record.checked_in_at,
        "checked_out_at": record.checked_out_at,
        "rating": record.rating,
    }
    return _with_creation(row, record.created_at)


def _channel_json(channel: ChannelReference | None) -> dict[str, Any]:
    return {
        "connection_id": channel.connection_id if channel else None,
        "ota_name": channel.ota_name if channel else None,
        "ota_reservation_code": channel.ota_reservation_code if channel else None,
    }


def hold_json(record: Hold) -> dict[str, Any]:
    """What `write_hold` stores."""
    row: dict[str, Any] = {
        "id": record.id,
        "agency_id": record.agency_id,
        "property_id": record.property_id,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "state": record.state,
        "hold_expires_at": record.hold_expires_at,
    }
    return _with_creation(row, record.created_at)


def block_json(record: Block) -> dict[str, Any]:
    """What `write_block` stores."""
    row: dict[str, Any] = {
        "id": record.id,
        "agency_id": record.agency_id,
        "property_id": record.property_id,
        "start_date": record.start_date,
        "end_date": record.end_date,
        "reason": record.reason,
        "source": record.source,
        "active": record.active,
        "waiting": record.waiting,
        **_channel_json(record.channel),
    }
    return _with_creation(row, record.created_at)


def conflict_json(record: Conflict) -> dict[str, Any]:
    """What `write_conflict` stores."""
    row: dict[str, Any] = {
        "id": record.id,
        "agency_id": record.agency_id,
        "property_id": record.property_id,
        "block_id" if record.is_of_block else "reservation_id": record.source_id,
        "state": record.state,
        "check_in": record.check_in,
        "check_out": record.check_out,
        "competing_source_ids": list(record.competing_source_ids),
        "resolution": record.resolution,
    }
    if record.opened_at is not None:
        row["opened_at"] = record.opened_at
    return row


def decision_json(record: RevisionDecision) -> dict[str, Any]:
    """What `write_requests` stores of an OTA revision."""
    return {
        "connection_id": record.channel.connection_id,
        "ota_reservation_code": record.channel.ota_reservation_code,
        "ota_name": record.channel.ota_name,
        "property_id": record.property_id,
        "revision_no": record.revision_no,
        "agency_id": record.agency_id,
        "revision_id": record.revision_id,
        "reservation_id": record.reservation_id,
        "block_id": record.block_id,
        "outcome": record.outcome,
        "reason": record.reason,
    }


def range_json(stored: StoredRange) -> dict[str, Any]:
    """What `write_requests` stores of a range."""
    return {
        "id": stored.range_id,
        "kind": stored.kind,
        "source_id": stored.source_id,
        "stay_start": stored.stay_start,
        "stay_end": stored.stay_end,
        "occupied_start": stored.occupied_start,
        "occupied_end": stored.occupied_end,
        "expires_at": stored.expires_at,
    }


def parse_date(value: str) -> date:
    """A date of JSON."""
    return date.fromisoformat(value)


def competitor_from(found: Mapping[str, Any]) -> Competitor:
    """What holds a night, as `booking_contexts` and `write_requests` name it."""
    return Competitor(found["kind"], parse_date(found["start_date"]), parse_date(found["end_date"]))


def detail_of(text: str | None) -> dict[str, Any]:
    """The JSON detail of a raised refusal."""
    detail: dict[str, Any] = orjson.loads(text or "{}")
    return detail


def _with_creation(row: dict[str, Any], created_at: datetime | None) -> dict[str, Any]:
    return row if created_at is None else {**row, "created_at": created_at}


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _instant(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
