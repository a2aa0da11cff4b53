"""Owns the use case of reading a channel's calendar: ask, compare with what is known, store; called by feeds.

A calendar is a state. What it changed, what is known of it afterwards and the next conditional request are stored in
one transaction: a crash before it reads the same calendar again, a crash after it finds nothing new.
"""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

from channel_sync.adapters import CALENDARS
from channel_sync.domain.ari import ChannelTarget, FeedItem
from channel_sync.domain.channels import Door
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.ical_feed import changes
from channel_sync.repository import calendars as calendar_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.repository.feeds import ClaimedFeed
from channel_sync.service.accepting import accept_within, read, store_unparseable_within
from channel_sync.service.deps import Deps
from channel_sync.service.polled import Polled
from runtime.http_client import UpstreamUnavailable
from runtime.postgres import Connection, transaction


async def read_calendar(deps: Deps, feed: ClaimedFeed, polled: Polled) -> None:
    """Read a calendar once; raises `FeedUnreadable` when it is not believed: then what is known stays."""
    adapter = CALENDARS[feed.door.adapter]
    async with transaction(deps.system_pool, None) as conn:
        mapped = await calendar_rows.select_mapped_calendar(conn, feed.door.connection_id)
    if mapped is None:
        raise FeedUnreadable("no listing is mapped: nobody knows whose calendar this is")
    target = ChannelTarget(feed.endpoint_url, deps.cipher.open(feed.door.sealed_secret), feed.settings)
    answer = await deps.channels.send(adapter.feed_request(target, mapped.cursor))
    zone = "UTC" if answer.status == HTTPStatus.NOT_MODIFIED else await _zone_of(deps, mapped.property_id)
    shown = replace(adapter.read(answer, mapped.ota_listing_id, zone), source=str(mapped.listing_id))
    async with transaction(deps.system_pool, None) as conn:
        known = await calendar_rows.lock_known_events(conn, feed, mapped.listing_id)
        if known is None:
            return
        told = await calendar_rows.select_told_nights(conn, mapped.listing_id)
        found = changes(known, shown, feed.door.now, timedelta(seconds=deps.push.calendar_grace_s), told)
        if not found.is_fresh:
            raise FeedUnreadable("the calendar shows no event any more, which is how calendars fail")
        for item in found.items:
            await _store(deps, conn, feed.door, item, polled)
        # Nobody tells a calendar that it was read.
        revision_ids = [item.revision_id for item in found.items]
        await revision_rows.note_acknowledged(conn, feed.door.connection_id, revision_ids)
        cursor = adapter.cursor_after(answer, mapped.cursor)
        if (found.known, cursor) != (known, mapped.cursor):
            await calendar_rows.keep_known_events(conn, mapped.listing_id, found.known, cursor)
    deps.wake_relay()


async def _zone_of(deps: Deps, property_id: UUID) -> str:
    try:
        state = await deps.booking.property_calendar(property_id)
    except UpstreamUnavailable as error:
        raise FeedUnreadable(f"the property's time zone is not known now: {error}") from error
    if state is None:
        raise FeedUnreadable("booking does not know the property")
    return state.time_zone


async def _store(deps: Deps, conn: Connection, door: Door, item: FeedItem, polled: Polled) -> None:
    try:
        revision = read(deps.adapters[door.adapter], item.raw)
    except UnparseableRevision as error:
        _, is_new = await store_unparseable_within(conn, door, item.raw, error, "feed", item.revision_id)
        polled.unreadable += is_new
        return
    received = await accept_within(deps, conn, door, revision, item.raw, "feed")
    polled.stored += received.is_new
    polled.known += not received.is_new
