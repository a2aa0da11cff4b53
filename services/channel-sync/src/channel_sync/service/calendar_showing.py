"""Owns the use case of showing our calendar of a listing to a channel that asks for it; called by api.

What it shows is noted: nights the channel was shown come back as events of its own, which are then known as echoes.
"""

from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from channel_sync.adapters.ical_export import ShownNights, etag_of, export_calendar
from channel_sync.domain.errors import CalendarUnknown
from channel_sync.domain.night_values import closed_nights, listing_runs, property_runs, sold_out_years
from channel_sync.repository import calendars as calendar_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.repository.calendars import ShownCalendar
from channel_sync.service.deps import Deps
from runtime.http_client import UpstreamUnavailable
from runtime.postgres import transaction


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar as bytes, and its ETag."""

    body: bytes
    etag: str


async def show_calendar(deps: Deps, token: UUID) -> Calendar:
    """Every night that cannot be sold by this channel, without what it sold itself.

    Raises `CalendarUnknown`, and `UpstreamUnavailable` when booking does not answer: an empty calendar would open all.
    """
    async with transaction(deps.system_pool, None) as conn:
        calendar = await calendar_rows.select_shown_calendar(conn, token)
    if calendar is None:
        raise CalendarUnknown(CalendarUnknown.__doc__)
    nights, version = await _closed(deps, calendar)
    async with transaction(deps.system_pool, None) as conn:
        since = await calendar_rows.note_told(conn, calendar, nights)
        await calendar_rows.update_listing_read(conn, calendar.listing_id, version)
    shown = [ShownNights(start, end, since[start, end]) for start, end in nights]
    body = export_calendar(calendar.listing_id, shown)
    return Calendar(body, etag_of(body))


async def _closed(deps: Deps, calendar: ShownCalendar) -> tuple[list[tuple[date, date]], int]:
    state = await deps.booking.property_calendar(calendar.property_id)
    if state is None or state.inventory_version < calendar.dirty_version:
        raise UpstreamUnavailable("booking does not know the property as it is")
    async with transaction(deps.system_pool, None) as conn:
        sources = {held.source_id for held in state.ranges}
        own = await calendar_rows.select_sources_of(conn, calendar.connection_id, sources)
        stays = await listing_rows.select_nights_sold(conn, calendar.connection_id, calendar.ota_listing_id)
    others = replace(state, ranges=tuple(held for held in state.ranges if held.source_id not in own))
    runs = property_runs(others, deps.reads.horizon_days)
    sold_out = sold_out_years(stays, calendar.overrides)
    return closed_nights(listing_runs(runs, calendar.overrides, sold_out)), state.inventory_version
