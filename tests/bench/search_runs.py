"""Owns searches in this process each way, the product's over a filled store and the peer's in SQL, compared; for P3."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import orjson

from availability.api import search as http
from availability.clients import Booking
from availability.domain.search import row_search
from availability.domain.search.search import Search
from availability.service.cache import Cache
from availability.service.reading import Reader
from availability.service.searching import Searches
from runtime.kafka import partition_of
from tests.bench.population import Population
from tests.bench.questions import Question
from tests.bench.seed import PARTITIONS

FINGERPRINT = "bench"


class ProductSearch:
    """A replica's memory filled with a population, and the product's own code on it."""

    def __init__(self, population: Population) -> None:
        self.cache = Cache(PARTITIONS)
        for property_id, state in population.states():
            self.cache.store.put(property_id, partition_of(str(property_id), PARTITIONS), state)
        for partition in range(PARTITIONS):
            self.cache.apply_watermark(partition, datetime.now(UTC))
        self.cache.report_caught_up()
        booking = Booking("http://127.0.0.1:1", "never asked" * 4)
        self._searches = Searches(self.cache, Reader(self.cache, booking, 10**9, 0))
        self._rows = self.cache.store.rows_in(0, self.cache.store.row_count)

    async def search(self, question: Question) -> bytes:
        """The bytes of the answer, as the route gives them out."""
        asked = question.search
        page = await self._searches.search(question.agency_id, asked, {})
        return http._body(asked, page, FINGERPRINT)

    def free(self, asked: Search) -> row_search._Candidates:
        """The occupancy kernel, the first three steps of a search: of all properties those open, sold and wanted."""
        store, now = self.cache.store, self.now()
        places, _ = row_search._may_be_open(store, self._rows, asked, now, None)
        candidates, _ = row_search._sold(store, self._rows, places, asked, now)
        return row_search._wanted(store, candidates, asked)

    def now(self) -> datetime:
        """The database's time as the product believes it to be."""
        found = self.cache.database_now()
        assert found is not None
        return found

    def ids(self, found: row_search._Candidates) -> set[UUID]:
        """The properties of some rows."""
        return set(self.cache.store.ids(found.rows))


async def timed(ask: Callable[[Question], Awaitable[object]], asked: Sequence[Question]) -> list[float]:
    """Seconds of each question, one after another."""
    took = []
    for question in asked:
        began = time.perf_counter()
        await ask(question)
        took.append(time.perf_counter() - began)
    return took


def same(ours: bytes, theirs: bytes) -> bool:
    """Whether two answers offer the same stays at the same prices in the same order."""
    return _offers(ours) == _offers(theirs)


def _offers(answer: bytes) -> list[tuple[str, int, float | None]]:
    return [
        (item["property_id"], item["total_amount_minor"], item.get("distance_km"))
        for item in orjson.loads(answer)["items"]
    ]
