"""Owns one measured run of P1 and P2 each way: floor, peer, product; and what is checked after it; for the tests."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from deploy.local.places import REPOSITORY
from deploy.local.postgres import POSTGRES
from tests.bench.effort import PROPERTIES, SECONDS, WARMUP_S
from tests.bench.loadgen import Load, Result, run_load
from tests.bench.stage import Stage
from tests.bench.traffic import FIRST_NIGHT_IN_DAYS, MAX_STAY, NIGHTS

CLIENTS = 64
CREATED, TAKEN = 201, 409
# Overlaps by window function: a self-join over a million ranges takes 14 s, this 0.7 s.
_OVERLAPPING = """
SELECT count(*) FROM (
    SELECT lower({range}) < max(upper({range})) OVER (
        PARTITION BY property_id ORDER BY lower({range}) ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS met
    FROM {table} WHERE {active}) AS pairs
WHERE met"""
OVERSOLD = _OVERLAPPING.format(table="inventory_ranges", range="occupied", active="state = 'active'")
_WRITTEN = """
SELECT string_agg(relname || ' ' || rows, ', ' ORDER BY relname) FROM (
    SELECT relname, round((n_tup_ins + n_tup_upd)::numeric / $1, 2) AS rows FROM pg_stat_user_tables) AS counted
WHERE rows >= 0.01"""
_REQUESTED = {"properties": PROPERTIES, "max_stay": MAX_STAY, "nights": NIGHTS, "first": FIRST_NIGHT_IN_DAYS}
_seeds = itertools.count(1)


@dataclass(frozen=True)
class Plan:
    """How to load: clients, path, properties to choose from, seconds, rate (0: closed loop)."""

    connections: int = CLIENTS
    path: str = "/bookings"
    properties: int = PROPERTIES
    seconds: float = SECONDS
    rate: float = 0.0


@dataclass(frozen=True)
class Variant:
    """What is taken away from, or put beside, the product in a bench copy: statements, environment, keys, a relay.

    `guarded` and `outbox` say what is still checked after the run.
    """

    changes: Sequence[str] = ()
    env: Mapping[str, str] | None = None
    with_key: bool = True
    relay: bool = False
    guarded: bool = True
    outbox: bool = True


UNGROUPED = Variant(env={"BOOKING_GROUP_SIZE": "1"})
"""The product with a database call of its own for every request."""


@dataclass(frozen=True)
class Ran:
    """A run's result and what the database says after it: stored bookings, overlapping ones, rows written per booking.

    `cpu_ms` is what one answer cost: (server processes, PostgreSQL), a figure that a busy machine moves little.
    """

    result: Result
    stored: int
    oversold: int
    cpu_ms: tuple[float, float]
    written: str = ""

    @property
    def booked(self) -> float:
        """Bookings per second."""
        return self.result.per_second(CREATED)

    @property
    def decided(self) -> float:
        """Bookings and refusals per second."""
        return self.result.per_second(CREATED, TAKEN)


@dataclass(frozen=True)
class Floor:
    """A run of the floor: bookings per second, and the rows written for one by table."""

    booked: float
    written: str


def run_floor(stage: Stage, clients: int) -> Floor:
    """The floor with that many clients; checks that no night is sold twice."""
    function = (REPOSITORY / "tests/bench/sql/floor.sql").read_text()
    with stage.copy(stage.ledger(), function) as database:
        seeded = _bookings(stage, database)
        stage.pgbench(database, "floor.pgbench", clients, WARMUP_S, _REQUESTED)
        warm = _bookings(stage, database)
        done = stage.pgbench(database, "floor.pgbench", clients, SECONDS, _REQUESTED)
        booked = _bookings(stage, database) - warm
        assert stage.sql(database, OVERSOLD) == 0
        written = _written(stage, database, warm + booked - seeded)
    # pgbench's rate counts every call, of which some were refused.
    return Floor(done.per_second * booked / done.transactions, written)


def run_product(
    stage: Stage, processes: int, plan: Plan | None = None, variant: Variant | None = None, source: str | None = None
) -> Ran:
    """The product with that many api processes; checks that nothing acknowledged is missing and no night sold twice."""
    plan, variant = plan or Plan(), variant or Variant()
    with stage.copy(source or stage.ledger(), *variant.changes) as database:
        before, events_before = _bookings(stage, database), _events(stage, database)
        with ExitStack() as running:
            if variant.relay:
                running.enter_context(stage.relay(database))
            targets = running.enter_context(stage.product(database, processes, variant.env))
            servers = [f"booking-api-{number}" for number in range(processes)]
            result, cpu = _timed(stage, servers, _load(stage, targets, plan, with_key=variant.with_key))
        # Counted once the processes have ended: a connection reports its row counts late, or when it closes.
        stored = _bookings(stage, database) - before
        ran = Ran(result, stored, stage.sql(database, OVERSOLD), cpu, _written(stage, database, stored))
        events = _events(stage, database) - events_before
    _check_result(ran)
    if variant.guarded:
        assert ran.oversold == 0
    if variant.outbox:
        assert events == stored
    return ran


def run_peer(stage: Stage, workers: int, plan: Plan | None = None) -> Ran:
    """The peer with that many workers. What it oversells is counted, not judged."""
    plan = plan or Plan()
    table = "bookings" if plan.path == "/bookings" else "bookings_unguarded"
    with stage.copy(stage.peer_ledger()) as database:
        count = f"SELECT count(*) FROM {table}"
        before = stage.sql(database, count)
        with stage.peer(database, workers) as targets:
            result, cpu = _timed(stage, ["peer"], _load(stage, targets, plan, with_key=True))
        stored = stage.sql(database, count) - before
        overlapping = _OVERLAPPING.format(
            table=table, range="daterange(check_in, check_out)", active="status = 'confirmed'"
        )
        ran = Ran(result, stored, stage.sql(database, overlapping), cpu)
    if plan.path == "/bookings":
        _check_result(ran)
        assert ran.oversold == 0
    return ran


def _timed(stage: Stage, servers: Sequence[str], load: Load) -> tuple[Result, tuple[float, float]]:
    def used() -> tuple[float, float]:
        return sum(stage.cpu_s(name) for name in servers), stage.cpu_s(POSTGRES)

    before = used()
    result = run_load(load)
    after, answers = used(), sum(result.whole.values())
    return result, ((after[0] - before[0]) / answers * 1000, (after[1] - before[1]) / answers * 1000)


def _check_result(ran: Ran) -> None:
    result = ran.result
    assert set(result.whole) <= {str(CREATED), str(TAKEN)}, result.samples
    assert result.lost == 0
    assert ran.stored == result.whole.get(str(CREATED), 0)


def _load(stage: Stage, targets: list[tuple[str, int]], plan: Plan, *, with_key: bool) -> Load:
    return Load(
        targets=targets,
        path=plan.path,
        connections=plan.connections,
        warmup_s=WARMUP_S,
        seconds=plan.seconds,
        properties=plan.properties,
        jwt_secret=stage.jwt_secret,
        seed=next(_seeds),
        with_key=with_key,
        rate=plan.rate,
    )


def cost_of(runs: Sequence[Ran]) -> str:
    """The processor time of one answer, median of the runs, for a note."""
    server, database = (statistics.median(run.cpu_ms[place] for run in runs) for place in (0, 1))
    generator = max(run.result.cpu_share for run in runs)
    costs = f"CPU per answer {server:.2f} ms server, {database:.2f} ms PostgreSQL"
    return f"{costs}; load generator {generator:.0%} of a core"


def _bookings(stage: Stage, database: str) -> int:
    return int(stage.sql(database, "SELECT count(*) FROM reservations"))


def _events(stage: Stage, database: str) -> int:
    return int(stage.sql(database, "SELECT count(*) FROM outbox"))


def _written(stage: Stage, database: str, bookings: int) -> str:
    stage.sql(database, "SELECT pg_stat_force_next_flush()")
    return str(stage.sql(database, _WRITTEN, bookings))
