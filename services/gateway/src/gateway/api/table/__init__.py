"""The public routes, one entry each: who serves it, where, with which models; read by the other modules of `api`."""

from gateway.api.table import availability, bookings, channels, guests, properties, selling
from gateway.api.table.route import PublicRoute, Query

__all__ = ["PREFIX", "ROUTES", "PublicRoute", "Query"]

PREFIX = "/api/v1"

# The busiest routes stand first: routes are matched from the top.
ROUTES: tuple[PublicRoute, ...] = (
    *availability.ROUTES,
    *bookings.ROUTES,
    *properties.ROUTES,
    *selling.ROUTES,
    *guests.ROUTES,
    *channels.ROUTES,
)
