"""Owns reads of booking's ledger for pushes: one read serves all listings of a property that wait for it."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from channel_sync.clients.booking import BookingClient
from channel_sync.domain.ari import ValueRun
from channel_sync.domain.night_values import PropertyCalendar, property_runs


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A property as booking has it, and its nights from today to the horizon."""

    calendar: PropertyCalendar
    runs: tuple[ValueRun, ...]


class LedgerReads:
    """Reads that are under way, by property. Nothing is remembered once a read has ended."""

    def __init__(self, booking: BookingClient, horizon_days: int) -> None:
        self._booking = booking
        self.horizon_days = horizon_days
        self._under_way: dict[UUID, asyncio.Task[LedgerState | None]] = {}

    async def read(self, property_id: UUID, oldest_version: int) -> LedgerState | None:
        """The property now, None when booking knows none; raises `UpstreamUnavailable`.

        A read that began before this call will do if it finds `oldest_version`; else this property is read anew.
        """
        shared = self._under_way.get(property_id)
        if shared is not None:
            found = await asyncio.shield(shared)
            if found is not None and found.calendar.inventory_version >= oldest_version:
                return found
        task = asyncio.create_task(self._read(property_id))
        self._under_way[property_id] = task
        task.add_done_callback(lambda ended: self._ended(property_id, ended))
        return await asyncio.shield(task)

    def _ended(self, property_id: UUID, task: asyncio.Task[LedgerState | None]) -> None:
        if self._under_way.get(property_id) is task:
            del self._under_way[property_id]
        if not task.cancelled():
            task.exception()  # who waited has it; whoever went away leaves it unread

    async def _read(self, property_id: UUID) -> LedgerState | None:
        calendar = await self._booking.property_calendar(property_id)
        if calendar is None:
            return None
        return LedgerState(calendar, property_runs(calendar, self.horizon_days))
