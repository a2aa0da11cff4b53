"""Routes of channel conflicts: overbooked stays and what they compete with."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Response

from booking.api.answers import DEFAULT_LIMIT, DepsOf, answer, list_answer, page_of
from booking.events import bodies
from booking.service import channel
from contracts import booking_http_v1 as http
from runtime.http import CallerOf, agency_of
from runtime.pages import Cursor, Limit


def add_conflict_routes(router: APIRouter, deps: DepsOf) -> None:
    """Read and list conflicts."""

    @router.get("/channel-conflicts", response_model=http.ChannelConflictList)
    async def list_conflicts(
        caller: CallerOf,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        state: Literal["open", "closed"] | None = None,
    ) -> Response:
        found = await channel.list_conflicts(deps.of(caller), agency_of(caller), page_of(limit, cursor), state)
        return list_answer([bodies.conflict_body(record) for record in found], limit, "opened_at")

    @router.get("/channel-conflicts/{conflict_id}", response_model=http.ChannelConflict)
    async def get_conflict(conflict_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.conflict_body(await channel.get_conflict(deps.of(caller), agency_of(caller), conflict_id)))

    @router.post("/channel-conflicts/{conflict_id}/resolve", response_model=http.ChannelConflict)
    async def resolve_conflict(conflict_id: UUID, body: http.ConflictResolve, caller: CallerOf) -> Response:
        found = await channel.resolve(
            deps.of(caller), agency_of(caller), conflict_id, body.reservation_id, body.property_id
        )
        return answer(bodies.conflict_body(found))
