"""Owns a good body of every route of booking that takes one; for the tests that spoil them or send them to others."""

from typing import Any

AN_ID = "0192f1c4-0000-7000-8000-000000000001"
ANOTHER_ID = "0192f1c4-0000-7000-8000-000000000002"
STAY = {"check_in": "2027-03-01", "check_out": "2027-03-04"}
NIGHTS = {"start_date": "2027-03-01", "end_date": "2027-03-04"}
PARTY = {"adults": 2, "children": 1, "infants": 0}
GUEST = {"name": "Ada", "email": "ada@example.com", "phone": "+351 555"}
RULE = {
    "min_stay_arrival": 2,
    "min_stay_through": 1,
    "max_stay": 30,
    "closed_to_arrival": False,
    "closed_to_departure": False,
    "stop_sell": False,
}
PROFILE = {
    "name": "Casa",
    "time_zone": "Europe/Lisbon",
    "currency": "EUR",
    "max_occupancy": 4,
    "location": {"latitude": 38.7, "longitude": -9.1},
    "amenities": ["pool"],
    "preparation_days": 1,
    "lead_time_hours": 2,
    "booking_window_days": 700,
    "check_in_time": "15:00",
    "check_out_time": "11:00",
}
WANTED = {"property_id": AN_ID, **STAY, "occupancy": PARTY}
BOOKED = {"hold_id": AN_ID, "quote_id": AN_ID, "notes": "late"}
GRANTED = {"roles": ["staff"], "property_ids": [AN_ID]}
REASON = [{"reason": "changed plans"}]

# A good body of every route that takes one, with every field it may have.
GOOD: dict[str, list[dict[str, Any]]] = {
    "POST /properties": [PROFILE],
    "PATCH /properties/{property_id}": [{**PROFILE, "active": True}],
    "POST /bookings": [
        {**WANTED, **BOOKED, "guest": GUEST, "status": "confirmed", "expected_total_minor": 5},
        {**WANTED, "guest_id": AN_ID},
    ],
    "POST /bookings/groups": [
        {"stays": [{**WANTED, **BOOKED}], "guest": GUEST, "status": "pending"},
        {"stays": [WANTED], "guest_id": AN_ID},
    ],
    "PATCH /bookings/{booking_id}": [{**WANTED, "notes": "late"}],
    "PUT /bookings/{booking_id}/rating": [{"rating": 5}],
    "POST /bookings/{booking_id}/cancel": REASON,
    "POST /bookings/{booking_id}/decline": REASON,
    "POST /bookings/{booking_id}/no-show": REASON,
    "POST /blocks": [{"property_id": AN_ID, **NIGHTS, "reason": "roof"}],
    "POST /channel-conflicts/{conflict_id}/resolve": [
        {"action": "move", "reservation_id": AN_ID, "property_id": AN_ID},
    ],
    "POST /guests": [GUEST],
    "PATCH /guests/{guest_id}": [GUEST],
    "POST /holds": [{"property_id": AN_ID, **STAY, "expires_in_s": 60}],
    "PATCH /holds/{hold_id}": [{"expires_in_s": 60}],
    "POST /quotes": [{**WANTED, "hold_id": AN_ID}],
    "PUT /properties/{property_id}/stay-rules": [
        {"default": RULE, "weekday": {"0": RULE}, "dated": [{**NIGHTS, **RULE}]}
    ],
    "PATCH /properties/{property_id}/stay-rules": [{"items": [{**NIGHTS, **RULE}]}],
    "PUT /properties/{property_id}/rates": [
        {
            "default_minor": 5000,
            "weekday_minor": {"6": 7000},
            "dated": [{**NIGHTS, "rate_minor": 9000}],
            "cleaning_fee_minor": 3000,
            "extra_guest_fee_minor": 1000,
            "included_guests": 2,
            "length_of_stay_discounts": [{"min_nights": 7, "basis_points": 500}],
        }
    ],
    "PATCH /properties/{property_id}/rates": [{"items": [{**NIGHTS, "rate_minor": 9000}]}],
    "POST /auth/token": [
        {"grant": "password", "email": "ada@example.com", "password": "a wrong password", "agency_id": AN_ID},
        {"grant": "api_key", "api_key": "pms_wrong"},
    ],
    "POST /auth/refresh": [{"refresh_token": "wrong"}],
    "POST /auth/logout": [{"refresh_token": "wrong"}],
    "POST /auth/accept-link": [{"token": "wrong", "password": "a good password"}],
    "POST /users": [{"email": "ada@example.com", **GRANTED}],
    "PATCH /users/{user_id}": [{**GRANTED, "active": True}],
    "POST /api-keys": [{"name": "importer", **GRANTED, "expires_in_days": 30}],
}  # fmt: skip
