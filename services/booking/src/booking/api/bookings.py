"""Routes of bookings: the HTTP side of reservations."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from booking.api.answers import DEFAULT_LIMIT, DepsOf, Since, Text, answer, list_answer, page_of
from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.model import Reservation, ReservationFilter
from booking.events import bodies
from booking.service import groups, modifying, reservations, transitions
from booking.service.modifying import Patch
from booking.service.writing import Deps
from contracts import booking_http_v1 as http
from contracts.problems import ProblemCode
from contracts.values import CalendarDate, ReservationStatus
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit
from runtime.problems import ProblemError

WithReason = Callable[[Deps, UUID, UUID, str | None], Awaitable[Reservation]]
Plain = Callable[[Deps, UUID, UUID], Awaitable[Reservation]]


def add_booking_routes(router: APIRouter, deps: DepsOf) -> None:
    """Create, read, list and change bookings."""
    _add_creation(router, deps)
    _add_reading(router, deps)
    _add_changing(router, deps)
    for path, plain in (
        ("confirm", transitions.confirm),
        ("check-in", transitions.check_in),
        ("check-out", transitions.check_out),
    ):
        _add_transition(router, deps, path, plain)
    for path, with_reason in (
        ("cancel", transitions.cancel),
        ("decline", transitions.decline),
        ("no-show", transitions.mark_no_show),
    ):
        _add_transition_with_reason(router, deps, path, with_reason)


def _add_creation(router: APIRouter, deps: DepsOf) -> None:
    @router.post("/bookings", status_code=201, response_model=http.Booking)
    async def create_booking(body: http.BookingCreate, request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        is_plain = body.hold_id is None and body.quote_id is None
        book = reservations.book if is_plain else groups.book_hold
        return (await book(deps.of(caller), agency_of(caller), _draft(body), key)).response()

    @router.post("/bookings/groups", status_code=201, response_model=http.BookingGroup)
    async def create_group(body: http.GroupBookingCreate, request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        return (await groups.book_group(deps.of(caller), agency_of(caller), _group_drafts(body), key)).response()


def _add_reading(router: APIRouter, deps: DepsOf) -> None:
    @router.get("/bookings", response_model=http.BookingList)
    async def list_bookings(
        caller: CallerOf,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        property_id: UUID | None = None,
        guest_id: UUID | None = None,
        status: ReservationStatus | None = None,
        source: Annotated[str | None, Query(pattern="^(direct|ota)$")] = None,
        from_date: CalendarDate | None = None,
        to_date: CalendarDate | None = None,
        updated_since: Since | None = None,
        q: Text = None,
        with_total: bool = False,
    ) -> Response:
        only = ReservationFilter(
            property_id, guest_id, status.value if status else None, source, from_date, to_date, updated_since, q
        )
        found, total = await reservations.list_page(
            deps.of(caller), agency_of(caller), page_of(limit, cursor), only, with_total=with_total
        )
        return list_answer([bodies.reservation_body(record) for record in found], limit, "created_at", total)

    @router.get("/bookings/{booking_id}", response_model=http.Booking)
    async def get_booking(booking_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.reservation_body(await reservations.get(deps.of(caller), agency_of(caller), booking_id)))

    @router.get("/bookings/{booking_id}/history", response_model=http.BookingHistory)
    async def get_history(booking_id: UUID, caller: CallerOf) -> Response:
        found = await reservations.history(deps.of(caller), agency_of(caller), booking_id)
        return answer({"items": [bodies.history_body(entry) for entry in found]})


def _add_changing(router: APIRouter, deps: DepsOf) -> None:
    @router.patch("/bookings/{booking_id}", response_model=http.Booking)
    async def modify_booking(booking_id: UUID, body: http.BookingPatch, caller: CallerOf) -> Response:
        found = await modifying.modify(deps.of(caller), agency_of(caller), booking_id, _patch(body))
        return answer(bodies.reservation_body(found))

    @router.put("/bookings/{booking_id}/rating", response_model=http.Booking)
    async def rate_booking(booking_id: UUID, body: http.RatingPut, caller: CallerOf) -> Response:
        found = await transitions.rate(deps.of(caller), agency_of(caller), booking_id, body.rating)
        return answer(bodies.reservation_body(found))

    @router.delete("/bookings/{booking_id}", status_code=405, include_in_schema=False)
    async def delete_booking(booking_id: UUID, _: CallerOf) -> Response:
        detail = f"Reservations are never deleted: POST /bookings/{booking_id}/cancel gives the nights back."
        raise ProblemError(405, ProblemCode.METHOD_NOT_ALLOWED, detail, headers={"Allow": "GET, PATCH"})


def _add_transition(router: APIRouter, deps: DepsOf, path: str, change: Plain) -> None:
    @router.post(f"/bookings/{{booking_id}}/{path}", response_model=http.Booking, name=path)
    async def transition(booking_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.reservation_body(await change(deps.of(caller), agency_of(caller), booking_id)))


def _add_transition_with_reason(router: APIRouter, deps: DepsOf, path: str, change: WithReason) -> None:
    @router.post(f"/bookings/{{booking_id}}/{path}", response_model=http.Booking, name=path)
    async def transition(booking_id: UUID, caller: CallerOf, body: http.TransitionRequest | None = None) -> Response:
        reason = body.reason if body is not None else None
        return answer(bodies.reservation_body(await change(deps.of(caller), agency_of(caller), booking_id, reason)))


def _guest(guest: http.GuestInput | None, guest_id: UUID | None) -> GuestDraft:
    return GuestDraft(guest_id) if guest is None else GuestDraft(None, guest.name, guest.email, guest.phone)


def _draft(body: http.BookingCreate) -> BookingDraft:
    return BookingDraft(
        property_id=body.property_id,
        check_in=body.check_in,
        check_out=body.check_out,
        adults=body.occupancy.adults,
        children=body.occupancy.children,
        infants=body.occupancy.infants,
        status=body.status,
        notes=body.notes,
        guest=_guest(body.guest, body.guest_id),
        hold_id=body.hold_id,
        expected_total_minor=body.expected_total_minor,
        quote_id=body.quote_id,
    )


def _group_drafts(body: http.GroupBookingCreate) -> list[BookingDraft]:
    guest = _guest(body.guest, body.guest_id)
    return [
        BookingDraft(
            property_id=stay.property_id,
            check_in=stay.check_in,
            check_out=stay.check_out,
            adults=stay.occupancy.adults,
            children=stay.occupancy.children,
            infants=stay.occupancy.infants,
            status=body.status,
            notes=stay.notes,
            guest=guest,
            hold_id=stay.hold_id,
            quote_id=stay.quote_id,
        )
        for stay in body.stays
    ]


def _patch(body: http.BookingPatch) -> Patch:
    occupancy = body.occupancy
    return Patch(
        check_in=body.check_in,
        check_out=body.check_out,
        adults=occupancy.adults if occupancy else None,
        children=occupancy.children if occupancy else None,
        infants=occupancy.infants if occupancy else None,
        property_id=body.property_id,
        notes=body.notes,
        sets_notes="notes" in body.model_fields_set,
    )
