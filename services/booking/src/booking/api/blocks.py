"""Routes of blocks: nights closed by hand."""

from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response

from booking.api.answers import DEFAULT_LIMIT, DepsOf, answer, list_answer, page_of
from booking.domain.model import Block
from booking.events import bodies
from booking.service import blocks
from contracts import booking_http_v1 as http
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit


def add_block_routes(router: APIRouter, deps: DepsOf) -> None:
    """Create, read, list and delete blocks."""

    @router.post("/blocks", status_code=201, response_model=http.Block)
    async def create_block(body: http.BlockCreate, request: Request, caller: CallerOf) -> Response:
        block = Block(
            uuid4(), agency_of(caller), body.property_id, body.start_date, body.end_date, body.reason, "manual", True
        )
        key = await idempotency_key(request, caller)
        return (await blocks.create(deps.of(caller), block, key)).response()

    @router.get("/blocks", response_model=http.BlockList)
    async def list_blocks(
        caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None, property_id: UUID | None = None
    ) -> Response:
        found = await blocks.list_page(deps.of(caller), agency_of(caller), page_of(limit, cursor), property_id)
        return list_answer([bodies.block_body(record) for record in found], limit, "created_at")

    @router.get("/blocks/{block_id}", response_model=http.Block)
    async def get_block(block_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.block_body(await blocks.get(deps.of(caller), agency_of(caller), block_id)))

    @router.delete("/blocks/{block_id}", response_model=http.Block)
    async def delete_block(block_id: UUID, caller: CallerOf) -> Response:
        return answer(bodies.block_body(await blocks.delete(deps.of(caller), agency_of(caller), block_id)))
