"""Owns readers that ask caches for versions they know of, and the judgement of every answer they got.

An answer must not be older than the version its question named, and must be what that property was at the version it
states. 503 is an answer that claims nothing; a process that was killed gives none.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp

from deploy.local.journey_client import Agency, Reply, closed_nights, nights_of
from tests.availability.proofs.traffic import FIRST_NIGHT, LONGEST, NIGHTS, WINDOW, Place, Stay

STAYED = ("reservation", "hold", "block", "conflict")
AT_A_TIME = 3


@dataclass(frozen=True)
class Seen:
    """What one answer said of one property, and the version its question named.

    `closed` are the taken nights it told of within `asked`; of a check it is only known whether there are any.
    """

    reader: int
    at: str
    property_id: str
    min_version: int
    version: int
    source: str
    asked: Stay
    closed: frozenset[date]
    is_check: bool = False


def violations(seen: Iterable[Seen], places: Mapping[str, Place]) -> list[str]:
    """Everything these answers must not have said, in words; `seen` is in the order of each reader's answers."""
    found = []
    latest: dict[tuple[int, str], int] = {}
    for answer in seen:
        place = places[answer.property_id]
        if answer.version < answer.min_version:
            found.append(f"older than it was asked for: {answer}")
        # A reader names what it saw last, so its answers never go back. A search offers what was not named, too.
        key = (answer.reader, answer.property_id)
        if answer.min_version and answer.version < latest.get(key, 0):
            found.append(f"older than the same reader's answer before, version {latest[key]}: {answer}")
        latest[key] = max(latest.get(key, 0), answer.version)
        if answer.version < place.versions[0]:
            found.append(f"a version before the first: {answer}")
            continue
        true = place.closed_at(answer.version) & nights_of(answer.asked)
        wrong = bool(true) != bool(answer.closed) if answer.is_check else true != answer.closed
        if wrong:
            found.append(f"not what the property was at that version, {sorted(map(str, true))}: {answer}")
    return found


