"""One realistic example per public model, for the OpenAPI document; a test holds each against its model."""

from typing import Any

from pydantic import BaseModel

from contracts import availability_http_v1 as availability
from contracts import booking_guests_http_v1 as guests
from contracts import booking_http_v1 as booking
from contracts import booking_selling_http_v1 as selling
from gateway.api.channel_examples import CHANNEL_EXAMPLES

_PROPERTY_ID = "0192f1c4-5d3a-7c1e-9b60-3f6f2d1a7e01"
_GUEST_ID = "0192f1c4-77aa-7b02-8d15-0c9c5a4e2f02"
_BOOKING_ID = "0192f1c5-0b1f-7e33-a4d7-91b2c6d8ef03"
_BLOCK_ID = "0192f1c8-4455-7a77-8b3e-8c9d0e1f2a07"
_CONFLICT_ID = "0192f1c9-5566-7b88-9c4f-9d0e1f2a3b08"
_OVERBOOKED_ID = "0192f1ca-6677-7c99-ad50-0e1f2a3b4c09"
_GROUP_ID = "0192f1cc-8899-7ebb-9f72-2a3b4c5d6e11"
_HOLD_ID = "0192f1cd-99aa-7fcc-a083-3b4c5d6e7f12"
_QUOTE_ID = "0192f1ce-aabb-7add-b194-4c5d6e7f8013"
_TIMES = {"created_at": "2026-03-02T09:30:00.000000Z", "updated_at": "2026-03-02T09:30:00.000000Z"}

