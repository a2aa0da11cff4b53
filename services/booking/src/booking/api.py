"""Booking over HTTP: parse, call one service function, choose the status. Public routes are reached by the gateway."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Query, Request, Response

from booking import events
from booking.domain.model import Block, Page, Property
from booking.service import blocks, channel, properties, reservations
from booking.service.reservations import BookingDraft
from booking.service.writing import Deps
from contracts import booking_http_v1 as http
from contracts.values import ReservationStatus
from runtime.http import CallerOf, ServiceCaller, agency_of, json_bytes
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit, decode_cursor, encode_cursor

DEFAULT_LIMIT = 50


def routes(deps: "DepsOf") -> APIRouter:
    """All routes; `deps` gives the dependencies once the application runs."""
    router = APIRouter()
    _property_routes(router, deps)
    _booking_routes(router, deps)
    _block_routes(router, deps)
    _conflict_routes(router, deps)
    return router


class DepsOf:
    """Holds the dependencies of the routes, which exist only while the application runs."""

    api: Deps
    system: Deps


def _property_routes(router: APIRouter, deps: DepsOf) -> None:
    @router.post("/properties", status_code=201, response_model=http.Property)
    async def create_property(body: http.PropertyCreate, request: Request, caller: CallerOf) -> Response:
        record = _property(agency_of(caller), body)
        key = await idempotency_key(request, caller)
        answer = await properties.create(deps.api, record, key)
        return answer.response()

    @router.get("/properties", response_model=http.PropertyList)
    async def list_properties(caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
        found = await properties.list_page(deps.api, agency_of(caller), _page(limit, cursor))
        return _list_answer([events.property_body(record) for record in found], limit, "created_at")

    @router.get("/properties/{property_id}", response_model=http.Property)
    async def get_property(property_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.property_body(await properties.get(deps.api, agency_of(caller), property_id)))

    @router.get("/internal/properties/digests", response_model=http.PropertyDigests)
    async def list_digests(
        _: ServiceCaller,
        after: date,
        cursor: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    ) -> Response:
        found = await properties.digests(deps.system, after, cursor, limit)
        items = [
            {"property_id": property_id, "inventory_version": version, "digest": digest}
            for property_id, version, digest in found
        ]
        next_cursor = found[-1][0] if len(found) == limit else None
        return _answer({"after": after, "items": items, "next_cursor": next_cursor})

    @router.get("/internal/properties/{property_id}/state", response_model=http.PropertyState)
    async def get_property_state(property_id: UUID, _: ServiceCaller) -> Response:
        found = await properties.state(deps.system, property_id)
        whole = events.snapshot(found.owner, found.ranges).model_dump(mode="json")
        return _answer({"as_of": found.as_of, "state": whole})


def _booking_routes(router: APIRouter, deps: DepsOf) -> None:
    @router.post("/bookings", status_code=201, response_model=http.Booking)
    async def create_booking(body: http.BookingCreate, request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        answer = await reservations.book(deps.api, agency_of(caller), _draft(body), key)
        return answer.response()

    @router.get("/bookings", response_model=http.BookingList)
    async def list_bookings(
        caller: CallerOf,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        property_id: UUID | None = None,
        status: ReservationStatus | None = None,
    ) -> Response:
        found = await reservations.list_page(
            deps.api, agency_of(caller), _page(limit, cursor), property_id, status.value if status else None
        )
        return _list_answer([events.reservation_body(record) for record in found], limit, "created_at")

    @router.get("/bookings/{booking_id}", response_model=http.Booking)
    async def get_booking(booking_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.reservation_body(await reservations.get(deps.api, agency_of(caller), booking_id)))

    @router.post("/bookings/{booking_id}/confirm", response_model=http.Booking)
    async def confirm_booking(booking_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.reservation_body(await reservations.confirm(deps.api, agency_of(caller), booking_id)))

    @router.post("/bookings/{booking_id}/cancel", response_model=http.Booking)
    async def cancel_booking(
        booking_id: UUID, caller: CallerOf, body: http.TransitionRequest | None = None
    ) -> Response:
        reason = body.reason if body is not None else None
        found = await reservations.cancel(deps.api, agency_of(caller), booking_id, reason)
        return _answer(events.reservation_body(found))


def _block_routes(router: APIRouter, deps: DepsOf) -> None:
    @router.post("/blocks", status_code=201, response_model=http.Block)
    async def create_block(body: http.BlockCreate, request: Request, caller: CallerOf) -> Response:
        block = Block(
            uuid4(), agency_of(caller), body.property_id, body.start_date, body.end_date, body.reason, "manual", True
        )
        key = await idempotency_key(request, caller)
        return (await blocks.create(deps.api, block, key)).response()

    @router.get("/blocks", response_model=http.BlockList)
    async def list_blocks(
        caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None, property_id: UUID | None = None
    ) -> Response:
        found = await blocks.list_page(deps.api, agency_of(caller), _page(limit, cursor), property_id)
        return _list_answer([events.block_body(record) for record in found], limit, "created_at")

    @router.get("/blocks/{block_id}", response_model=http.Block)
    async def get_block(block_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.block_body(await blocks.get(deps.api, agency_of(caller), block_id)))

    @router.delete("/blocks/{block_id}", response_model=http.Block)
    async def delete_block(block_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.block_body(await blocks.delete(deps.api, agency_of(caller), block_id)))


def _conflict_routes(router: APIRouter, deps: DepsOf) -> None:
    @router.get("/channel-conflicts", response_model=http.ChannelConflictList)
    async def list_conflicts(
        caller: CallerOf,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        state: Literal["open", "closed"] | None = None,
    ) -> Response:
        found = await channel.list_conflicts(deps.api, agency_of(caller), _page(limit, cursor), state)
        return _list_answer([events.conflict_body(record) for record in found], limit, "opened_at")

    @router.get("/channel-conflicts/{conflict_id}", response_model=http.ChannelConflict)
    async def get_conflict(conflict_id: UUID, caller: CallerOf) -> Response:
        return _answer(events.conflict_body(await channel.get_conflict(deps.api, agency_of(caller), conflict_id)))


def _property(agency_id: UUID, body: http.PropertyCreate) -> Property:
    return Property(
        id=uuid4(),
        agency_id=agency_id,
        name=body.name,
        time_zone=body.time_zone,
        currency=body.currency,
        max_occupancy=body.max_occupancy,
        preparation_days=body.preparation_days,
        lead_time_hours=body.lead_time_hours,
        booking_window_days=body.booking_window_days,
        check_in_time=body.check_in_time,
        check_out_time=body.check_out_time,
        latitude=body.location.latitude if body.location else None,
        longitude=body.location.longitude if body.location else None,
        amenities=tuple(body.amenities),
    )


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


def _page(limit: int, cursor: str | None) -> Page:
    position = decode_cursor(cursor)
    return Page(limit, position.at, position.id) if position else Page(limit)


def _answer(body: dict[str, Any]) -> Response:
    return json_bytes(orjson.dumps(body))


def _list_answer(items: list[dict[str, Any]], limit: int, instant: str) -> Response:
    next_cursor = encode_cursor(items[-1][instant], UUID(items[-1]["id"])) if len(items) == limit else None
    return _answer({"items": items, "next_cursor": next_cursor})
