"""The reading use cases of one replica: what is closed and why, day by day, digests; called by the api."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from availability.service.cache import Cache
from availability.service.reading import Reader, Reading, Window
from rules.calendar import ClosedRange, closed_ranges
from rules.days import DayStatus, day_statuses

# Digests computed at a stretch; each is a hash over a property's ranges.
DIGESTS_AT_A_STRETCH = 20


@dataclass(frozen=True, slots=True)
class Question:
    """The nights `[from_date, to_date)` of one property, no older than `min_version` when it is given."""

    property_id: UUID
    from_date: date
    to_date: date
    min_version: int | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Why nights of the question are closed, and how fresh that is."""

    question: Question
    closed: list[ClosedRange]
    reading: Reading


@dataclass(frozen=True, slots=True)
class CalendarQuestion:
    """The dates `[from_date, to_date)` of several properties, none older than its version in `min_versions`."""

    property_ids: Sequence[UUID]
    from_date: date
    to_date: date
    min_versions: Mapping[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PropertyDays:
    """One property of a calendar, date by date."""

    property_id: UUID
    days: list[DayStatus]
    reading: Reading


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of one property's ranges at a version."""

    property_id: UUID
    version: int
    digest: str


class Answers:
    """Answers from memory or booking, as `reader` decides; every method raises what `Reader.read` does."""

    def __init__(self, cache: Cache, reader: Reader) -> None:
        self._cache = cache
        self._reader = reader

    async def availability(self, agency_id: UUID, question: Question) -> Availability:
        """Which nights of one property are closed, and why."""
        window = Window(question.from_date, question.to_date)
        reading = await self._reader.read(agency_id, question.property_id, question.min_version, window)
        sellable = reading.state.sellable
        closed = closed_ranges(
            sellable.ranges, sellable.preparation_days, question.from_date, question.to_date, reading.now
        )
        return Availability(question, closed, reading)

    async def calendar(self, agency_id: UUID, question: CalendarQuestion) -> list[PropertyDays]:
        """Every date of several properties with all that limits it, in the order asked for."""
        found = []
        window = Window(question.from_date, question.to_date, needs_all=True)
        for property_id in question.property_ids:
            min_version = question.min_versions.get(property_id)
            reading = await self._reader.read(agency_id, property_id, min_version, window)
            days = day_statuses(reading.state.sellable, question.from_date, question.to_date, reading.now)
            found.append(PropertyDays(property_id, days, reading))
            await asyncio.sleep(0)
        return found

    async def digests(self, after: date, cursor: UUID | None, limit: int) -> tuple[list[Fingerprint], UUID | None]:
        """Digests of the next `limit` properties in id order beyond `cursor`, and the cursor of what follows.

        A property that goes or is parked meanwhile is left out, so there may be fewer although more follow.
        """
        found, property_ids = [], self._cache.trusted(cursor, limit)
        for count, property_id in enumerate(property_ids, start=1):
            if (shown := self._cache.fingerprint(property_id, after)) is not None:
                found.append(Fingerprint(property_id, *shown))
            if count % DIGESTS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        return found, property_ids[-1] if len(property_ids) == limit else None
