"""Owns the use cases on what channels must be told: note, refresh, claim, push; called by consumers and workers.

A push is three steps: a claim (one transaction), the calls with nothing held open, the record (one transaction).
"""

import time
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from channel_sync.repository import claims as claim_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.service.deps import Deps
from channel_sync.service.push_records import record
from channel_sync.service.pushing import Push, tell
from runtime.postgres import transaction
from runtime.telemetry import carrier_of

REFRESH_AFTER_H = 24
REFRESH_AT_ONCE = 500


async def note_change(
    deps: Deps,
    agency_id: UUID,
    property_id: UUID,
    version: int,
    *,
    closes: bool = True,
    changed_at: datetime | None = None,
) -> int:
    """Make the property's listings stale at a version it reached; the number that became newer. Monotone.

    `closes` is False for a change that certainly took no night; `changed_at` is when it was committed, if known.
    """
    async with transaction(deps.system_pool, None) as conn:
        marked = await listing_rows.mark_listings_stale(
            conn,
            agency_id,
            property_id,
            version,
            traceparent=carrier_of().get("traceparent"),
            closes=closes,
            changed_at=changed_at,
            gather_s=deps.push.gather_s,
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


async def claim(deps: Deps, connections: int, busy: Collection[UUID] = ()) -> list[Push]:
    """Lease stale listings that are due, of up to so many connections that are not busy; each must then be pushed."""
    asked_at = time.monotonic()
    async with transaction(deps.system_pool, None) as conn:
        claimed = await claim_rows.claim_listings(
            conn,
            connections=connections,
            listings=deps.push.listings_at_once,
            busy=busy,
            owner=deps.process,
            lease_s=deps.push.lease_s,
            settle_s=deps.push.settle_s,
            failures=deps.push.breaker_failures,
        )
    return [Push(one, asked_at) for one in claimed]


async def push(deps: Deps, task: Push) -> None:
    """Tell a channel its listings' nights as booking's ledger has them now, and record what became of each."""
    results = await tell(deps, task)
    works_again = await record(deps, task, results)
    deps.wake_relay()
    if works_again:
        deps.wake_pusher()
