"""Owns the use case of asking channels for their revisions: claim a feed, read, store, acknowledge; called by workers.

A revision is acknowledged only once it is stored. A crash in between makes the channel send it again, which is then a
duplicate, and acknowledged.
"""

import random
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from channel_sync import events
from channel_sync.adapters import CALENDARS, FEEDS, FeedAdapter
from channel_sync.clients.channels import ChannelSilent, ChannelUnreachable
from channel_sync.domain.ari import ChannelTarget, FeedItem
from channel_sync.domain.batches import BOOKINGS, BOOKINGS_SYNC, Operation
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.pushes import OutcomeKind, pause_s
from channel_sync.repository import batches as batch_rows
from channel_sync.repository import feeds as feed_rows
from channel_sync.repository import operations as operation_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.repository.feeds import ClaimedFeed
from channel_sync.service.accepting import accept, read, store_unparseable
from channel_sync.service.calendar_reading import read_calendar
from channel_sync.service.deps import Deps
from channel_sync.service.polled import Polled
from channel_sync.service.push_records import settle_batch
from runtime.logs import get_logger
from runtime.outbox import insert_outbox_rows
from runtime.postgres import transaction
from runtime.telemetry import current_trace_id, mark_failed, span

log = get_logger(__name__)


async def claim_feeds(deps: Deps, limit: int) -> list[ClaimedFeed]:
    """Lease the feeds that are due; each must then be polled."""
    async with transaction(deps.system_pool, None) as conn:
        await feed_rows.insert_missing_feeds(conn, sorted({*FEEDS, *CALENDARS}))
        return await feed_rows.claim_feeds(conn, limit, deps.process, deps.push.lease_s)


async def poll(deps: Deps, feed: ClaimedFeed) -> int:
    """Read a feed, store what is new and acknowledge it; how many revisions were new.

    It is read to its end, or for half a lease: then it is due again at once.
    """
    polled = Polled()
    attributes = {"pms.connection_id": str(feed.door.connection_id)}
    with span("poll feed", attributes=attributes) as current:
        try:
            if feed.door.adapter in CALENDARS:
                await read_calendar(deps, feed, polled)
            else:
                await _read_pages(deps, feed, polled)
        except (ChannelUnreachable, ChannelSilent, FeedUnreadable) as error:
            polled.error, polled.error_class = str(error), type(error).__name__
        except Exception as error:
            log.error("poll failed", error=repr(error)[:300])
            polled.error, polled.error_class = f"{type(error).__name__} in channel-sync", "internal"
        if polled.error is not None:
            mark_failed(current, polled.error)
        await _record(deps, feed, polled)
    return polled.stored


async def _read_pages(deps: Deps, feed: ClaimedFeed, polled: Polled) -> None:
    adapter = FEEDS[feed.door.adapter]
    secret = deps.cipher.open(feed.door.sealed_secret)
    target = ChannelTarget(feed.endpoint_url, secret, feed.settings)
    cursor = feed.cursor
    while True:
        answer = await deps.channels.send(adapter.feed_request(target, cursor))
        page = adapter.feed_page(answer)
        before = polled.stored
        for item in page.items:
            await _store(deps, feed, item, polled)
        is_acknowledged = await _acknowledge(deps, feed, adapter, target, page.items)
        # A page that brings nothing new and leads nowhere else, or cannot be acknowledged, would come for ever.
        is_stuck = polled.stored == before and not is_acknowledged and (bool(page.items) or page.cursor == cursor)
        cursor = page.cursor
        is_ours = await _keep(deps, feed, cursor)
        if not page.has_more or is_stuck or not is_ours:
            return
        if time.monotonic() - polled.began > deps.push.lease_s / 2:
            polled.is_cut_short = True
            return


async def _store(deps: Deps, feed: ClaimedFeed, item: FeedItem, polled: Polled) -> None:
    try:
        revision = read(deps.adapters[feed.door.adapter], item.raw)
    except UnparseableRevision as error:
        await store_unparseable(deps, feed.door, item.raw, error, "feed", item.revision_id)
        polled.unreadable += 1
        return
    received = await accept(deps, feed.door, revision, item.raw, "feed")
    if received.is_new:
        polled.stored += 1
    else:
        polled.known += 1


async def _acknowledge(
    deps: Deps, feed: ClaimedFeed, adapter: FeedAdapter, target: ChannelTarget, items: Sequence[FeedItem]
) -> bool:
    """Tell the channel what we have; False when it did not take note of any."""
    taken: list[str] = []
    for start in range(0, len(items), adapter.acks_per_call):
        some = items[start : start + adapter.acks_per_call]
        request = adapter.ack_request(target, some)
        if request is None or adapter.acked(await deps.channels.send(request)):
            taken += [item.revision_id for item in some]
        else:
            log.warning("acknowledgement refused", connection_id=feed.door.connection_id, count=len(some))
    if taken:
        async with transaction(deps.system_pool, None) as conn:
            await revision_rows.note_acknowledged(conn, feed.door.connection_id, taken)
    return bool(taken)


async def _keep(deps: Deps, feed: ClaimedFeed, cursor: str | None) -> bool:
    async with transaction(deps.system_pool, None) as conn:
        return await feed_rows.keep_cursor(conn, feed, cursor)


async def _record(deps: Deps, feed: ClaimedFeed, polled: Polled) -> None:
    """When to poll again; and an operation where somebody asked for it, something came, or it began to fail."""
    door, jitter = feed.door, random.random()  # noqa: S311 - no secret
    every_s = deps.push.calendar_poll_s if door.adapter in CALENDARS else deps.push.feed_poll_s
    if polled.error is None:
        pause = 0.0 if polled.is_cut_short else every_s
    else:
        pause = max(pause_s(OutcomeKind.REFUSED, None, feed.attempts + 1, jitter), min(every_s, 5.0))
    is_told = feed.task_id is not None or polled.stored or polled.unreadable
    is_told = is_told or (polled.error is not None and feed.attempts == 0)
    async with transaction(deps.system_pool, None) as conn:
        await feed_rows.end_poll(conn, feed, pause_s=pause, error=polled.error)
        if not is_told:
            return
        batch_id = feed.batch_id
        if batch_id is None:
            batch_id = (
                await batch_rows.insert_batch(conn, door.agency_id, door.connection_id, uuid4(), BOOKINGS)
            ).batch_id
        operation = await operation_rows.note_attempt(conn, door.agency_id, _operation(feed, polled, batch_id))
        event = events.sync_operation_changed(uuid4(), door.agency_id, operation, deps.partitions)
        await insert_outbox_rows(conn, [event])
        await settle_batch(deps, conn, door.agency_id, batch_id)
    deps.wake_relay()
    log.info(
        "feed polled",
        connection_id=door.connection_id,
        new=polled.stored,
        known=polled.known,
        unreadable=polled.unreadable,
        error=polled.error,
    )


def _operation(feed: ClaimedFeed, polled: Polled, batch_id: UUID) -> Operation:
    return Operation(
        log_id=uuid4(),
        connection_id=feed.door.connection_id,
        listing_id=None,
        batch_id=batch_id,
        task_id=feed.task_id or uuid4(),
        operation_type=BOOKINGS_SYNC,
        direction="inbound",
        status="success" if polled.error is None else "failed",
        inventory_version=None,
        error=polled.error,
        error_class=polled.error_class,
        attempt=0,
        payload_digest=None,
        staleness_ms=None,
        duration_ms=polled.duration_ms,
        trace_id=current_trace_id(),
        created_at=feed.door.now,
        updated_at=feed.door.now + timedelta(milliseconds=polled.duration_ms),
    )
