"""Owns the use cases on what channels must be told: note, refresh, claim, push; called by consumers and workers.

A push is three steps: a claim (one transaction), the request with nothing held open, the record (one transaction).
"""

import random
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from channel_sync import events
from channel_sync.clients import ChannelSilent, ChannelUnreachable
from channel_sync.domain.channels import Operation
from channel_sync.domain.pushes import (
    ClaimedListing,
    OutboundRequest,
    Outcome,
    OutcomeKind,
    calendar_runs,
    pause_s,
)
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import operations as operation_rows
from channel_sync.service.deps import Deps
from rules.calendar import NightRun
from runtime.http_client import UpstreamUnavailable
from runtime.logs import get_logger
from runtime.outbox import insert_outbox_rows
from runtime.postgres import transaction
from runtime.telemetry import carrier_of, current_trace_id, mark_failed, span

log = get_logger(__name__)

REFRESH_AFTER_H = 24
REFRESH_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Push:
    """A claimed listing; `asked_at` is the monotonic clock before the claim, so the lease began later than that."""

    claimed: ClaimedListing
    asked_at: float

    def elapsed_s(self) -> float:
        """Seconds since the claim was asked for."""
        return time.monotonic() - self.asked_at

    def now(self) -> datetime:
        """The database's time, carried on by the monotonic clock."""
        return self.claimed.claimed_at + timedelta(seconds=self.elapsed_s())


async def note_change(deps: Deps, agency_id: UUID, property_id: UUID, version: int) -> int:
    """Make the property's listings stale at a version it reached; the number that became newer. Monotone."""
    async with transaction(deps.system_pool, None) as conn:
        marked = await listing_rows.mark_listings_stale(
            conn, agency_id, property_id, version, carrier_of().get("traceparent")
        )
    if marked:
        deps.wake_pusher()
    return marked


async def refresh_old(deps: Deps) -> int:
    """Make listings stale that were not pushed for a day, so that the last day of the horizon is told, and nothing we
    failed to hear of stays untold; their number.
    """
    async with transaction(deps.system_pool, None) as conn:
        marked = await listing_rows.mark_old_listings_stale(conn, REFRESH_AFTER_H, REFRESH_AT_ONCE)
    if marked:
        deps.wake_pusher()
    return marked


async def claim(deps: Deps, limit: int) -> list[Push]:
    """Lease up to `limit` stale listings that are due; each must then be pushed."""
    asked_at = time.monotonic()
    async with transaction(deps.system_pool, None) as conn:
        claimed = await listing_rows.claim_listings(conn, limit, deps.process, deps.push.lease_s, deps.push.settle_s)
    return [Push(listing, asked_at) for listing in claimed]


async def push(deps: Deps, task: Push) -> None:
    """Tell the channel the listing's nights as booking's ledger has them now, and record what became of it."""
    claimed = task.claimed
    parent = {"traceparent": claimed.traceparent} if claimed.traceparent is not None else None
    attributes = {"pms.listing_id": str(claimed.listing_id), "pms.connection_id": str(claimed.connection_id)}
    with span("push listing", parent=parent, attributes=attributes) as current:
        outcome = await _attempt(deps, task)
        if outcome.error is not None:
            mark_failed(current, outcome.error)
        await _record(deps, task, outcome)


async def _attempt(deps: Deps, task: Push) -> Outcome:
    """One attempt; whatever fails, a bug included, is an outcome, so that no listing stays leased."""
    try:
        prepared = await _prepare(deps, task)
    except Exception as error:
        return Outcome(OutcomeKind.NOT_SENT, error=_reason(error))
    if isinstance(prepared, Outcome):
        return prepared
    version, runs, request = prepared
    try:
        answer = await deps.channels.send(request)
        return deps.adapters[task.claimed.adapter].outcome(answer, version, runs, task.now())
    except ChannelUnreachable as error:
        return Outcome(OutcomeKind.NOT_SENT, version, error=str(error))
    except Exception as error:
        return Outcome(OutcomeKind.UNKNOWN, version, error=_reason(error))


