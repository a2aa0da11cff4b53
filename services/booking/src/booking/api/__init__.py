"""Booking over HTTP: parse, call one service function, choose the status. Public routes are reached by the gateway."""

from fastapi import APIRouter

from booking.api.answers import DepsOf
from booking.api.blocks import add_block_routes
from booking.api.bookings import add_booking_routes
from booking.api.conflicts import add_conflict_routes
from booking.api.guests import add_guest_routes
from booking.api.holds import add_hold_routes
from booking.api.properties import add_property_routes
from booking.api.selling import add_selling_routes

__all__ = ["DepsOf", "routes"]


def routes(deps: DepsOf) -> APIRouter:
    """All routes; `deps` gives the dependencies once the application runs."""
    router = APIRouter()
    for add in (
        add_booking_routes,
        add_property_routes,
        add_block_routes,
        add_conflict_routes,
        add_guest_routes,
        add_hold_routes,
        add_selling_routes,
    ):
        add(router, deps)
    return router
