"""Entries of properties and their blocks."""

from contracts import booking_http_v1 as booking
from contracts.problems import ProblemCode
from gateway.api.table.route import PAGE, PROPERTY_ID, PublicRoute
from gateway.clients import BOOKING

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
