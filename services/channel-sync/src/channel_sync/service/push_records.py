"""Owns the record of a push: what the channel holds now, when to go on, and why; called by outbound."""

import random
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from channel_sync import events
from channel_sync.domain.ari import ValueRun, accepted_after
from channel_sync.domain.batches import AVAILABILITY_UPDATE, Operation
from channel_sync.domain.claims import operation_types
from channel_sync.domain.pushes import OutcomeKind, pause_s
from channel_sync.repository import batches as batch_rows
from channel_sync.repository import channel_health
from channel_sync.repository import claims as claim_rows
from channel_sync.repository import operations as operation_rows
from channel_sync.service.deps import Deps
from channel_sync.service.pushing import DOWN, Push, Told
from runtime.logs import get_logger
from runtime.outbox import insert_outbox_rows
from runtime.postgres import Connection, transaction
from runtime.telemetry import current_trace_id, mark_failed, span

log = get_logger(__name__)

LEASE_LOST = "the lease ran out before the outcome was known"


async def record(deps: Deps, task: Push, results: Sequence[Told]) -> bool:
    """Write down what became of each listing; True when a channel that was down works again."""
    connection = task.claim.connection
    async with transaction(deps.system_pool, None) as conn:
        works_again = await _note_health(deps, conn, task, results)
        batch_ids: set[UUID] = set()
        fresh: UUID | None = None
        for result in results:
            batch_id = result.listing.batch_id
            if batch_id is None and result.is_attempt:
                fresh = fresh or await batch_rows.batch_of_changes(
                    conn, connection.agency_id, connection.connection_id, uuid4(), deps.push.batch_window_s
                )
                batch_id = fresh
            await _record_one(deps, conn, task, result, batch_id)
            if batch_id is not None:
                batch_ids.add(batch_id)
        for batch_id in sorted(batch_ids):
            await settle_batch(deps, conn, connection.agency_id, batch_id)
    return works_again


async def settle_batch(deps: Deps, conn: Connection, agency_id: UUID, batch_id: UUID) -> None:
    """Derive a batch's status anew, and tell it when it is another one."""
    if (changed := await batch_rows.settle_batch(conn, batch_id)) is not None:
        await insert_outbox_rows(conn, [events.sync_batch_changed(uuid4(), agency_id, changed, deps.partitions)])


async def _note_health(deps: Deps, conn: Connection, task: Push, results: Sequence[Told]) -> bool:
    """Whether the channel works, as these calls found it; True when it does again."""
    connection, limits = task.claim.connection, deps.push
    if any(result.outcome.error_class in DOWN for result in results):
        await channel_health.note_channel_down(
            conn, connection.connection_id, limits.breaker_failures, limits.breaker_s
        )
    elif connection.failures and any(result.is_sent for result in results):
        return await channel_health.note_channel_up(conn, connection.connection_id, limits.breaker_failures)
    return False


async def _record_one(deps: Deps, conn: Connection, task: Push, result: Told, batch_id: UUID | None) -> None:
    """Keep what the channel holds of a listing now, and explain what was tried, in the trace of what caused it."""
    listing, outcome, connection = result.listing, result.outcome, task.claim.connection
    parent = {"traceparent": listing.traceparent} if listing.traceparent is not None else None
    attributes = {"pms.listing_id": str(listing.listing_id), "pms.connection_id": str(connection.connection_id)}
    with span("push listing", parent=parent, attributes=attributes) as current:
        error, error_class = outcome.error, outcome.error_class
        if not await _keep(deps, conn, task, result, batch_id):
            error, error_class = LEASE_LOST, "lease_lost"
            if result.is_sent or outcome.kind is OutcomeKind.UNKNOWN:
                await claim_rows.void_listing(conn, listing.listing_id, result.version or 0, deps.push.settle_s)
        if error is not None:
            mark_failed(current, error)
        if not result.is_attempt:
            return
        kinds = {*operation_types(listing.accepted, result.told), *listing.asked_for} or {AVAILABILITY_UPDATE}
        for number, kind in enumerate(sorted(kinds)):
            operation = _operation(task, result, kind, batch_id, (error, error_class), is_first=number == 0)
            stored = await operation_rows.note_attempt(conn, connection.agency_id, operation)
            event = events.sync_operation_changed(uuid4(), connection.agency_id, stored, deps.partitions)
            await insert_outbox_rows(conn, [event])
    log.info(
        "push",
        listing_id=listing.listing_id,
        connection_id=connection.connection_id,
        outcome=outcome.kind.value,
        inventory_version=result.version,
        error=error,
        ms=round(task.elapsed_s() * 1000),
    )


async def _keep(deps: Deps, conn: Connection, task: Push, result: Told, batch_id: UUID | None) -> bool:
    """Write down what the channel holds now and when to go on; False when the lease was lost."""
    listing, outcome = result.listing, result.outcome
    if outcome.kind is OutcomeKind.ACCEPTED and result.version is not None:
        return await claim_rows.update_listing_accepted(
            conn,
            task.claim,
            listing,
            version=result.version,
            accepted=result.wanted,
            gather_s=deps.push.gather_s,
            batch_id=batch_id,
        )
    is_unknown = outcome.kind is OutcomeKind.UNKNOWN
    jitter = random.random()  # noqa: S311 - no secret
    return await claim_rows.update_listing_not_accepted(
        conn,
        task.claim,
        listing,
        sent_version=(result.version or 0) if result.is_sent or is_unknown else 0,
        pause_s=pause_s(outcome.kind, outcome.retry_after_s, listing.attempts + 1, jitter),
        is_failure=outcome.kind is not OutcomeKind.DEFERRED,
        accepted=None if is_unknown else _held(result),
        settle_s=deps.push.settle_s if is_unknown else None,
        batch_id=batch_id,
    )


def _held(result: Told) -> Sequence[ValueRun] | None:
    """What the channel holds after a push that was not accepted whole."""
    if not result.is_sent:
        return result.listing.accepted
    return accepted_after(result.listing.accepted or (), result.told, result.outcome, result.wanted[0].start)


def _operation(
    task: Push,
    result: Told,
    kind: str,
    batch_id: UUID | None,
    failure: tuple[str | None, str | None],
    *,
    is_first: bool,
) -> Operation:
    """One attempt of one kind. The delay is told once for each push of a listing."""
    error, error_class = failure
    is_accepted = result.outcome.kind is OutcomeKind.ACCEPTED and error is None
    changed_at, now = result.listing.changed_at, task.now()
    delay = (now - changed_at) // timedelta(milliseconds=1) if changed_at is not None else None
    return Operation(
        log_id=uuid4(),
        connection_id=task.claim.connection.connection_id,
        listing_id=result.listing.listing_id,
        batch_id=batch_id,
        task_id=result.listing.task_of(kind),
        operation_type=kind,
        direction="outbound",
        status="success" if is_accepted else "failed",
        inventory_version=result.version,
        error=error,
        error_class=error_class,
        attempt=0,
        payload_digest=result.payload_digest,
        staleness_ms=max(delay, 0) if is_accepted and is_first and delay is not None else None,
        duration_ms=round(task.elapsed_s() * 1000),
        trace_id=current_trace_id(),
        created_at=task.claim.connection.claimed_at,
        updated_at=now,
    )
