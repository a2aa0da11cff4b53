"""P3: searches of a replica against SQL on GiST that finds the same; over HTTP against a route that does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from deploy.local.ports import HOST
from deploy.local.services import AVAILABILITY
from tests.bench.effort import QUESTIONS, ROUNDS, SEARCHED, SECONDS, WARMUP_S
from tests.bench.loadgen import Load, Result, percentile, run_load
from tests.bench.peers import search_sql
from tests.bench.peers.search_sql import SqlSearch
from tests.bench.population import AGENCY_SIZE, Population
from tests.bench.questions import LIMIT, Question, questions
from tests.bench.rebuild_runs import fill
from tests.bench.replica import NOTHING
from tests.bench.report import Report, Section
from tests.bench.search_runs import ProductSearch, same, timed
from tests.bench.stage import Stage
from tests.serving import closed_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

RULES, RATES = 10, 12
KERNEL_SHARE = 10
"""One question in so many is asked of all properties too: the peer takes its time."""
P99_MS = {100_000: 2.0, 1_000_000: 10.0}
CONNECTIONS = 16


@dataclass(frozen=True)
class Round:
    """Seconds of each question."""

    ours: list[float]
    theirs: list[float]
    our_kernel: list[float]
    their_kernel: list[float]


@dataclass
class Measured:
    """Questions per second by round, the product's p99 in ms by round, and how many offers were compared."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    our_kernel: list[float] = field(default_factory=list)
    their_kernel: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    offers: int = 0

    def note(self, found: Round) -> None:
        """Add a round."""
        self.ours.append(len(found.ours) / sum(found.ours))
        self.theirs.append(len(found.theirs) / sum(found.theirs))
        self.our_kernel.append(len(found.our_kernel) / sum(found.our_kernel))
        self.their_kernel.append(len(found.their_kernel) / sum(found.their_kernel))
        self.p99_ms.append(percentile(sorted(found.ours), 0.99) * 1000)


def test_searches_against_sql_on_gist(stage: Stage, report: Report) -> None:
    section = report.section(
        "p3", f"P3: searches, agencies of {AGENCY_SIZE:,}, {RULES} rules and {RATES} rates a property"
    )
    for size in SEARCHED:
        population = Population(size, rules=RULES, rates=RATES)
        with stage.larger_postgres(), stage.empty_database() as dsn:
            asyncio.run(search_sql.fill(dsn, population.states()))
            _add(section, size, asyncio.run(_measure(dsn, population)))


async def _measure(dsn: str, population: Population) -> Measured:
    product, peer = ProductSearch(population), await SqlSearch.connected(dsn)
    measured = Measured()
    try:
        for number in range(ROUNDS + 1):
            asked = questions(population, QUESTIONS, seed=number)
            some = asked[::KERNEL_SHARE]
            found = await _round(product, peer, asked, some)
            if number > 0:  # the first warms both up
                measured.note(found)
            measured.offers += await _compare(product, peer, asked, some)
    finally:
        await peer.close()
    return measured


async def _round(product: ProductSearch, peer: SqlSearch, asked: Sequence[Question], some: Sequence[Question]) -> Round:
    async def search_peer(question: Question) -> bytes:
        return await peer.search(question, product.now())

    async def product_kernel(question: Question) -> object:
        return product.free(question.over_all)

    return Round(
        theirs=await timed(search_peer, asked),
        ours=await timed(product.search, asked),
        their_kernel=await timed(peer.free, some),
        our_kernel=await timed(product_kernel, some),
    )


async def _compare(product: ProductSearch, peer: SqlSearch, asked: Sequence[Question], some: Sequence[Question]) -> int:
    """How many offers were found; every answer of the product must be the peer's."""
    offers = 0
    for question in asked:
        ours, theirs = await product.search(question), await peer.search(question, product.now())
        assert same(ours, theirs), question
        offers += ours.count(b'"property_id"')
    for question in some:
        assert product.ids(product.free(question.over_all)) == await peer.free(question), question
    return offers


def _add(section: Section, size: int, measured: Measured) -> None:
    name, unit = f"{size:,} properties", "searches/s"
    their_kernel = section.add(f"peer: NOT EXISTS, {name}", measured.their_kernel, unit, "persons, amenities, a box")
    our_kernel = section.add(f"product: occupancy kernel, {name}", measured.our_kernel, unit)
    theirs = section.add(f"peer: whole search, {name}", measured.theirs, unit, f"first {LIMIT} of an agency, by price")
    ours = section.add(f"product: whole search, {name}", measured.ours, unit, "ready bytes")
    p99 = section.add(f"product: whole search, p99, {name}", measured.p99_ms, "ms")
    section.aim(f"(a) product / peer, kernel, {name}", our_kernel, their_kernel, 1000)
    section.aim(f"(b) product / peer, whole search, {name}", ours, theirs, 50)
    if size in P99_MS:
        section.limit(f"(b) p99, {name}", p99, P99_MS[size])
    section.say(f"{name}: every answer is the peer's; {measured.offers:,} offers compared")


def test_searches_over_http(stage: Stage, report: Report) -> None:
    section = report.section("p3-http", f"P3: searches over HTTP, an agency of {AGENCY_SIZE:,} properties")
    population = Population(AGENCY_SIZE, rules=RULES, rates=RATES)
    fill(stage, population)
    paths = [question.path for question in questions(population, QUESTIONS, seed=1)]
    nothing, searches = [], []
    with stage.replica(closed_port()) as replica:
        for _ in range(ROUNDS):
            nothing.append(_load(stage, replica.port, population, [NOTHING]))
            searches.append(_load(stage, replica.port, population, paths))
        share = stage.cpu_s(AVAILABILITY)
    floor = section.add(
        "a route that does nothing", [run.per_second(200) for run in nothing], "requests/s", _note_of(nothing)
    )
    product = section.add("searches", [run.per_second(200) for run in searches], "requests/s", _note_of(searches))
    section.aim("(c) searches / nothing", product, floor, 0.8)
    section.say(f"one replica, {CONNECTIONS} connections without pause, {share:.0f} s of processor in all")


def _load(stage: Stage, port: int, population: Population, paths: list[str]) -> Result:
    load = Load(
        targets=[(HOST, port)],
        path="",
        connections=CONNECTIONS,
        warmup_s=WARMUP_S,
        seconds=SECONDS,
        properties=0,
        jwt_secret=stage.jwt_secret,
        seed=1,
        reads=paths,
        agency=str(population.agency_id(0)),
    )
    result = run_load(load)
    assert set(result.whole) == {"200"}, result.samples
    return result


def _note_of(runs: Sequence[Result]) -> str:
    p99 = max(run.latency_ms["p99"] for run in runs)
    return f"p99 up to {p99:.1f} ms; load generator {max(run.cpu_share for run in runs):.0%} of a core"
