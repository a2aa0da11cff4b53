"""Entries of guests."""

from contracts import booking_guests_http_v1 as guests
from contracts.problems import ProblemCode
from gateway.api.table.route import LIMIT, PAGE, PublicRoute, Query
from gateway.clients import BOOKING

ROUTES: tuple[PublicRoute, ...] = (
    PublicRoute(
        "create_guest",
        "POST",
        "/guests",
        BOOKING,
        "/guests",
        "Add a guest",
        guests.Guest,
        201,
        body=guests.GuestCreate,
        creates=True,
        problems=(ProblemCode.ALREADY_EXISTS,),
        description="A booking finds its guest by e-mail, so this is seldom needed.",
    ),
    PublicRoute(
        "list_guests",
        "GET",
        "/guests",
        BOOKING,
        "/guests",
        "List guests, newest first",
        guests.GuestList,
        query=(
            Query("email", {"type": "string", "maxLength": 200}, "Only with this e-mail, whatever its case."),
            Query("q", {"type": "string", "maxLength": 200}, "A part of the name or the e-mail."),
            *PAGE,
        ),
    ),
    PublicRoute(
        "read_guest",
        "GET",
        "/guests/{id}",
        BOOKING,
        "/guests/{id}",
        "Read a guest and their figures",
        guests.Guest,
        description="The figures `total_bookings`, `total_spent`, `first_booking_at` and `last_booking_at` are over "
        f"the guest's reservations that {guests.COUNTED}; they change in the transaction that changes the reservation. "
        "`average_rating` is over all ratings.",
    ),
    PublicRoute(
        "modify_guest",
        "PATCH",
        "/guests/{id}",
        BOOKING,
        "/guests/{id}",
        "Change name, e-mail or phone of a guest",
        guests.Guest,
        body=guests.GuestPatch,
        problems=(ProblemCode.ALREADY_EXISTS,),
    ),
    PublicRoute(
        "delete_guest",
        "DELETE",
        "/guests/{id}",
        BOOKING,
        "/guests/{id}",
        "Hide a guest from lists and look-ups; the reservations stay",
        guests.Guest,
    ),
    PublicRoute(
        "erase_guest",
        "POST",
        "/guests/{id}/erase",
        BOOKING,
        "/guests/{id}/erase",
        "Remove a guest's personal data for good",
        guests.Guest,
        problems=(ProblemCode.DEADLOCK,),
        description="Gone at once here, and in every other service as soon as it hears of it. Requests with an "
        "Idempotency-Key whose stored answer named the guest answer 410 `erased`.",
    ),
    PublicRoute(
        "read_guest_timeline",
        "GET",
        "/guests/{id}/timeline",
        BOOKING,
        "/guests/{id}/timeline",
        "Every change of the guest's reservations, newest first",
        guests.GuestTimeline,
        query=(LIMIT, Query("cursor", {"type": "integer", "minimum": 0}, "`next_cursor` of the page before.")),
    ),
)
