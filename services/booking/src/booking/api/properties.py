"""Routes of properties, and of their whole state for other services."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from booking import events
from booking.api.answers import DEFAULT_LIMIT, DepsOf, answer, list_answer, page_of
from booking.domain.model import Property
from booking.events import bodies
from booking.service import properties
from contracts import booking_http_v1 as http
from contracts.values import CalendarDate
from runtime.http import CallerOf, ServiceCaller, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit


def add_property_routes(router: APIRouter, deps: DepsOf) -> None:
    """Public and internal routes."""

    @router.post("/properties", status_code=201, response_model=http.Property)
    async def create_property(body: http.PropertyCreate, request: Request, caller: CallerOf) -> Response:
        record = _property(agency_of(caller), body)
        key = await idempotency_key(request, caller)
        return (await properties.create(deps.of(caller), record, key)).response()

    @router.get("/properties", response_model=http.PropertyList)
    async def list_properties(caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
        found = await properties.list_page(deps.of(caller), agency_of(caller), page_of(limit, cursor))
        return list_answer([bodies.property_body(record) for record in found], limit, "created_at")

    @router.get("/properties/{property_id}", response_model=http.Property)
    async def get_property(property_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.property_body(await properties.get(deps.of(caller), agency_of(caller), property_id)))

    @router.delete("/properties/{property_id}", response_model=http.Property)
    async def delete_property(property_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.property_body(await properties.delete(deps.of(caller), agency_of(caller), property_id)))

    @router.get("/internal/properties/digests", response_model=http.PropertyDigests)
    async def list_digests(
        _: ServiceCaller,
        after: CalendarDate,
        cursor: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    ) -> Response:
        found = await properties.digests(deps.system, after, cursor, limit)
        items = [
            {"property_id": property_id, "inventory_version": version, "digest": digest}
            for property_id, version, digest in found.items
        ]
        next_cursor = found.items[-1][0] if len(found.items) == limit else None
        return answer({"after": after, "as_of": found.as_of, "items": items, "next_cursor": next_cursor})

    @router.get("/internal/properties/{property_id}/state", response_model=http.PropertyState)
    async def get_property_state(property_id: UUID, _: ServiceCaller, since: CalendarDate | None = None) -> Response:
        found = await properties.state(deps.system, property_id, since)
        whole = events.snapshot(found.owner, found.terms, found.ranges).model_dump(mode="json")
        return answer({"as_of": found.as_of, "state": whole})


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
