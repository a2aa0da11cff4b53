"""Which properties memory needs of booking, and why: filled by the cache and by anti-entropy, emptied by resync.

Two lines: a property that was answered from memory and cannot be any more goes before those that a start, a loss or a
comparison brings by the thousand, so that a gap is repaired at once even while a cold cache is filled.
"""

import asyncio
from collections.abc import Iterator
from enum import StrEnum
from uuid import UUID

from runtime.telemetry import counter

_WANTED = counter("pms.resync.wanted", "{property}", "Properties that memory came to need of booking, by cause.")


class Cause(StrEnum):
    """Why a property is wanted."""

    GAP = "gap"
    """A change is missing before one that arrived."""
    UNREADABLE = "unreadable"
    """A record of it cannot be applied."""
    STATELESS = "stateless"
    """Changes of it arrived and no whole state."""
    UNFINISHED = "unfinished"
    """The snapshot file was written while its state was not complete."""
    LOST = "lost"
    """Changes of its partition are gone, and it differs from booking."""
    DIFFERENT = "different"
    """Its ranges differ from booking's at the same version."""
    BITS = "bits"
    """The bits that searches read differ from its ranges."""
    BEHIND = "behind"
    """A version booking had told of is not there although its partition was read beyond it."""
    UNKNOWN = "unknown"
    """Booking lists it and memory does not know it, or knows it as gone."""
    UNLISTED = "unlisted"
    """Memory answers for it and booking does not list it."""
    AHEAD = "ahead"
    """Memory shows a version that booking does not have."""


_URGENT = frozenset({Cause.GAP, Cause.UNREADABLE})


class Wanted:
    """Properties to fetch, each once; iterates over all, those being fetched included."""

    def __init__(self) -> None:
        self._urgent: dict[UUID, Cause] = {}
        self._patient: dict[UUID, Cause] = {}
        self._fetching: set[UUID] = set()
        self._is_something = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._patient) + sum(1 for each in self._fetching if not self._is_queued(each))

    def __iter__(self) -> Iterator[UUID]:
        return iter({*self._urgent, *self._patient, *self._fetching})

    def add(self, property_id: UUID, cause: Cause) -> None:
        """Want a property; also one that is being fetched: what is told of it now may be newer than that answer."""
        if not self._is_queued(property_id) and property_id not in self._fetching:
            _WANTED.add(1, {"cause": cause})
        if cause in _URGENT:
            self._patient.pop(property_id, None)
            self._urgent.setdefault(property_id, cause)
        elif property_id not in self._urgent:
            self._patient.setdefault(property_id, cause)
        self._is_something.set()

    def drop(self, property_id: UUID) -> None:
        """It is repaired by other means."""
        self._urgent.pop(property_id, None)
        self._patient.pop(property_id, None)
        self._note_if_empty()

    async def wait(self) -> None:
        """Return when there is something to take."""
        await self._is_something.wait()

    def take(self) -> tuple[UUID, Cause] | None:
        """The next property to fetch; the caller says `done` in the end."""
        line = self._urgent or self._patient
        if not line:
            return None
        property_id = next(iter(line))
        cause = line.pop(property_id)
        self._fetching.add(property_id)
        self._note_if_empty()
        return property_id, cause

    def done(self, property_id: UUID) -> None:
        """It was fetched, or could not be."""
        self._fetching.discard(property_id)

    def _is_queued(self, property_id: UUID) -> bool:
        return property_id in self._urgent or property_id in self._patient

    def _note_if_empty(self) -> None:
        if not self._urgent and not self._patient:
            self._is_something.clear()
