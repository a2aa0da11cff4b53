"""Entries of what is free: one property's closed nights, calendars of several, checks of a stay."""

from contracts import availability_http_v1 as availability
from contracts.problems import ProblemCode
from gateway.api.table.route import DATE_TEXT, UUID_TEXT, PublicRoute, Query
from gateway.clients import AVAILABILITY

WINDOW = (
    Query("from_date", DATE_TEXT, "First night asked for.", required=True),
    Query("to_date", DATE_TEXT, "Day after the last night; at most 365 days after `from_date`.", required=True),
)

# The busiest route of all.
READ = PublicRoute(
    "read_availability",
    "GET",
    "/availability",
    AVAILABILITY,
    "/availability",
    "What is occupied between two dates, and how fresh the answer is",
    availability.AvailabilityAnswer,
    query=(
        Query("property_id", UUID_TEXT, "The property.", required=True),
        *WINDOW,
        Query(
            "min_version",
            {"type": "integer", "minimum": 0},
            "The `inventory_version` of an own write: the answer is never older.",
        ),
    ),
    problems=(ProblemCode.NOT_FOUND,),
)

ROUTES: tuple[PublicRoute, ...] = (
    READ,
    PublicRoute(
        "check_stay",
        "POST",
        "/availability/check",
        AVAILABILITY,
        "/availability/check",
        "May this stay be booked, and if not, why and what else may be",
        availability.StayChecked,
        body=availability.StayCheck,
        problems=(ProblemCode.NOT_FOUND,),
        description="Agrees with what `POST /bookings` would decide at the version it answers. Takes no night.",
    ),
    PublicRoute(
        "read_calendar",
        "GET",
        "/availability/calendar",
        AVAILABILITY,
        "/availability/calendar",
        "What may happen on each date at several properties",
        availability.CalendarAnswer,
        query=(
            Query(
                "property_id",
                {"type": "array", "items": UUID_TEXT, "minItems": 1, "maxItems": 50},
                "The properties, once for each.",
                required=True,
            ),
            *WINDOW,
            Query(
                "min_version",
                {"type": "array", "items": {"type": "string"}, "maxItems": 50},
                "`property_id:inventory_version` of an own write, once for each property: none is answered older.",
            ),
        ),
        problems=(ProblemCode.NOT_FOUND,),
    ),
)
