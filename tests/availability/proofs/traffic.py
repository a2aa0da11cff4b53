"""Owns generated traffic on booking, and what each version of each property means: which nights are closed at it.

Each property has one writer, so the answers of booking tell its whole history, with which whatever a cache answers at a
version can be compared.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from deploy.local.journey_client import Agency, NotYet, Reply, nights_of, until

NIGHTS = 60
LONGEST = 4
# Longer than any proof lasts: a hold ends only by its release.
HOLD_S = 24 * 3600
FIRST_NIGHT = datetime.now(UTC).date() + timedelta(days=30)
WINDOW = (FIRST_NIGHT - timedelta(days=5), FIRST_NIGHT + timedelta(days=NIGHTS + 5))
# How often each request is chosen, in parts.
CHOICES = {"book": 30, "cancel": 18, "modify": 12, "hold": 10, "release": 9, "block": 8, "unblock": 7, "sell": 6}

Stay = tuple[date, date]


@dataclass(frozen=True)
class Taken:
    """Nights of one reservation, hold or block."""

    kind: str
    record_id: str
    stay: Stay


@dataclass
class Place:
    """A property with its whole history: after `versions[n]` the nights `closed[n]` are taken, preparation left out."""

    property_id: str
    preparation_days: int = 0
    versions: list[int] = field(default_factory=list)
    closed: list[frozenset[date]] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The last version booking has acknowledged."""
        return self.versions[-1]

    def closed_at(self, version: int) -> frozenset[date]:
        """The nights that are taken at a version; one that nobody acknowledged is a jump, which changes nothing."""
        return self.closed[bisect_right(self.versions, version) - 1]

    def note(self, version: int) -> None:
        """Booking has acknowledged a version with what is taken now."""
        assert not self.versions or version > self.version, f"version {version} after {self.version}"
        self.versions.append(version)
        self.closed.append(frozenset[date]().union(*(nights_of(taken.stay) for taken in self.taken)))

    def free_stay(self, dice: random.Random, besides: Taken | None = None) -> Stay | None:
        """Nights nobody has or prepares in; None when none were found."""
        closed = frozenset[date]().union(
            *(self._with_preparation(old.stay) for old in self.taken if old is not besides)
        )
        for _ in range(20):
            start = FIRST_NIGHT + timedelta(days=dice.randrange(NIGHTS - LONGEST))
            stay = (start, start + timedelta(days=dice.randint(1, LONGEST)))
            if closed.isdisjoint(self._with_preparation(stay)):
                return stay
        return None

    def _with_preparation(self, stay: Stay) -> set[date]:
        return nights_of((stay[0], stay[1] + timedelta(days=self.preparation_days)))


