"""Owns one measured run of P4 each way: bare Kafka, bookings, changes beside the relay; matched with what was seen."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from datetime import time as of_day
from typing import Any
from uuid import UUID

import asyncpg

from availability.domain.packed_ranges import PackedRanges, record_of
from availability.domain.property_calendar import CalendarState, Profile
from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST, free_port
from deploy.local.services import AVAILABILITY, BOOKING
from rules.stay_rules import SellingConditions
from runtime.kafka import create_topics
from runtime.settings import KafkaSettings
from tests.bench.change_writer import Changes
from tests.bench.effort import PROPERTIES, SECONDS, WARMUP_S
from tests.bench.loadgen import Created, Load, percentile, run_load
from tests.bench.peers.bare_kafka import READY, TABLE, Bare
from tests.bench.replica import NOTES_CHANGES, SEEN
from tests.bench.seed import AUDITED_FROM_HERE, PARTITIONS
from tests.bench.stage import Stage
from tests.bench.topic_fill import change_ends, filling

CONNECTIONS = 64
LOOK_S = 0.5
SEEN_WITHIN_S = 20.0
# Booking's own publisher would take minutes for what is needed once.
_PUBLISHED = "UPDATE inventory_versions SET published_version = inventory_version, published_at = now()"
_STATES = """
SELECT version.property_id, version.agency_id, inventory_version, rules_version,
       lower(stay), upper(stay), lower(occupied), upper(occupied)
FROM inventory_versions AS version
JOIN inventory_ranges AS range ON range.property_id = version.property_id AND range.state = 'active'"""
_CONDITIONS = SellingConditions("Europe/Lisbon", 4, 0, 730, of_day(15))
_seeds = itertools.count(1)


@dataclass(frozen=True)
class Delays:
    """How long after the answer something was seen, in ms, by percentile; what was asked for, and what was reached."""

    p50: float
    p99: float
    asked: float
    reached: float
    note: str = ""


@dataclass(frozen=True)
class FloorDelays:
    """The floor's two figures: from the intended start (commit and Kafka), and from the commit on (Kafka alone)."""

    committed: Delays
    bare: Delays


@dataclass(frozen=True)
class Scene:
    """A whole booking on a ledger of its own, its properties published, and a replica that holds them."""

    stage: Stage
    database: str
    booking_port: int
    replica_port: int


@contextmanager
def published(stage: Stage) -> Iterator[tuple[str, int]]:
    """A ledger whose properties are all on the compacted topic; its name, and a port for booking."""
    stage.empty_topics()
    with stage.copy(stage.ledger(), *AUDITED_FROM_HERE, _PUBLISHED) as database:
        asyncio.run(_publish(stage.admin(database), stage.kafka_bootstrap))
        yield database, free_port()


@contextmanager
def whole(stage: Stage, database: str, port: int) -> Iterator[Scene]:
    """Booking in one process, and a replica."""
    with stage.booking(database, port=port), _replica(stage, port) as replica_port:
        yield Scene(stage, database, port, replica_port)


@contextmanager
def apart(stage: Stage, database: str, port: int) -> Iterator[Scene]:
    """Booking with its relay in a process of its own, which polls, and a replica."""
    with stage.booking(database, "api", port), stage.relay(database), _replica(stage, port) as replica_port:
        yield Scene(stage, database, port, replica_port)


@contextmanager
def alone(stage: Stage, database: str, port: int) -> Iterator[Scene]:
    """Booking without a relay, only to answer a replica, beside what writes and relays by itself."""
    with stage.booking(database, "api", port), _replica(stage, port) as replica_port:
        yield Scene(stage, database, port, replica_port)


@contextmanager
def _replica(stage: Stage, booking_port: int) -> Iterator[int]:
    with stage.replica(booking_port, {NOTES_CHANGES: "1"}) as replica:
        yield replica.port


def run_bookings(scene: Scene, rate: float) -> Delays:
    """Bookings over HTTP at a rate (0: as many as 64 clients get); from each 201 until a replica shows its version."""
    stage = scene.stage
    _seen(scene)
    load = Load(
        targets=[(HOST, scene.booking_port)],
        path="/bookings",
        connections=CONNECTIONS,
        warmup_s=WARMUP_S,
        seconds=SECONDS,
        properties=PROPERTIES,
        jwt_secret=stage.jwt_secret,
        seed=next(_seeds),
        rate=rate,
        keeps_created=True,
    )
    before = _cpu(scene)
    result = run_load(load)
    after = _cpu(scene)
    assert set(result.whole) <= {"201", "409"}, result.samples
    assert result.lost == 0
    shares = (f"{name} {(after[name] - before[name]) / (WARMUP_S + SECONDS):.0%}" for name in after)
    note = f"of a core: {', '.join(shares)}, load generator {result.cpu_share:.0%}; late by p99 {result.late_ms:.1f} ms"
    return _delays(scene, result.created, rate, result.per_second(201), note)


