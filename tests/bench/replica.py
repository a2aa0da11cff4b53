"""Owns a replica of availability that is watched from inside: `python -m tests.bench.replica serve`; started by stage.

The real service whole: its application, consumers, cache and repairing loops. Beside it runs one task that notes when
the replica became ready and how long the event loop kept it waiting; and of every change is noted when it could be
seen, where that is measured. The notes are asked for when the load is over, so that nothing is asked meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch
from uuid import UUID

import orjson
from fastapi import FastAPI, Response

from availability import main
from availability.service.cache import Cache
from availability.settings import AvailabilitySettings
from contracts.booking_reservations_v1 import InventoryChange
from runtime.cli import command_line
from runtime.http import CallerOf, json_bytes

SEEN, WATCHED, NOTHING = "/bench/seen", "/bench/watched", "/bench/nothing"
"""Routes: the notes of changes, those of the watching task, and one that does nothing for a caller who may ask."""
NOTES_CHANGES, IS_RESTLESS = "BENCH_NOTES_CHANGES", "BENCH_IS_RESTLESS"
"""Environment: note when each change can be seen; let the watching task ask for its turn again and again, and count the
changes (notes would be work for the collector of garbage)."""
PAUSE_S = 0.005
STALL_S = 0.005


@dataclass(frozen=True)
class Watched:
    """What the watching task saw: monotonic seconds at its start, and when the replica was ready (None: not yet).

    Beyond that, of its turns since it was told to begin anew: how many, the longest wait for one in ms, the waits of
    over STALL_S, and the share of the time they took together; `busiest_ms` is the most processor time the process
    used between two turns, which other work on the machine does not lengthen. `changes` are those counted so far.
    """

    began: float
    ready: float | None
    turns: int
    longest_ms: float
    stalls: int
    stalled_share: float
    busiest_ms: float
    changes: int


class NotingCache(Cache):
    """A cache with notes of what can be seen: (property, version, monotonic seconds).

    A change counts from the moment the event loop comes back after it was applied: then a question can be answered.
    """

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self.notes: list[tuple[UUID, int, float]] = []
        self._applied: list[tuple[UUID, int]] = []
        self._is_due = False

    def apply_change(self, agency_id: UUID, change: InventoryChange) -> None:
        """Apply a change and look after it once the loop has come back."""
        super().apply_change(agency_id, change)
        self._applied.append((change.property_id, change.inventory_version))
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._is_due = False
        hidden = []
        for property_id, version in self._applied:
            if (self.shown_version(property_id) or 0) >= version:
                self.notes.append((property_id, version, now))
            else:
                hidden.append((property_id, version))
        self._applied = hidden


class CountingCache(Cache):
    """A cache that counts the changes."""

    changes = 0

    def apply_change(self, agency_id: UUID, change: InventoryChange) -> None:
        """Apply a change."""
        super().apply_change(agency_id, change)
        self.changes += 1


class Watch:
    """The watching task of one replica: it ends when the replica is ready, unless it is restless.

    It keeps sums only: whoever asks for them in the middle must not be what keeps the loop busy.
    """

    def __init__(self, cache: Cache, *, is_restless: bool) -> None:
        self._cache = cache
        self._is_restless = is_restless
        self._pause_s = 0.0 if is_restless else PAUSE_S
        self._began = 0.0
        self._ready: float | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the turns so far."""
        self._turns = self._stalls = 0
        self._took_s = self._stalled_s = self._longest_s = self._busiest_s = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        self._began = last = time.monotonic()
        used = time.thread_time()
        while self._ready is None or self._is_restless:
            await asyncio.sleep(self._pause_s)
            now, used_now = time.monotonic(), time.thread_time()
            self._note(now - last - self._pause_s, used_now - used)
            self._look(now)
            last, used = now, used_now

    def _look(self, now: float) -> None:
        if self._ready is None and self._cache.missing() is None:
            self._ready = now

    def _note(self, waited_s: float, used_s: float) -> None:
        self._turns += 1
        self._took_s += waited_s + self._pause_s
        self._longest_s = max(self._longest_s, waited_s)
        self._busiest_s = max(self._busiest_s, used_s)
        if waited_s > STALL_S:
            self._stalls += 1
            self._stalled_s += waited_s

    def seen(self, changes: int) -> Watched:
        """The notes so far; whoever asks may know that the replica is ready before the watching task has its turn."""
        self._look(time.monotonic())
        share = self._stalled_s / self._took_s if self._took_s else 0.0
        longest_ms, busiest_ms = self._longest_s * 1000, self._busiest_s * 1000
        return Watched(self._began, self._ready, self._turns, longest_ms, self._stalls, share, busiest_ms, changes)


def build(settings: AvailabilitySettings, roles: frozenset[str]) -> FastAPI:
    """The application of a replica with routes for the notes; those of changes are forgotten as they are read."""
    kind = NotingCache if os.environ.get(NOTES_CHANGES) else CountingCache if os.environ.get(IS_RESTLESS) else Cache
    made: list[Cache] = []

    def make(partitions: int) -> Cache:
        made.append(kind(partitions))
        return made[0]

    with patch.object(main, "Cache", make):
        app = main.build(settings, roles)
    watch = Watch(made[0], is_restless=bool(os.environ.get(IS_RESTLESS)))
    whole = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[None]:
        async with watch.watching(), whole(running):
            yield

    app.router.lifespan_context = lifespan

    @app.get(NOTHING)
    async def nothing(caller: CallerOf) -> Response:
        return json_bytes(b"{}")

    @app.get(SEEN)
    async def seen() -> Response:
        cache = made[0]
        found: list[tuple[UUID, int, float]] = []
        if isinstance(cache, NotingCache):
            found, cache.notes = cache.notes, found
        return json_bytes(orjson.dumps(found))

    @app.get(WATCHED)
    async def watched(anew: bool = False) -> Response:
        found = watch.seen(made[0].changes if isinstance(made[0], CountingCache) else 0)
        if anew:
            watch.begin_anew()
        return json_bytes(orjson.dumps(found))

    return app


if __name__ == "__main__":
    command_line(replace(main.SERVICE, build=build))()
