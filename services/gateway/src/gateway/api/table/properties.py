"""Entries of properties, their blocks and their availability."""

from contracts import availability_http_v1 as availability
from contracts import booking_http_v1 as booking
from contracts.problems import ProblemCode
from gateway.api.table.route import DATE_TEXT, PAGE, PROPERTY_ID, UUID_TEXT, PublicRoute, Query
from gateway.clients import AVAILABILITY, BOOKING

AVAILABILITY_QUERY = (
    Query("property_id", UUID_TEXT, "The property.", required=True),
    Query("from_date", DATE_TEXT, "First night asked for.", required=True),
    Query("to_date", DATE_TEXT, "Day after the last night; at most 365 days after `from_date`.", required=True),
    Query(
        "min_version",
        {"type": "integer", "minimum": 0},
        "The `inventory_version` of an own write: the answer is never older.",
    ),
)

READ_AVAILABILITY = PublicRoute(
    "read_availability",
    "GET",
    "/availability",
    AVAILABILITY,
    "/availability",
    "What is occupied between two dates, and how fresh the answer is",
    availability.AvailabilityAnswer,
    query=AVAILABILITY_QUERY,
    problems=(ProblemCode.NOT_FOUND,),
)

ROUTES: tuple[PublicRoute, ...] = (
    PublicRoute(
        "create_property",
        "POST",
        "/properties",
        BOOKING,
        "/properties",
        "Add a property",
        booking.Property,
        201,
        body=booking.PropertyCreate,
        creates=True,
    ),
    PublicRoute(
        "list_properties",
        "GET",
        "/properties",
        BOOKING,
        "/properties",
        "List properties",
        booking.PropertyList,
        query=PAGE,
    ),
    PublicRoute(
        "read_property", "GET", "/properties/{id}", BOOKING, "/properties/{id}", "Read a property", booking.Property
    ),
    PublicRoute(
        "delete_property",
        "DELETE",
        "/properties/{id}",
        BOOKING,
        "/properties/{id}",
        "Take a property away for good; again answers the same",
        booking.Property,
        problems=(ProblemCode.PROPERTY_IN_USE, ProblemCode.DEADLOCK),
        description="Refused while nights from today on are taken or asked for. Its reservations stay readable.",
    ),
    PublicRoute(
        "create_block",
        "POST",
        "/availability/blocks",
        BOOKING,
        "/blocks",
        "Close nights by hand",
        booking.Block,
        201,
        body=booking.BlockCreate,
        creates=True,
        problems=(ProblemCode.INVENTORY_OVERLAP, ProblemCode.DEADLOCK, ProblemCode.NOT_FOUND),
    ),
    PublicRoute(
        "list_blocks",
        "GET",
        "/availability/blocks",
        BOOKING,
        "/blocks",
        "List active blocks",
        booking.BlockList,
        query=(PROPERTY_ID, *PAGE),
    ),
    PublicRoute(
        "read_block", "GET", "/availability/blocks/{id}", BOOKING, "/blocks/{id}", "Read a block", booking.Block
    ),
    PublicRoute(
        "delete_block",
        "DELETE",
        "/availability/blocks/{id}",
        BOOKING,
        "/blocks/{id}",
        "Open the nights of a block again",
        booking.Block,
        problems=(ProblemCode.DEADLOCK,),
    ),
)
