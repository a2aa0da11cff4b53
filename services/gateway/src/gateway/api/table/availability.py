"""Entries of what is free: one property's closed nights, calendars of several, searches, checks of a stay."""

import inspect

from contracts import availability_http_v1 as availability
from contracts.problems import ProblemCode
from gateway.api.table.route import PublicRoute, queries_of
from gateway.clients import AVAILABILITY

# The busiest route of all.
READ = PublicRoute(
    "read_availability",
    "GET",
    "/availability",
    AVAILABILITY,
    "/availability",
    "What is occupied between two dates, and how fresh the answer is",
    availability.AvailabilityAnswer,
    query=queries_of(availability.AvailabilityQuery),
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
        "search_availability",
        "GET",
        "/availability/search",
        AVAILABILITY,
        "/availability/search",
        "Which properties may be booked for dates or in a window of them, at which price",
        availability.SearchAnswer,
        query=queries_of(availability.SearchQuery),
        problems=(ProblemCode.NOT_FOUND,),
        description=inspect.getdoc(availability.SearchQuery) or "",
    ),
    PublicRoute(
        "read_calendar",
        "GET",
        "/availability/calendar",
        AVAILABILITY,
        "/availability/calendar",
        "What may happen on each date at several properties",
        availability.CalendarAnswer,
        query=queries_of(availability.CalendarQuery),
        problems=(ProblemCode.NOT_FOUND,),
    ),
)
