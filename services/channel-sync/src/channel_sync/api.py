"""Owns HTTP in: parse, call one service function, choose the status; mounted by main.

Routes carry no `/api/v1`: the gateway adds it.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from channel_sync.domain.channels import Connection, Listing, NewConnection, NewListing, inbound_url
from channel_sync.domain.paging import Position, Slice
from channel_sync.service import connections, inbound
from channel_sync.service.deps import Deps
from contracts import channel_sync_http_v1 as http
from contracts.problems import ProblemCode
from runtime.http import CallerOf, agency_of, json_bytes
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit, decode_cursor, encode_cursor
from runtime.problems import ProblemError

Offset = Annotated[int, Query(ge=0, le=1_000_000)]
State = Annotated[str | None, Query(max_length=40)]
ACCEPTED, DUPLICATE = 202, 200
DEFAULT_LIMIT = 50


def deps_of(request: Request) -> Deps:
    """What the use cases stand on, put there by main; refuses everything while channel-sync is switched off."""
    if not request.app.state.enabled:
        detail = "The channel manager is switched off (CHANNEL_MANAGER_ENABLED)."
        raise ProblemError(503, ProblemCode.CHANNEL_MANAGER_DISABLED, detail, headers={"Retry-After": "60"})
    deps: Deps = request.app.state.deps
    return deps


DepsOf = Annotated[Deps, Depends(deps_of)]
router = APIRouter(tags=["channels"], dependencies=[Depends(deps_of)])


@router.post("/channel-connections", status_code=201, response_model=http.ConnectionCreated)
async def create_connection(request: Request, body: http.ConnectionCreate, caller: CallerOf, deps: DepsOf) -> Response:
    """Connect a channel. The secret signs both directions; it is made when absent and shown in this answer only."""

    def answer(created: Connection, secret: str | None) -> str:
        shown = _connection(created, deps).model_dump()
        return http.ConnectionCreated(**shown, secret=secret).model_dump_json(exclude_none=True)

    new = NewConnection(body.name, body.adapter, body.endpoint_url, body.settings, body.secret)
    key = await idempotency_key(request, caller)
    return (await connections.create_connection(deps, agency_of(caller), new, key, answer)).response()


@router.get("/channel-connections", response_model_exclude_none=True)
async def list_connections(
    caller: CallerOf, deps: DepsOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> http.ConnectionList:
    """The agency's connections, newest first."""
    page = await connections.list_connections(deps, agency_of(caller), _slice(limit, cursor))
    return http.ConnectionList(items=[_connection(item, deps) for item in page.items], next_cursor=_cursor(page.last))


@router.get("/channel-connections/{connection_id}")
async def get_connection(connection_id: UUID, caller: CallerOf, deps: DepsOf) -> http.Connection:
    """One connection."""
    return _connection(await connections.get_connection(deps, agency_of(caller), connection_id), deps)


@router.post("/channel-connections/{connection_id}/listings", status_code=201, response_model=http.Listing)
async def map_listing(
    connection_id: UUID, request: Request, body: http.ListingCreate, caller: CallerOf, deps: DepsOf
) -> Response:
    """Map a listing of the channel to a property; its nights are pushed at once, waiting revisions are applied."""
    new = NewListing(body.property_id, body.ota_listing_id, body.ota_rate_plan_id)
    key = await idempotency_key(request, caller)

    def answer(listing: Listing) -> str:
        return _listing(listing).model_dump_json(exclude_none=True)

    return (await connections.map_listing(deps, agency_of(caller), connection_id, new, key, answer)).response()


@router.get("/channel-connections/{connection_id}/listings", response_model_exclude_none=True)
async def list_listings(
    connection_id: UUID, caller: CallerOf, deps: DepsOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> http.ListingList:
    """The listings of a connection, newest first; `dirty` while the channel must be told something."""
    page = await connections.list_listings(deps, agency_of(caller), connection_id, _slice(limit, cursor))
    return http.ListingList(items=[_listing(item) for item in page.items], next_cursor=_cursor(page.last))


@router.get("/channel-connections/{connection_id}/operations", response_model_exclude_none=True)
async def list_operations(
    connection_id: UUID, caller: CallerOf, deps: DepsOf, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> http.SyncOperationList:
    """Every attempt against the channel, newest first."""
    found, total = await connections.list_operations(deps, agency_of(caller), connection_id, limit, offset)
    items = [http.SyncOperation.model_validate(operation, from_attributes=True) for operation in found]
    return http.SyncOperationList(items=items, total=total)


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
    page = await inbound.list_revisions(deps, agency_of(caller), connection_id, state, _slice(limit, cursor))
    items = [http.InboundRevision.model_validate(revision, from_attributes=True) for revision in page.items]
    return http.InboundRevisionList(items=items, next_cursor=_cursor(page.last))


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


def _slice(limit: int, cursor: str | None) -> Slice:
    found = decode_cursor(cursor)
    return Slice(limit, Position(found.at, found.id) if found is not None else None)


def _cursor(last: Position | None) -> str | None:
    return encode_cursor(last.at, last.id) if last is not None else None


def _connection(connection: Connection, deps: Deps) -> http.Connection:
    return http.Connection(
        id=connection.id,
        name=connection.name,
        adapter=connection.adapter,
        endpoint_url=connection.endpoint_url,
        settings=connection.settings,
        enabled=connection.enabled,
        inbound_url=inbound_url(deps.public_url, connection.id),
        created_at=connection.created_at,
        updated_at=connection.updated_at,
    )


def _listing(listing: Listing) -> http.Listing:
    return http.Listing(
        id=listing.id,
        connection_id=listing.connection_id,
        property_id=listing.property_id,
        ota_listing_id=listing.ota_listing_id,
        ota_rate_plan_id=listing.ota_rate_plan_id,
        dirty=listing.stale_since is not None,
        stale_since=listing.stale_since,
        pushed_version=listing.pushed_version,
        created_at=listing.created_at,
    )