async def _prepare(deps: Deps, task: Push) -> tuple[int, tuple[NightRun, ...], OutboundRequest] | Outcome:
    """The version, nights and request to send, or why nothing is sent."""
    claimed = task.claimed
    calendar = await deps.booking.property_calendar(claimed.property_id)
    if calendar is None or calendar.agency_id != claimed.agency_id:
        return Outcome(OutcomeKind.NOT_SENT, error="booking does not know the property")
    version = calendar.inventory_version
    if version < claimed.oldest_version:
        error = f"booking answered version {version}, older than {claimed.oldest_version}"
        return Outcome(OutcomeKind.NOT_SENT, error=error)
    runs = calendar_runs(calendar, deps.push.horizon_days)
    secret = deps.cipher.open(claimed.sealed_secret)
    request = deps.adapters[claimed.adapter].push_request(claimed, secret, version, runs, task.now())
    if task.elapsed_s() > deps.push.lease_s - deps.push.timeout_s:
        # We were held up: whoever has the listing next must not be followed by this request.
        return Outcome(OutcomeKind.NOT_SENT, error="the lease would run out before the answer")
    return version, runs, request


def _reason(error: Exception) -> str:
    if isinstance(error, UpstreamUnavailable | ChannelSilent):
        return str(error)
    log.error("push failed", error=repr(error)[:300])
    return f"{type(error).__name__} in channel-sync"


async def _record(deps: Deps, task: Push, outcome: Outcome) -> None:
    claimed = task.claimed
    sent_version = outcome.version or 0
    async with transaction(deps.system_pool, None) as conn:
        if outcome.kind is OutcomeKind.ACCEPTED:
            nights = [_night(run) for run in outcome.runs]
            kept = await listing_rows.update_listing_accepted(conn, claimed, sent_version, nights)
        else:
            kept = await listing_rows.update_listing_failed(
                conn,
                claimed,
                sent_version=sent_version,
                pause_s=pause_s(outcome, claimed.attempts + 1, random.random()),  # noqa: S311 - jitter, no secret
                is_unknown=outcome.kind is OutcomeKind.UNKNOWN,
                settle_s=deps.push.settle_s,
            )
        if not kept:
            await listing_rows.void_listing(conn, claimed.listing_id, sent_version, deps.push.settle_s)
            outcome = replace(outcome, kind=OutcomeKind.UNKNOWN, error="the lease ran out before the outcome was known")
        operation = _operation(task, outcome)
        await operation_rows.insert_operation(conn, claimed.agency_id, operation)
        event = events.sync_operation_changed(uuid4(), claimed.agency_id, operation, deps.partitions)
        await insert_outbox_rows(conn, [event])
    deps.wake_relay()
    log.info(
        "push",
        listing_id=claimed.listing_id,
        connection_id=claimed.connection_id,
        outcome=outcome.kind.value,
        inventory_version=outcome.version,
        error=outcome.error,
        ms=operation.duration_ms,
    )


def _operation(task: Push, outcome: Outcome) -> Operation:
    return Operation(
        log_id=uuid4(),
        connection_id=task.claimed.connection_id,
        listing_id=task.claimed.listing_id,
        batch_id=None,
        task_id=task.claimed.task_id,
        operation_type="availability_update",
        direction="outbound",
        status="success" if outcome.kind is OutcomeKind.ACCEPTED else "failed",
        inventory_version=outcome.version,
        error=outcome.error,
        duration_ms=round(task.elapsed_s() * 1000),
        trace_id=current_trace_id(),
        created_at=task.claimed.claimed_at,
        updated_at=task.now(),
    )


def _night(run: NightRun) -> dict[str, Any]:
    return {"start_date": run.start, "end_date": run.end, "available": int(run.is_open)}
