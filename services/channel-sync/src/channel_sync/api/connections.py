"""Owns HTTP in for connections and their listings; mounted by main."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request, Response

from channel_sync.api.requests import DEFAULT_LIMIT, DepsOf, cursor_of, slice_of
from channel_sync.domain.channels import (
    Connection,
    ConnectionChange,
    Listing,
    NewConnection,
    NewListing,
    calendar_url,
    inbound_url,
)
from channel_sync.domain.night_values import ListingOverrides
from channel_sync.service import connections
from channel_sync.service.deps import Deps
from contracts import channel_sync_http_v1 as http
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit

router = APIRouter()


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
    page = await connections.list_connections(deps, agency_of(caller), slice_of(limit, cursor))
    return http.ConnectionList(items=[_connection(item, deps) for item in page.items], next_cursor=cursor_of(page.last))


@router.get("/channel-connections/{connection_id}")
async def get_connection(connection_id: UUID, caller: CallerOf, deps: DepsOf) -> http.Connection:
    """One connection."""
    return _connection(await connections.get_connection(deps, agency_of(caller), connection_id), deps)


@router.patch("/channel-connections/{connection_id}")
async def change_connection(
    connection_id: UUID, body: http.ConnectionUpdate, caller: CallerOf, deps: DepsOf
) -> http.Connection:
    """Change a connection, or switch it off and on; what it could not be told is tried again at once."""
    change = ConnectionChange(body.name, body.endpoint_url, body.settings, body.enabled, body.secret)
    return _connection(await connections.change_connection(deps, agency_of(caller), connection_id, change), deps)


@router.delete("/channel-connections/{connection_id}")
async def delete_connection(connection_id: UUID, caller: CallerOf, deps: DepsOf) -> http.Connection:
    """Forget a connection and its listings. The channel keeps what it was told: close its listings out before."""
    return _connection(await connections.delete_connection(deps, agency_of(caller), connection_id), deps)


@router.post("/channel-connections/{connection_id}/test", response_model_exclude_none=True)
async def test_connection(connection_id: UUID, caller: CallerOf, deps: DepsOf) -> http.ConnectionTested:
    """Make a real call to the channel that changes nothing."""
    found = await connections.test_connection(deps, agency_of(caller), connection_id)
    return http.ConnectionTested(
        ok=found.error is None, status=found.status, error=found.error, duration_ms=found.duration_ms
    )


@router.post("/channel-connections/{connection_id}/listings", status_code=201, response_model=http.Listing)
async def map_listing(
    connection_id: UUID, request: Request, body: http.ListingCreate, caller: CallerOf, deps: DepsOf
) -> Response:
    """Map a listing of the channel to a property; its nights are pushed at once, waiting revisions are applied."""
    overrides = ListingOverrides(body.markup_percent, body.close_out, body.min_stay, body.max_nights_sold)
    new = NewListing(body.property_id, body.ota_listing_id, body.ota_rate_plan_id, overrides)
    key = await idempotency_key(request, caller)

    def answer(listing: Listing) -> str:
        return _listing(listing, deps).model_dump_json(exclude_none=True)

    return (await connections.map_listing(deps, agency_of(caller), connection_id, new, key, answer)).response()


@router.get("/channel-connections/{connection_id}/listings", response_model_exclude_none=True)
async def list_listings(
    connection_id: UUID, caller: CallerOf, deps: DepsOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> http.ListingList:
    """The listings of a connection, newest first; `dirty` while the channel must be told something."""
    page = await connections.list_listings(deps, agency_of(caller), connection_id, slice_of(limit, cursor))
    return http.ListingList(items=[_listing(item, deps) for item in page.items], next_cursor=cursor_of(page.last))


@router.patch("/channel-connections/{connection_id}/listings/{listing_id}", response_model_exclude_none=True)
async def change_listing(
    connection_id: UUID, listing_id: UUID, body: http.ListingUpdate, caller: CallerOf, deps: DepsOf
) -> http.Listing:
    """Change what a listing tells its channel otherwise than its property says; the channel is told at once."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if changes.get("close_out", False) is None:
        changes["close_out"] = False

    def changed(overrides: ListingOverrides) -> ListingOverrides:
        return replace(overrides, **changes)

    return _listing(await connections.change_listing(deps, agency_of(caller), connection_id, listing_id, changed), deps)


@router.delete("/channel-connections/{connection_id}/listings/{listing_id}", response_model_exclude_none=True)
async def unmap_listing(connection_id: UUID, listing_id: UUID, caller: CallerOf, deps: DepsOf) -> http.Listing:
    """Forget a mapping. The channel keeps what it was told; revisions that still come are kept as unmapped."""
    return _listing(await connections.unmap_listing(deps, agency_of(caller), connection_id, listing_id), deps)


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


def _listing(listing: Listing, deps: Deps) -> http.Listing:
    return http.Listing(
        id=listing.id,
        connection_id=listing.connection_id,
        property_id=listing.property_id,
        ota_listing_id=listing.ota_listing_id,
        ota_rate_plan_id=listing.ota_rate_plan_id,
        dirty=listing.stale_since is not None,
        stale_since=listing.stale_since,
        pushed_version=listing.pushed_version,
        markup_percent=listing.overrides.markup_percent,
        close_out=listing.overrides.close_out,
        min_stay=listing.overrides.min_stay,
        max_nights_sold=listing.overrides.max_nights_sold,
        calendar_url=calendar_url(deps.public_url, listing.calendar_token) if listing.calendar_token else None,
        created_at=listing.created_at,
    )