_PROPERTY_CREATE = {
    "name": "Casa do Mar",
    "time_zone": "Europe/Lisbon",
    "currency": "EUR",
    "max_occupancy": 4,
    "location": {"latitude": 38.7, "longitude": -9.42},
    "amenities": ["wifi", "sea_view"],
    "preparation_days": 1,
    "lead_time_hours": 24,
    "booking_window_days": 365,
    "check_in_time": "15:00",
    "check_out_time": "11:00",
}
_PROPERTY = {"id": _PROPERTY_ID, **_PROPERTY_CREATE, "active": True, "inventory_version": 1, **_TIMES}
_STAY = {"check_in": "2026-07-03", "check_out": "2026-07-10"}
_OCCUPANCY = {"adults": 2, "children": 1, "infants": 0}
_BOOKING_CREATE = {
    "property_id": _PROPERTY_ID,
    **_STAY,
    "occupancy": _OCCUPANCY,
    "guest": {"name": "Ada Example", "email": "ada@example.com"},
    "notes": "Arrives late.",
}
_BOOKING = {
    "id": _BOOKING_ID,
    "property_id": _PROPERTY_ID,
    "guest_id": _GUEST_ID,
    **_STAY,
    "nights": 7,
    "status": "confirmed",
    "source": "direct",
    "occupancy": _OCCUPANCY,
    "currency": "EUR",
    "notes": "Arrives late.",
    "inventory_version": 2,
    **_TIMES,
}
_HIGH_SEASON = {"start_date": "2026-07-01", "end_date": "2026-09-01", "min_stay_arrival": 7}
_STAY_RULES = {
    "default": {"min_stay_arrival": 2},
    "weekday": {"6": {"closed_to_departure": True}},
    "dated": [_HIGH_SEASON],
}
_HIGH_RATE = {"start_date": "2026-07-01", "end_date": "2026-09-01", "rate_minor": 12_000}
_RATES = {
    "default_minor": 9_000,
    "weekday_minor": {"4": 10_000, "5": 10_000},
    "dated": [_HIGH_RATE],
    "cleaning_fee_minor": 5_000,
    "extra_guest_fee_minor": 1_500,
    "included_guests": 2,
    "length_of_stay_discounts": [{"min_nights": 7, "basis_points": 1_000}],
}
_QUOTE = {
    "id": _QUOTE_ID,
    "quote_id": _QUOTE_ID,
    "property_id": _PROPERTY_ID,
    "hold_id": _HOLD_ID,
    **_STAY,
    "occupancy": _OCCUPANCY,
    "currency": "EUR",
    "rules_version": 5,
    "nights": [{"date": f"2026-07-{day:02}", "rate_minor": 12_000} for day in range(3, 10)],
    "accommodation_minor": 84_000,
    "discount_minor": 8_400,
    "extra_guest_minor": 10_500,
    "cleaning_fee_minor": 5_000,
    "total_minor": 91_100,
    "created_at": "2026-03-02T09:30:00.000000Z",
    "expires_at": "2026-03-02T09:45:00.000000Z",
}
_GUEST = {
    "id": _GUEST_ID,
    "name": "Ada Example",
    "email": "ada@example.com",
    "total_bookings": 3,
    "total_spent": {"EUR": 273_300},
    "first_booking_at": "2025-03-02T09:30:00.000000Z",
    "last_booking_at": "2026-03-02T09:30:00.000000Z",
    "average_rating": 4.5,
    **_TIMES,
}
_GROUP_CREATE = {
    "stays": [{"property_id": _PROPERTY_ID, **_STAY, "occupancy": _OCCUPANCY}],
    "guest": {"name": "Ada Example", "email": "ada@example.com"},
}
_CHANGE = {"actor": "user:ana", "property_id": _PROPERTY_ID, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
_CREATED = {
    **_CHANGE,
    "action": "ReservationConfirmed",
    "at": "2026-03-02T09:30:00.000000Z",
    "inventory_version": 2,
    "after": {"status": "confirmed", **_STAY, "adults": 2},
}
_CANCELLED = {
    **_CHANGE,
    "action": "ReservationCancelled",
    "at": "2026-03-05T11:00:00.000000Z",
    "inventory_version": 3,
    "before": {"status": "confirmed"},
    "after": {"status": "cancelled"},
}
_HOLD = {
    "id": _HOLD_ID,
    "property_id": _PROPERTY_ID,
    **_STAY,
    "state": "active",
    "hold_expires_at": "2026-03-02T09:45:00.000000Z",
    "inventory_version": 3,
    **_TIMES,
}
_BLOCK_CREATE = {
    "property_id": _PROPERTY_ID,
    "start_date": "2026-08-01",
    "end_date": "2026-08-04",
    "reason": "New windows.",
}
_BLOCK = {"id": _BLOCK_ID, **_BLOCK_CREATE, "source": "manual", "active": True, "inventory_version": 3, **_TIMES}
_CONFLICT = {
    "id": _CONFLICT_ID,
    "property_id": _PROPERTY_ID,
    "reservation_id": _OVERBOOKED_ID,
    "state": "open",
    "check_in": "2026-07-08",
    "check_out": "2026-07-12",
    "competing_source_ids": [_BOOKING_ID],
    "opened_at": "2026-03-02T10:00:00.000000Z",
}
_FRESHNESS = {"as_of": "2026-03-02T09:31:00.250000Z", "inventory_version": 2, "lag_ms": 180, "source": "cache"}
_AVAILABILITY = {
    "property_id": _PROPERTY_ID,
    "from_date": "2026-07-01",
    "to_date": "2026-07-31",
    "ranges": [
        {"start_date": "2026-07-02", "end_date": "2026-07-03", "kind": "preparation"},
        {"start_date": "2026-07-03", "end_date": "2026-07-10", "kind": "reservation"},
        {"start_date": "2026-07-10", "end_date": "2026-07-11", "kind": "preparation"},
    ],
    **_FRESHNESS,
}
_CALENDAR = {
    "from_date": "2026-07-09",
    "to_date": "2026-07-11",
    "items": [
        {
            "property_id": _PROPERTY_ID,
            "currency": "EUR",
            "days": [
                {
                    "date": "2026-07-09",
                    "status": "closed",
                    "can_arrive": False,
                    "can_depart": False,
                    "reasons": ["reservation"],
                    "rate_minor": 12000,
                    "min_stay_arrival": 3,
                },
                {
                    "date": "2026-07-10",
                    "status": "closed",
                    "can_arrive": False,
                    "can_depart": False,
                    "reasons": ["preparation"],
                    "rate_minor": 12000,
                    "min_stay_arrival": 3,
                },
            ],
            **_FRESHNESS,
        }
    ],
    "as_of": _FRESHNESS["as_of"],
    "lag_ms": _FRESHNESS["lag_ms"],
}
_STAY_CHECK = {"property_id": _PROPERTY_ID, **_STAY, "occupancy": _OCCUPANCY}
_STAY_CHECKED = {
    "property_id": _PROPERTY_ID,
    **_STAY,
    "bookable": False,
    "violations": [{"code": "inventory_overlap", "date": "2026-07-03", "limit": "open", "actual": "reservation"}],
    "alternatives": [
        {
            "property_id": _PROPERTY_ID,
            "check_in": "2026-07-11",
            "check_out": "2026-07-18",
            "total_amount_minor": 84000,
            "currency": "EUR",
            "inventory_version": 2,
        }
    ],
    "total_amount_minor": 84000,
    "currency": "EUR",
    **_FRESHNESS,
}
_SEARCHED = {
    "items": [
        {
            "property_id": _PROPERTY_ID,
            **_STAY,
            "total_amount_minor": 84000,
            "currency": "EUR",
            "distance_km": 3.214,
            "inventory_version": 2,
        }
    ],
    "next_cursor": None,
    "unknown": 0,
    "as_of": _FRESHNESS["as_of"],
    "lag_ms": _FRESHNESS["lag_ms"],
    "source": "cache",
}
EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    availability.AvailabilityAnswer: _AVAILABILITY,
    availability.CalendarAnswer: _CALENDAR,
    availability.StayCheck: _STAY_CHECK,
    availability.StayChecked: _STAY_CHECKED,
    availability.SearchAnswer: _SEARCHED,
    booking.PropertyCreate: _PROPERTY_CREATE,
    booking.Property: _PROPERTY,
    booking.PropertyList: {"items": [_PROPERTY]},
    booking.BookingCreate: _BOOKING_CREATE,
    booking.Booking: _BOOKING,
    booking.BookingList: {"items": [_BOOKING], "next_cursor": "MjAyNi0wMy0wMlQwOTozMDowMFo"},
    guests.GuestCreate: {"name": "Ada Example", "email": "ada@example.com", "phone": "+351 210 000 000"},
    guests.GuestPatch: {"phone": None},
    guests.Guest: _GUEST,
    guests.GuestList: {"items": [_GUEST]},
    guests.GuestTimeline: {"items": [{"booking_id": _BOOKING_ID, **_CANCELLED}]},
    selling.PropertyPatch: {"name": "Casa do Mar II", "preparation_days": 2},
    selling.StayRulesPut: _STAY_RULES,
    selling.StayRulesPatch: {"items": [_HIGH_SEASON]},
    selling.PropertyStayRules: {"property_id": _PROPERTY_ID, "inventory_version": 4, **_STAY_RULES},
    selling.RatesPut: _RATES,
    selling.RatesPatch: {"items": [_HIGH_RATE, {**_HIGH_RATE, "start_date": "2026-08-30", "rate_minor": None}]},
    selling.PropertyRates: {"property_id": _PROPERTY_ID, "inventory_version": 5, "currency": "EUR", **_RATES},
    selling.BulkResult: {
        "property_id": _PROPERTY_ID,
        "inventory_version": 5,
        "items": [
            {"index": 0, "status": "applied"},
            {"index": 1, "status": "refused", "detail": "The end date must lie after the start date."},
        ],
    },
    selling.QuoteCreate: {"property_id": _PROPERTY_ID, **_STAY, "occupancy": _OCCUPANCY, "hold_id": _HOLD_ID},
    selling.Quote: _QUOTE,
    booking.BookingPatch: {"check_out": "2026-07-12", "notes": None},
    booking.RatingPut: {"rating": 5},
    booking.BookingHistory: {"items": [_CREATED, _CANCELLED]},
    booking.GroupBookingCreate: _GROUP_CREATE,
    booking.BookingGroup: {"group_id": _GROUP_ID, "bookings": [{**_BOOKING, "group_id": _GROUP_ID}]},
    booking.HoldCreate: {"property_id": _PROPERTY_ID, **_STAY, "expires_in_s": 900},
    booking.HoldPatch: {"expires_in_s": 1800},
    booking.Hold: _HOLD,
    booking.TransitionRequest: {"reason": "The guest fell ill."},
    booking.BlockCreate: _BLOCK_CREATE,
    booking.Block: _BLOCK,
    booking.BlockList: {"items": [_BLOCK]},
    booking.ChannelConflict: _CONFLICT,
    booking.ConflictResolve: {"action": "cancel"},
    booking.ChannelConflictList: {"items": [_CONFLICT]},
    **CHANNEL_EXAMPLES,
}
