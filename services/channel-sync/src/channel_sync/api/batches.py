"""Owns HTTP in for synchronisations: asked for, looked at, tried again, cleared away; mounted by main."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from channel_sync.api.requests import DEFAULT_LIMIT, DepsOf, Offset
from channel_sync.domain.ari import ValueRun
from channel_sync.domain.batches import DELAY_BOUNDS_MS, Batch, Operation
from channel_sync.service import batches
from contracts import channel_sync_http_v1 as http
from runtime.http import CallerOf, agency_of, json_bytes
from runtime.pages import Limit

Status = Literal["any", "running", "failed", "success"]
Days = Annotated[int, Query(ge=1, le=3650)]
ACCEPTED, PREVIEW = 202, 200
KEPT_DAYS = 30
router = APIRouter()


@router.post(
    "/channel-connections/{connection_id}/sync",
    status_code=ACCEPTED,
    response_model=http.SyncStarted,
    responses={PREVIEW: {"model": http.SyncPreview, "description": "A dry run: what would be told."}},
)
async def sync_connection(connection_id: UUID, body: http.SyncRequest, caller: CallerOf, deps: DepsOf) -> Response:
    """Tell the channel everything again, whatever it holds; with `dry_run` say what would be told, and tell nothing."""
    if body.dry_run:
        found = await batches.preview_sync(deps, agency_of(caller), connection_id)
        preview = http.SyncPreview(
            listings=[
                http.ListingDifference(
                    listing_id=difference.listing.id,
                    property_id=difference.listing.property_id,
                    ota_listing_id=difference.listing.ota_listing_id,
                    days=[_days(run) for run in difference.runs],
                    error=difference.error,
                )
                for difference in found
            ]
        )
        return json_bytes(preview.model_dump_json(exclude_none=True), PREVIEW)
    started = await batches.start_sync(deps, agency_of(caller), connection_id, body.sync_type)
    answer = http.SyncStarted(batch_id=started.batch_id, task_ids=list(started.task_ids))
    return json_bytes(answer.model_dump_json(), ACCEPTED)


@router.get("/channel-connections/{connection_id}/sync-batches")
async def list_batches(
    connection_id: UUID,
    caller: CallerOf,
    deps: DepsOf,
    status: Status = "any",
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> http.SyncBatchList:
    """Synchronisations, and changes that were told together, newest first."""
    found, total = await batches.list_batches(deps, agency_of(caller), connection_id, status, limit, offset)
    return http.SyncBatchList(items=[_batch(batch) for batch in found], total=total, limit=limit, offset=offset)


@router.delete("/channel-connections/{connection_id}/sync-batches")
async def purge_batches(
    connection_id: UUID, caller: CallerOf, deps: DepsOf, older_than_days: Days = KEPT_DAYS, dry_run: bool = False
) -> http.BatchesPurged:
    """Clear away ended batches that are older, with their operations; with `dry_run` only count them."""
    count, operations = await batches.purge_batches(
        deps, agency_of(caller), connection_id, older_than_days, is_preview=dry_run
    )
    return http.BatchesPurged(batches=count, operations=operations, dry_run=dry_run)


@router.get("/channel-connections/{connection_id}/sync-batches/{batch_id}", response_model_exclude_none=True)
async def get_batch(connection_id: UUID, batch_id: UUID, caller: CallerOf, deps: DepsOf) -> http.SyncBatchDetails:
    """One batch with every attempt of its tasks."""
    batch, operations = await batches.get_batch(deps, agency_of(caller), connection_id, batch_id)
    return http.SyncBatchDetails(**_batch(batch).model_dump(), operations=[_operation(one) for one in operations])


@router.get("/channel-connections/{connection_id}/operations", response_model_exclude_none=True)
async def list_operations(
    connection_id: UUID, caller: CallerOf, deps: DepsOf, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> http.SyncOperationList:
    """Every attempt against the channel, newest first."""
    found, total = await batches.list_operations(deps, agency_of(caller), connection_id, limit, offset)
    return http.SyncOperationList(items=[_operation(operation) for operation in found], total=total)


@router.post("/sync-operations/{log_id}/retry", status_code=ACCEPTED, response_model_exclude_none=True)
async def retry_operation(log_id: UUID, caller: CallerOf, deps: DepsOf) -> http.SyncOperation:
    """Try a failed task again at once; answers its last attempt."""
    return _operation(await batches.retry_operation(deps, agency_of(caller), log_id))


@router.get("/channel-connections/{connection_id}/staleness", response_model_exclude_none=True)
async def staleness(connection_id: UUID, caller: CallerOf, deps: DepsOf) -> http.Staleness:
    """How far behind the channel is with each listing now, and how long changes took over the last day."""
    listings, delays, feed = await batches.staleness(deps, agency_of(caller), connection_id)
    bounds = [*DELAY_BOUNDS_MS, None]
    return http.Staleness(
        listings=[http.ListingStaleness.model_validate(listing, from_attributes=True) for listing in listings],
        feed=http.FeedStaleness.model_validate(feed, from_attributes=True) if feed is not None else None,
        told=delays.told,
        p50_ms=delays.p50_ms,
        p99_ms=delays.p99_ms,
        histogram=[
            http.DelayCount(up_to_ms=bound, count=count) for bound, count in zip(bounds, delays.counts, strict=True)
        ],
    )


def _batch(batch: Batch) -> http.SyncBatch:
    return http.SyncBatch.model_validate(batch, from_attributes=True)


def _operation(operation: Operation) -> http.SyncOperation:
    return http.SyncOperation.model_validate(operation, from_attributes=True)


def _days(run: ValueRun) -> http.GenericJsonDays:
    values = run.values
    return http.GenericJsonDays(
        start_date=run.start,
        end_date=run.end,
        available=1 if values.available else 0,
        rate_minor=values.rate_minor,
        min_stay_arrival=values.min_stay_arrival,
        min_stay_through=values.min_stay_through,
        max_stay=values.max_stay,
        closed_to_arrival=values.closed_to_arrival or None,
        closed_to_departure=values.closed_to_departure or None,
        stop_sell=values.stop_sell or None,
    )