@dataclass
class Reader:
    """One client of an agency that reads from several replicas in turn; it names the last version it knows of."""

    number: int
    clients: Sequence[Agency]
    places: Sequence[Place]
    seed: int
    seen: list[Seen] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Its choices are its own."""
        self._dice = random.Random(f"{self.seed}/{self.number}")

    async def ask(self, client: Agency | None = None, place: Place | None = None) -> None:
        """One question, noted with its answer."""
        client = client or self._dice.choice(self.clients)
        place = place or self._dice.choice(self.places)
        try:
            match self._dice.choices(["one", "several", "search", "check"], [6, 2, 2, 2])[0]:
                case "one":
                    await self._ask_for_one(client, place)
                case "several":
                    await self._ask_for_several(client, place)
                case "search":
                    await self._search(client, place)
                case _:
                    await self._ask_whether_bookable(client, place)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.counts["no answer"] += 1

    def _token(self, place: Place) -> int:
        return max(place.version, self.known.get(place.property_id, 0))

    async def _ask_for_one(self, client: Agency, place: Place) -> None:
        token = self._token(place)
        reply = await client.availability(place.property_id, WINDOW, min_version=token)
        if (body := self._body(reply)) is not None:
            closed = frozenset(night for kind in STAYED for night in closed_nights(body["ranges"], kind))
            self._note(reply, place, token, body, WINDOW, closed)

    async def _ask_for_several(self, client: Agency, place: Place) -> None:
        asked, tokens = self._several(place)
        query = [("property_id", name) for name in asked] + _named(tokens)
        window = (WINDOW[0], WINDOW[0] + timedelta(days=NIGHTS))
        dates = [("from_date", str(window[0])), ("to_date", str(window[1]))]
        reply = await client.request("GET", f"/availability/calendar?{urlencode([*query, *dates])}")
        for item in (self._body(reply) or {"items": []})["items"]:
            closed = frozenset(
                date.fromisoformat(day["date"]) for day in item["days"] if not set(STAYED).isdisjoint(day["reasons"])
            )
            one = asked[item["property_id"]]
            self._note(reply, one, tokens[one.property_id], item, window, closed)

    def _several(self, place: Place) -> tuple[dict[str, Place], dict[str, int]]:
        """A property and some others, and the versions to name, by id."""
        others = self._dice.sample(self.places, min(AT_A_TIME, len(self.places)))
        asked = {one.property_id: one for one in (place, *others)}
        return asked, {property_id: self._token(one) for property_id, one in asked.items()}

    def _stay(self) -> Stay:
        start = FIRST_NIGHT + timedelta(days=self._dice.randrange(NIGHTS - LONGEST))
        return start, start + timedelta(days=self._dice.randint(1, LONGEST))

    async def _search(self, client: Agency, place: Place) -> None:
        """What is offered must be free at the version it states; of what is not offered no version is known."""
        _, tokens = self._several(place)
        stay = self._stay()
        query = [("check_in", str(stay[0])), ("check_out", str(stay[1])), ("adults", "1"), *_named(tokens)]
        reply = await client.request("GET", f"/availability/search?{urlencode(query)}")
        body = self._body(reply) or {"items": []}
        by_id = {one.property_id: one for one in self.places}
        for item in body["items"]:
            told = {**item, "source": body["source"]}
            if (one := by_id.get(item["property_id"])) is not None:
                self._note(reply, one, tokens.get(one.property_id, 0), told, stay, frozenset(), is_check=True)

    async def _ask_whether_bookable(self, client: Agency, place: Place) -> None:
        stay = self._stay()
        token = self._token(place)
        asked = {
            "property_id": place.property_id,
            "check_in": str(stay[0]),
            "check_out": str(stay[1]),
            "occupancy": {"adults": 1},
            "min_version": token,
        }
        reply = await client.request("POST", "/availability/check", asked)
        body = self._body(reply)
        # Nights of preparation refuse a stay too, and are nobody's.
        if body is not None and not place.preparation_days:
            closed = frozenset() if body["bookable"] else frozenset(nights_of(stay))
            self._note(reply, place, token, body, stay, closed, is_check=True)

    def _body(self, reply: Reply) -> Any:
        """The answer, or None for one that claims nothing."""
        self.counts[str(reply.status)] += 1
        if reply.status == 200:
            return reply.body
        if reply.status != 503 or "Retry-After" not in reply.headers:
            self.odd.append(f"{reply.request}: {reply.status} {reply.content[:200]!r}")
        return None

    def _note(
        self,
        reply: Reply,
        place: Place,
        token: int,
        body: Any,
        asked: Stay,
        closed: frozenset[date],
        *,
        is_check: bool = False,
    ) -> None:
        version = int(body["inventory_version"])
        self.counts[body["source"]] += 1
        self.known[place.property_id] = max(version, self.known.get(place.property_id, 0))
        self.seen.append(
            Seen(self.number, reply.request, place.property_id, token, version, body["source"], asked, closed, is_check)
        )


def _named(tokens: Mapping[str, int]) -> list[tuple[str, str]]:
    return [("min_version", f"{property_id}:{version}") for property_id, version in tokens.items()]


class Watch:
    """Readers at work on some replicas; `require_truth` judges them."""

    def __init__(self, readers: Sequence[Reader], places: Sequence[Place]) -> None:
        self.readers = readers
        self._places = places

    @property
    def counts(self) -> Counter[str]:
        """How many answers there were by status and by source, a calendar's properties one by one."""
        return sum((reader.counts for reader in self.readers), Counter[str]())

    def require_truth(self) -> Counter[str]:
        """No answer was older than asked for, or other than its version; how many answers of which kind there were."""
        odd = [line for reader in self.readers for line in reader.odd]
        assert not odd, f"{len(odd)} answers of another kind: " + "\n".join(odd[:5])
        places = {place.property_id: place for place in self._places}
        wrong = [line for reader in self.readers for line in violations(reader.seen, places)]
        assert not wrong, f"{len(wrong)} wrong answers: " + "\n".join(wrong[:5])
        assert self.counts["cache"] > 0, f"nothing was answered from memory: {self.counts}"
        return self.counts


@asynccontextmanager
async def watching(
    urls: Sequence[str],
    agency: Agency,
    places: Sequence[Place],
    *,
    jwt_secret: str,
    seed: int = 0,
    readers: int = 2,
    pause_s: float = 0.04,
) -> AsyncIterator[Watch]:
    """Readers that ask these replicas without a break, for as long as it lasts; each finishes its last question."""
    async with AsyncExitStack() as closing:
        clients = [await closing.enter_async_context(Agency(url, jwt_secret, agency.id)) for url in urls]
        watch = Watch([Reader(number, clients, places, seed) for number in range(readers)], places)
        stopping = asyncio.Event()

        async def read(reader: Reader) -> None:
            while not stopping.is_set():
                await reader.ask()
                await asyncio.sleep(pause_s)

        tasks = [asyncio.create_task(read(reader)) for reader in watch.readers]
        try:
            yield watch
        finally:
            stopping.set()
            await asyncio.gather(*tasks)
