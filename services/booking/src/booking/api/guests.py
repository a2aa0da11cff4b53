"""Routes of guests: the record, its figures, its timeline, its erasure."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from booking.api.answers import DEFAULT_LIMIT, DepsOf, Text, answer, list_answer, page_of
from booking.domain.model import Guest
from booking.events import bodies
from booking.service import guests
from contracts import booking_guests_http_v1 as http
from contracts.problems import ProblemCode
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit
from runtime.problems import ProblemError

Number = Annotated[int | None, Query(ge=0, le=2**63 - 1, description="`next_cursor` of the page before.")]


def add_guest_routes(router: APIRouter, deps: DepsOf) -> None:
    """Create, find, change, delete and erase guests; their timeline."""
    _add_records(router, deps)

    @router.post("/guests/{guest_id}/erase", response_model=http.Guest)
    async def erase_guest(guest_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.guest_body(await guests.erase(deps.of(caller), agency_of(caller), guest_id)))

    @router.get("/guests/{guest_id}/timeline", response_model=http.GuestTimeline)
    async def get_timeline(
        guest_id: UUID, caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Number = None
    ) -> Response:
        found = await guests.timeline(deps.of(caller), agency_of(caller), guest_id, cursor, limit)
        items = [{"booking_id": str(entry.reservation_id), **bodies.history_body(entry)} for _, entry in found]
        next_cursor = str(found[-1][0]) if len(found) == limit else None
        return answer({"items": items, "next_cursor": next_cursor})


def _add_records(router: APIRouter, deps: DepsOf) -> None:
    @router.post("/guests", status_code=201, response_model=http.Guest)
    async def create_guest(body: http.GuestCreate, request: Request, caller: CallerOf) -> Response:
        guest = Guest(uuid4(), agency_of(caller), body.name, body.email, body.phone)
        return (await guests.create(deps.of(caller), guest, await idempotency_key(request, caller))).response()

    @router.get("/guests", response_model=http.GuestList)
    async def list_guests(
        caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None, email: Text = None, q: Text = None
    ) -> Response:
        found = await guests.list_page(deps.of(caller), agency_of(caller), page_of(limit, cursor), email, q)
        return list_answer([bodies.guest_body(record) for record in found], limit, "created_at")

    @router.get("/guests/{guest_id}", response_model=http.Guest)
    async def get_guest(guest_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.guest_body(await guests.get(deps.of(caller), agency_of(caller), guest_id)))

    @router.patch("/guests/{guest_id}", response_model=http.Guest)
    async def modify_guest(guest_id: UUID, body: http.GuestPatch, caller: CallerOf) -> Response:
        fields = body.model_dump(exclude_unset=True)
        if "name" in fields and fields["name"] is None:
            raise ProblemError(422, ProblemCode.VALIDATION_ERROR, "body.name: leave a field out to keep it")
        return answer(bodies.guest_body(await guests.modify(deps.of(caller), agency_of(caller), guest_id, fields)))

    @router.delete("/guests/{guest_id}", response_model=http.Guest)
    async def delete_guest(guest_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.guest_body(await guests.delete(deps.of(caller), agency_of(caller), guest_id)))
