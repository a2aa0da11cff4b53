"""Routes of holds: nights kept for somebody for a while."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response

from booking.api.answers import DepsOf, answer
from booking.domain.model import Hold
from booking.events import bodies
from booking.service import holds
from contracts import booking_http_v1 as http
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key

# The service says when a hold ends, by the database's clock.
NOT_KNOWN_YET = datetime.max.replace(tzinfo=UTC)


def add_hold_routes(router: APIRouter, deps: DepsOf) -> None:
    """Place, read, extend and release holds."""

    @router.post("/holds", status_code=201, response_model=http.Hold)
    async def create_hold(body: http.HoldCreate, request: Request, caller: CallerOf) -> Response:
        hold = Hold(uuid4(), agency_of(caller), body.property_id, body.check_in, body.check_out, NOT_KNOWN_YET)
        key = await idempotency_key(request, caller)
        return (await holds.place(deps.of(caller), hold, timedelta(seconds=body.expires_in_s), key)).response()

    @router.get("/holds/{hold_id}", response_model=http.Hold)
    async def get_hold(hold_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.hold_body(await holds.get(deps.of(caller), agency_of(caller), hold_id)))

    @router.patch("/holds/{hold_id}", response_model=http.Hold)
    async def extend_hold(hold_id: UUID, body: http.HoldPatch, caller: CallerOf) -> Response:
        lasts = timedelta(seconds=body.expires_in_s)
        return answer(bodies.hold_body(await holds.extend(deps.of(caller), agency_of(caller), hold_id, lasts)))

    @router.delete("/holds/{hold_id}", response_model=http.Hold)
    async def release_hold(hold_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.hold_body(await holds.release(deps.of(caller), agency_of(caller), hold_id)))
