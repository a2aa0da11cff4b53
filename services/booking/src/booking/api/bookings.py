"""Routes of bookings: the HTTP side of reservations."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from booking import events
from booking.api.answers import DEFAULT_LIMIT, DepsOf, answer, list_answer, page_of
from booking.service import reservations
from booking.service.reservations import BookingDraft
from contracts import booking_http_v1 as http
from contracts.values import ReservationStatus
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit


def add_booking_routes(router: APIRouter, deps: DepsOf) -> None:
    """Create, read, list and change bookings."""

    @router.post("/bookings", status_code=201, response_model=http.Booking)
    async def create_booking(body: http.BookingCreate, request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        return (await reservations.book(deps.api, agency_of(caller), _draft(body), key)).response()

    @router.get("/bookings", response_model=http.BookingList)
    async def list_bookings(
        caller: CallerOf,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        property_id: UUID | None = None,
        status: ReservationStatus | None = None,
    ) -> Response:
        found = await reservations.list_page(
            deps.api, agency_of(caller), page_of(limit, cursor), property_id, status.value if status else None
        )
        return list_answer([events.reservation_body(record) for record in found], limit, "created_at")

    @router.get("/bookings/{booking_id}", response_model=http.Booking)
    async def get_booking(booking_id: UUID, caller: CallerOf) -> Response:
        return answer(events.reservation_body(await reservations.get(deps.api, agency_of(caller), booking_id)))

    @router.post("/bookings/{booking_id}/confirm", response_model=http.Booking)
    async def confirm_booking(booking_id: UUID, caller: CallerOf) -> Response:
        return answer(events.reservation_body(await reservations.confirm(deps.api, agency_of(caller), booking_id)))

    @router.post("/bookings/{booking_id}/cancel", response_model=http.Booking)
    async def cancel_booking(
        booking_id: UUID, caller: CallerOf, body: http.TransitionRequest | None = None
    ) -> Response:
        reason = body.reason if body is not None else None
        found = await reservations.cancel(deps.api, agency_of(caller), booking_id, reason)
        return answer(events.reservation_body(found))


def _draft(body: http.BookingCreate) -> BookingDraft:
    guest = body.guest
    return BookingDraft(
        property_id=body.property_id,
        check_in=body.check_in,
        check_out=body.check_out,
        adults=body.occupancy.adults,
        children=body.occupancy.children,
        infants=body.occupancy.infants,
        status=body.status,
        notes=body.notes,
        guest_id=body.guest_id,
        guest_name=guest.name if guest else None,
        guest_email=guest.email if guest else None,
        guest_phone=guest.phone if guest else None,
    )
