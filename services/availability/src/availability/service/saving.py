"""Keeps this replica's snapshot file: writes what the cache holds, and takes it up again at a start; by `main`.

The file is written while changes go on arriving. It is right all the same: its places are noted before the first
property is copied, each property is copied whole at some version, and a change that it contains already is dropped as
an old version when it is read again from those places.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID

from availability.domain.positions import Place
from availability.domain.store.property_store import PART_ROWS, Part, PropertyStore
from availability.service.cache import Cache
from availability.snapshots.file import Done, Head, SnapshotReader, SnapshotRefused, SnapshotWriter
from runtime.logs import get_logger

log = get_logger(__name__)


class Saving:
    """The file of one replica; without a path nothing is kept."""

    def __init__(self, cache: Cache, path: Path | None) -> None:
        self._cache = cache
        self._path = path
        self._is_saving = asyncio.Lock()

    async def save(self, places: Callable[[], Sequence[Place] | None]) -> None:
        """Write the file, unless there is nothing to vouch for; `places` tells how far the topics are applied.

        A file that cannot be written is logged: the topics are there for the next start.
        """
        if self._path is None:
            return
        async with self._is_saving:
            reached = places()
            if reached is None or self._cache.missing() is not None or self._cache.losses():
                return
            began = time.monotonic()
            unfinished: set[UUID] = set()
            try:
                async with SnapshotWriter(self._path) as writer:
                    await writer.write_head(Head(self._cache.store.taken.first, tuple(reached)))
                    async for part in self._parts(unfinished):
                        await writer.write_part(part)
                    await writer.finish(Done(tuple(unfinished)))
            except OSError as error:
                log.warning("the snapshot file cannot be written", path=str(self._path), error=repr(error))
                return
            took_ms = round((time.monotonic() - began) * 1000)
            log.info("the snapshot file is written", properties=len(self._cache.store), duration_ms=took_ms)

    async def _parts(self, unfinished: set[UUID]) -> AsyncIterator[Part]:
        """The cache's properties; notes those that have no complete state."""
        store, start = self._cache.store, 0
        while start < store.row_count:
            unfinished |= self._cache.unfinished()
            yield store.dump(start, [row for key in unfinished if (row := store.find(key)) is not None])
            start += PART_ROWS
            await asyncio.sleep(0)
        unfinished |= self._cache.unfinished()

    async def load(self, are_there: Callable[[Sequence[Place]], Awaitable[str | None]]) -> Sequence[Place]:
        """Fill the cache from the file; returns the places to read the topics on from, empty when there is no file.

        `are_there` looks whether the topics still have these places, and says why not. A file that is damaged, foreign
        or outdated is refused with a log line, and the cache is left as it was.
        """
        if self._path is None or not self._path.exists():
            return ()
        began = time.monotonic()
        try:
            with self._path.open("rb") as file:
                reader = SnapshotReader(file)
                head = reader.head()
                if (reason := await are_there(head.places)) is not None:
                    raise SnapshotRefused(reason)
                store = PropertyStore(head.first)
                for part in reader.parts():
                    store.load(part)
                    await asyncio.sleep(0)
                done = reader.done()
                store.loaded()
        except (SnapshotRefused, OSError, ValueError, KeyError) as error:
            log.warning("the snapshot file is refused, the topics are read", path=str(self._path), reason=str(error))
            return ()
        self._cache.take_up(store, done.unfinished)
        took_ms = round((time.monotonic() - began) * 1000)
        log.info("the snapshot file is read", properties=len(store), duration_ms=took_ms)
        return head.places