def run_changes(scene: Scene, rate: float) -> Delays:
    """Changes written beside the relay at a rate; from each commit until a replica shows its version."""
    stage = scene.stage
    _seen(scene)
    changes = Changes(
        admin_dsn=stage.admin(scene.database),
        system_dsn=stage.urls(scene.database).system,
        bootstrap=stage.kafka_bootstrap,
        partitions=PARTITIONS,
        properties=PROPERTIES,
        rate=rate,
        warmup_s=WARMUP_S,
        seconds=SECONDS,
        seed=next(_seeds),
    )
    done = json.loads(_run("tests.bench.change_writer", input_=json.dumps(asdict(changes))))
    return _delays(scene, done["created"], rate, done["per_second"])


def run_floor(stage: Stage, database: str, rate: float) -> FloorDelays:
    """Bare records at a rate: from a commit's intended start, and from its end, until a bare consumer has it."""
    serial = next(_seeds)
    topic = replace(BOOKING_RESERVATIONS, name=f"bench.bare.{serial}")
    asyncio.run(create_topics(KafkaSettings(kafka_bootstrap_servers=stage.kafka_bootstrap), [topic]))
    stage.sql(database, TABLE)
    bare = Bare(
        dsn=stage.admin(database),
        bootstrap=stage.kafka_bootstrap,
        topic=topic.name,
        partitions=PARTITIONS,
        rate=rate,
        warmup_s=WARMUP_S,
        seconds=SECONDS,
        seed=serial,
    )
    given = json.dumps(asdict(bare)) + "\n"
    with subprocess.Popen(
        _python("tests.bench.peers.bare_kafka", "consume"),
        cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as consumer:  # fmt: skip
        assert consumer.stdin is not None
        assert consumer.stdout is not None
        consumer.stdin.write(given)
        consumer.stdin.flush()
        assert consumer.stdout.readline().strip() == READY
        sent = json.loads(_run("tests.bench.peers.bare_kafka", "produce", input_=given))
        arrived = json.loads(consumer.communicate()[0])
    assert set(sent) <= set(arrived)
    reached = len(sent) / SECONDS
    whole_ms = [arrived[key] - due for key, (due, _) in sent.items()]
    bare_ms = [arrived[key] - committed for key, (_, committed) in sent.items()]
    return FloorDelays(_percentiles(whole_ms, rate, reached), _percentiles(bare_ms, rate, reached))


async def _publish(dsn: str, bootstrap: str) -> None:
    """The state of every property of a seeded ledger, each of which has one range and the sample's profile."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_STATES)
    finally:
        await connection.close()
    async with filling(bootstrap) as filler:
        await filler.snapshots((row["property_id"], _state(*list(row.values())[1:])) for row in rows)
        await filler.end(await change_ends(bootstrap))


def _state(agency_id: UUID, version: int, rules_version: int, *nights: date) -> CalendarState:
    record = record_of("reservation", *(night.toordinal() for night in nights))
    assert record is not None
    profile = Profile(0, _CONDITIONS, "EUR")
    return CalendarState(agency_id, version, rules_version, profile, ranges=PackedRanges(record))


def _delays(scene: Scene, created: Sequence[Created], asked: float, reached: float, note: str = "") -> Delays:
    """Matches what was created with the replica's notes; everything created must have been seen."""
    seen: dict[tuple[UUID, int], float] = {}

    def all_seen() -> bool:
        seen.update(_seen(scene))
        return all((UUID(property_id), version) in seen for property_id, version, _ in created)

    _wait_for(all_seen, SEEN_WITHIN_S, "everything created is seen")
    delays = [seen[UUID(property_id), version] - answered for property_id, version, answered in created]
    return replace(_percentiles(delays, asked, reached), note=note)


def _percentiles(delays_s: Sequence[float], asked: float, reached: float) -> Delays:
    ordered = sorted(delays_s)
    return Delays(percentile(ordered, 0.5) * 1000, percentile(ordered, 0.99) * 1000, asked, reached)


def _seen(scene: Scene) -> Mapping[tuple[UUID, int], float]:
    """The replica's notes since they were last asked for."""
    with urllib.request.urlopen(f"http://{HOST}:{scene.replica_port}{SEEN}") as answer:
        return {(UUID(property_id), version): at for property_id, version, at in json.load(answer)}


def _cpu(scene: Scene) -> dict[str, float]:
    names = [
        name for name in scene.stage.supervisor.names() if name.startswith((BOOKING, AVAILABILITY, "kafka", "postgres"))
    ]
    return {name: scene.stage.cpu_s(name) for name in names}


def _run(module: str, *arguments: str, input_: str) -> str:
    done = subprocess.run(
        _python(module, *arguments), cwd=REPOSITORY, input=input_, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _wait_for(holds: Any, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(LOOK_S)
