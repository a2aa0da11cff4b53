"""Owns one measured start of a replica, from the topics or its snapshot file, and the bare decoding of them; for P6."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import UUID

import psutil

from availability.domain.property_calendar import CalendarState
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST
from tests.bench.events_made import CHANGES
from tests.bench.peers.bare_consume import Bare, Decoded
from tests.bench.population import Population
from tests.bench.replica import IS_RESTLESS, WATCHED, Watched
from tests.bench.seed import PARTITIONS
from tests.bench.stage import Replica, Stage
from tests.bench.topic_fill import filling
from tests.serving import closed_port

SETTLED_S = 30.0
LOOK_S = 0.2
IDLE_S = 3.0


@dataclass(frozen=True)
class Filled:
    """How many states and changes lie on the topics; a start has to read them all."""

    states: int
    changes: int


@dataclass(frozen=True)
class Started:
    """One start: seconds from the first look at the topics to readiness, and from the process's start to readiness.

    `resident` is the memory of the process then, in bytes.
    """

    seconds: float
    process_seconds: float
    resident: int


@dataclass(frozen=True)
class Stalls:
    """How long the event loop of a replica kept a reader waiting: with nothing to do, and applying at full speed."""

    idle: Watched
    replaying: Watched
    following: Watched


def resident_when_empty(stage: Stage) -> int:
    """The memory of a replica that knows nothing, in bytes."""
    fill(stage, Population(0))
    with started(stage) as replica:
        return replica.resident


def fill(stage: Stage, population: Population) -> Filled:
    """Booking's topics anew: every property's state, and a week of changes that the states do not contain."""
    stage.empty_topics()
    return asyncio.run(_fill(stage.kafka_bootstrap, population))


async def _fill(bootstrap: str, population: Population) -> Filled:
    async with filling(bootstrap) as filler:
        states = await filler.snapshots(population.states())
        changes = await filler.changes(population.states())
        await filler.end(dict.fromkeys(range(PARTITIONS), 0))
    return Filled(states, changes)


def change_some(stage: Stage, population: Population, weeks_before: int, properties: int) -> int:
    """Write a further week of changes of the first properties; how many."""
    return asyncio.run(_change_some(stage.kafka_bootstrap, population, weeks_before, properties))


async def _change_some(bootstrap: str, population: Population, weeks_before: int, properties: int) -> int:
    async with filling(bootstrap) as filler:
        written = await filler.changes(_moved(population, weeks_before, properties))
        await filler.watermarks(range(PARTITIONS))
    return written


async def _change_all_and_publish(bootstrap: str, population: Population) -> int:
    """The second week of changes of every property, and then its state; how many changes."""
    async with filling(bootstrap) as filler:
        changes = await filler.changes(_moved(population, 1, population.size))
        await filler.snapshots(_moved(population, 2, population.size))
    return changes


def _moved(population: Population, weeks: int, properties: int) -> Iterator[tuple[UUID, CalendarState]]:
    """The first properties as they are some weeks of changes later."""
    for property_id, state in population.states(0, properties):
        yield property_id, replace(state, version=state.version + weeks * CHANGES)


def decode_bare(stage: Stage) -> Decoded:
    """The floor: both topics read and decoded by a process that does nothing else."""
    bare = Bare(stage.kafka_bootstrap, {str(number): 0 for number in range(PARTITIONS)})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.peers.bare_consume"],
        input=json.dumps(asdict(bare)), capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the bare consumer failed:\n{done.stderr[-3000:]}")
    return Decoded(**json.loads(done.stdout))


@contextmanager
def started(stage: Stage, snapshot: Path | None = None) -> Iterator[Started]:
    """A replica that has become ready; with a snapshot file it takes that up, and writes it at its end."""
    with stage.replica(closed_port(), snapshot=snapshot) as replica:
        watched = _watched(replica)
        assert watched.ready is not None
        resident = psutil.Process(replica.pid).memory_info().rss
        yield Started(watched.ready - watched.began, watched.ready - replica.started, int(resident))


def run_stalls(stage: Stage, population: Population) -> Stalls:
    """What a reader waits for while a replica replays both topics, and while records come in as fast as they can."""
    filled = fill(stage, population)
    with stage.replica(closed_port(), {IS_RESTLESS: "1"}) as replica:
        replaying = _watched(replica)
        assert replaying.changes == filled.changes
        _watched(replica, anew=True)
        time.sleep(IDLE_S)
        idle = _watched(replica, anew=True)
        written = asyncio.run(_change_all_and_publish(stage.kafka_bootstrap, population))
        deadline = time.monotonic() + SETTLED_S
        while _watched(replica).changes < filled.changes + written:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{written} changes were not applied within {SETTLED_S:.0f} s")
            time.sleep(LOOK_S)
        time.sleep(IDLE_S)  # the last states
        return Stalls(idle, replaying, _watched(replica))


def _watched(replica: Replica, *, anew: bool = False) -> Watched:
    with urllib.request.urlopen(f"http://{HOST}:{replica.port}{WATCHED}?anew={str(anew).lower()}") as answer:
        return Watched(**json.load(answer))
