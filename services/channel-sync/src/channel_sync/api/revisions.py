"""Owns HTTP in for what channels send: the webhook, and the list of what became of it; mounted by main."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from channel_sync.api.requests import DEFAULT_LIMIT, DepsOf, cursor_of, slice_of
from channel_sync.service import inbound
from contracts import channel_sync_http_v1 as http
from runtime.http import CallerOf, agency_of, json_bytes
from runtime.pages import Cursor, Limit

State = Annotated[str | None, Query(max_length=40)]
ACCEPTED, DUPLICATE = 202, 200
router = APIRouter()


@router.get("/inbound-revisions", response_model_exclude_none=True)
async def list_revisions(
    caller: CallerOf,
    deps: DepsOf,
    connection_id: UUID | None = None,
    state: State = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> http.InboundRevisionList:
    """What channels sent and what became of it, newest first."""
    page = await inbound.list_revisions(deps, agency_of(caller), connection_id, state, slice_of(limit, cursor))
    items = [http.InboundRevision.model_validate(revision, from_attributes=True) for revision in page.items]
    return http.InboundRevisionList(items=items, next_cursor=cursor_of(page.last))


@router.post("/inbound-revisions/{log_id}/reprocess", status_code=ACCEPTED)
async def reprocess_revision(log_id: UUID, caller: CallerOf, deps: DepsOf) -> http.RevisionReprocessed:
    """Read a stored revision with today's adapter, or hand it over to booking again."""
    return http.RevisionReprocessed(log_id=await inbound.reprocess(deps, agency_of(caller), log_id))


@router.post(
    "/inbound/{connection_id}",
    status_code=ACCEPTED,
    response_model=http.RevisionAccepted,
    responses={DUPLICATE: {"model": http.RevisionAccepted, "description": "A duplicate, stored before."}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": http.GenericJsonRevision.model_json_schema()}},
        },
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in (http.TIMESTAMP_HEADER, http.SIGNATURE_HEADER)
        ],
    },
)
async def receive_revision(connection_id: str, request: Request, deps: DepsOf) -> Response:
    """One revision of a reservation, signed with the connection's secret; durable once this answers."""
    received = await inbound.receive_webhook(
        deps,
        connection_id,
        request.headers.get(http.TIMESTAMP_HEADER, ""),
        request.headers.get(http.SIGNATURE_HEADER, ""),
        await request.body(),
    )
    accepted = http.RevisionAccepted(revision_id=received.revision_id, log_id=received.log_id)
    return json_bytes(accepted.model_dump_json(), ACCEPTED if received.is_new else DUPLICATE)
