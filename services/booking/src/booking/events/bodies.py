"""Domain records as bodies of HTTP answers, pure; called by api, and by service for answers stored under a key."""

from typing import Any

from booking.domain.model import Block, Conflict, GuestRecord, HistoryEntry, Hold, Property, Reservation
from booking.events import location
from contracts.booking_guests_http_v1 import Guest as GuestAnswer
from contracts.booking_http_v1 import Block as BlockAnswer
from contracts.booking_http_v1 import Booking, BookingHistoryEntry, ChannelConflict
from contracts.booking_http_v1 import Hold as HoldAnswer
from contracts.booking_http_v1 import Property as PropertyAnswer
from contracts.values import Occupancy

INSTANTS = frozenset({"created_at", "updated_at", "deleted_at"})


def property_body(record: Property) -> dict[str, Any]:
    """The HTTP answer for a property."""
    answer = PropertyAnswer.model_construct(
        id=record.id,
        name=record.name,
        time_zone=record.time_zone,
        currency=record.currency,
        max_occupancy=record.max_occupancy,
        location=location(record),
        amenities=list(record.amenities),
        preparation_days=record.preparation_days,
        lead_time_hours=record.lead_time_hours,
        booking_window_days=record.booking_window_days,
        check_in_time=record.check_in_time,
        check_out_time=record.check_out_time,
        active=record.active,
        inventory_version=record.inventory_version,
        created_at=record.created_at,
        updated_at=record.updated_at,
        deleted_at=record.deleted_at,
    )
    return _body(answer.model_dump(mode="json"))


def reservation_body(record: Reservation) -> dict[str, Any]:
    """The HTTP answer for a reservation."""
    channel = record.channel
    answer = Booking.model_construct(
        id=record.id,
        property_id=record.property_id,
        guest_id=record.guest_id,
        check_in=record.check_in,
        check_out=record.check_out,
        nights=record.nights,
        status=record.status,
        source=record.source,
        occupancy=Occupancy(adults=record.adults, children=record.children, infants=record.infants),
        total_amount_minor=record.total_amount_minor,
        currency=record.currency,
        ota_name=channel.ota_name if channel else None,
        ota_reservation_code=channel.ota_reservation_code if channel else None,
        hold_expires_at=record.hold_expires_at,
        notes=record.notes,
        inventory_version=record.inventory_version,
        created_at=record.created_at,
        updated_at=record.updated_at,
        cancelled_at=record.cancelled_at,
        checked_in_at=record.checked_in_at,
        checked_out_at=record.checked_out_at,
        group_id=record.group_id,
        rating=record.rating,
    )
    return _body(answer.model_dump(mode="json", warnings=False))


def block_body(record: Block) -> dict[str, Any]:
    """The HTTP answer for a block."""
    answer = BlockAnswer.model_construct(
        id=record.id,
        property_id=record.property_id,
        start_date=record.start_date,
        end_date=record.end_date,
        reason=record.reason,
        source=record.source,
        active=record.active,
        waiting=record.waiting,
        connection_id=record.channel.connection_id if record.channel else None,
        ota_name=record.channel.ota_name if record.channel else None,
        ota_reservation_code=record.channel.ota_reservation_code if record.channel else None,
        inventory_version=record.inventory_version,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
    return _body(answer.model_dump(mode="json"))


def hold_body(record: Hold) -> dict[str, Any]:
    """The HTTP answer for a hold."""
    answer = HoldAnswer.model_construct(
        id=record.id,
        property_id=record.property_id,
        check_in=record.check_in,
        check_out=record.check_out,
        state=record.state,
        hold_expires_at=record.hold_expires_at,
        inventory_version=record.inventory_version,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
    return _body(answer.model_dump(mode="json", warnings=False))


def history_body(record: HistoryEntry) -> dict[str, Any]:
    """One entry of the HTTP answer for a reservation's history."""
    return BookingHistoryEntry.model_construct(
        action=record.action,
        actor=record.actor,
        at=record.at,
        trace_id=record.trace_id,
        property_id=record.property_id,
        inventory_version=record.inventory_version,
        before=record.before,
        after=record.after,
    ).model_dump(mode="json")


def guest_body(record: GuestRecord) -> dict[str, Any]:
    """The HTTP answer for a guest."""
    guest = record.guest
    return GuestAnswer.model_construct(
        id=guest.id,
        name=guest.name,
        email=guest.email,
        phone=guest.phone,
        total_bookings=record.total_bookings,
        total_spent=record.total_spent,
        first_booking_at=record.first_booking_at,
        last_booking_at=record.last_booking_at,
        average_rating=record.average_rating,
        created_at=record.created_at,
        updated_at=record.updated_at,
        deleted_at=record.deleted_at,
        erased_at=record.erased_at,
    ).model_dump(mode="json")


def conflict_body(record: Conflict) -> dict[str, Any]:
    """The HTTP answer for a conflict."""
    return ChannelConflict.model_construct(
        id=record.id,
        property_id=record.property_id,
        reservation_id=record.source_id,
        block_id=record.source_id if record.is_of_block else None,
        state=record.state,
        check_in=record.check_in,
        check_out=record.check_out,
        competing_source_ids=list(record.competing_source_ids),
        resolution=record.resolution,
        opened_at=record.opened_at,
        closed_at=record.closed_at,
    ).model_dump(mode="json", warnings=False)


def _body(answer: dict[str, Any]) -> dict[str, Any]:
    """Drops the instants a record does not have yet: the database fills those of a new one in."""
    return {name: value for name, value in answer.items() if value is not None or name not in INSTANTS}