class Traffic:
    """Writers of one agency at booking; `places` are its properties. A writer that is refused fails the proof."""

    def __init__(self, agency: Agency, seed: int) -> None:
        self._agency = agency
        self._dice = random.Random(seed)
        self.places: list[Place] = []
        self.writes = 0
        self._sold = 0

    async def add_places(self, count: int, preparation_days: int = 0) -> list[Place]:
        """More properties."""
        asked = (self._agency.create_property(preparation_days=preparation_days) for _ in range(count))
        replies = await asyncio.gather(*asked)
        added = []
        for reply in replies:
            created = reply.expect(201)
            place = Place(created["id"], preparation_days)
            place.note(created["inventory_version"])
            added.append(place)
        self.places += added
        return added

    async def write(self, count: int, places: Sequence[Place] | None = None, lanes: int = 4) -> None:
        """That many changes by several writers at once, each with properties of its own."""
        chosen = self.places if places is None else places
        lanes = min(lanes, len(chosen))
        dealt = [count // lanes + (number < count % lanes) for number in range(lanes)]
        await asyncio.gather(*(self._lane(chosen[number::lanes], share) for number, share in enumerate(dealt)))

    @asynccontextmanager
    async def flowing(self, pause_s: float = 0.08, lanes: int = 2) -> AsyncIterator[None]:
        """Changes for as long as it lasts; each writer finishes what it has begun."""
        stopping = asyncio.Event()
        tasks = [
            asyncio.create_task(self._flow(self.places[number::lanes], pause_s, stopping)) for number in range(lanes)
        ]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)

    async def after(self, writes: int, patience_s: float = 30.0) -> None:
        """Return once that many more changes were acknowledged."""
        goal = self.writes + writes

        async def look() -> None:
            if self.writes < goal:
                raise NotYet(f"{self.writes} of {goal}")

        await until(look, f"{writes} more changes", patience_s)

    async def change(self, place: Place) -> None:
        """One change of a property that nobody else changes meanwhile."""
        while not await self._try(place, self._dice.choices(list(CHOICES), list(CHOICES.values()))[0]):
            continue
        self.writes += 1

    async def _lane(self, places: Sequence[Place], count: int) -> None:
        for _ in range(count):
            await self.change(self._dice.choice(places))

    async def _flow(self, places: Sequence[Place], pause_s: float, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self.change(self._dice.choice(places))
            await asyncio.sleep(pause_s)

    async def _try(self, place: Place, action: str) -> bool:
        """Do it and note what it made; False when there is nothing to do it to."""
        match action:
            case "book" | "hold" | "block":
                stay = place.free_stay(self._dice)
                return stay is not None and await self._take(place, action, stay)
            case "modify":
                return await self._move(place)
            case "cancel" | "release" | "unblock":
                kind = {"cancel": "book", "release": "hold", "unblock": "block"}[action]
                return await self._give_back(place, kind)
        await self._sell_otherwise(place)
        return True

    async def _take(self, place: Place, kind: str, stay: Stay) -> bool:
        match kind:
            case "book":
                reply = await self._agency.book(place.property_id, stay)
            case "hold":
                reply = await self._ask("POST", "/holds", place, stay, expires_in_s=HOLD_S)
            case _:
                nights = {"start_date": str(stay[0]), "end_date": str(stay[1])}
                reply = await self._agency.request("POST", "/blocks", {"property_id": place.property_id, **nights})
        body = reply.expect(201)
        place.taken.append(Taken(kind, body["id"], stay))
        place.note(body["inventory_version"])
        return True

    async def _move(self, place: Place) -> bool:
        old = self._any(place, "book")
        stay = place.free_stay(self._dice, besides=old) if old is not None else None
        if old is None or stay is None or stay == old.stay:
            return False
        dates = {"check_in": str(stay[0]), "check_out": str(stay[1])}
        body = (await self._agency.request("PATCH", f"/bookings/{old.record_id}", dates)).expect(200)
        place.taken.remove(old)
        place.taken.append(Taken("book", old.record_id, stay))
        place.note(body["inventory_version"])
        return True

    async def _give_back(self, place: Place, kind: str) -> bool:
        old = self._any(place, kind)
        if old is None:
            return False
        match kind:
            case "book":
                reply = await self._agency.cancel(old.record_id)
            case "hold":
                reply = await self._agency.request("DELETE", f"/holds/{old.record_id}")
            case _:
                reply = await self._agency.request("DELETE", f"/blocks/{old.record_id}")
        place.taken.remove(old)
        place.note(reply.expect(200)["inventory_version"])
        return True

    async def _sell_otherwise(self, place: Place) -> None:
        """New stay rules, which refuse nothing here, or new rates; never the same again, which would be no change."""
        self._sold += 1
        what = self._dice.choice(["stay-rules", "rates"])
        rules = {"default": {"max_stay": LONGEST + self._sold}}
        body = rules if what == "stay-rules" else {"default_minor": 5000 + self._sold}
        reply = await self._agency.request("PUT", f"/properties/{place.property_id}/{what}", body)
        place.note(reply.expect(200)["inventory_version"])

    def _any(self, place: Place, kind: str) -> Taken | None:
        found = [taken for taken in place.taken if taken.kind == kind]
        return self._dice.choice(found) if found else None

    async def _ask(self, method: str, path: str, place: Place, stay: Stay, **more: Any) -> Reply:
        nights = {"check_in": str(stay[0]), "check_out": str(stay[1])}
        return await self._agency.request(method, path, {"property_id": place.property_id, **nights, **more})
