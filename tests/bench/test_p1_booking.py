"""P1: bookings per second over HTTP against the database alone (floor) and a textbook monolith (peer)."""

from __future__ import annotations

import pytest

from tests.bench.booking_runs import UNGROUPED, Plan, Ran, Variant, cost_of, run_floor, run_peer, run_product
from tests.bench.effort import PROPERTIES, ROUNDS
from tests.bench.report import Report, Section
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

FLOOR_CLIENTS = (8, 16)
PROCESSES = (1, 2)
LOADED = 0.7
UNIT = "bookings/s"


def test_bookings_per_second_against_floor_and_peer(stage: Stage, report: Report) -> None:
    section = report.section("p1", f"P1: {PROPERTIES:,} properties, 1 to 7 nights, 64 clients, durable")
    clients = max(FLOOR_CLIENTS, key=lambda count: run_floor(stage, count).booked)
    workers = max(PROCESSES, key=lambda count: run_peer(stage, count).booked)
    processes = max(PROCESSES, key=lambda count: run_product(stage, count).booked)
    floors, peers, products, singles, loaded = [], [], [], [], []
    for _ in range(ROUNDS):
        floors.append(run_floor(stage, clients))
        peers.append(run_peer(stage, workers))
        products.append(run_product(stage, processes))
        singles.append(run_product(stage, processes, variant=UNGROUPED))
        loaded.append(run_product(stage, processes, Plan(rate=LOADED * products[-1].booked)))
    floor = section.add(
        "floor: pgbench, one SQL function",
        [run.booked for run in floors],
        UNIT,
        f"{clients} clients, best of {FLOOR_CLIENTS}",
    )
    peer = section.add("peer: FastAPI + SQLAlchemy", _booked(peers), UNIT, f"{workers} worker(s), {_notes(peers)}")
    product = section.add("product", _booked(products), UNIT, f"{processes} process(es), {_notes(products)}")
    single = section.add(
        "product, without grouping", _booked(singles), UNIT, f"{processes} process(es), {_notes(singles)}"
    )
    section.add("product, p99, 64 clients without pause", _p99(products), "ms")
    at_load = section.add(
        f"product, p99 at {LOADED:.0%} load", _p99(loaded), "ms", f"open loop, {_notes(loaded)}, {_late(loaded)}"
    )
    section.aim("product / floor", product, floor, 0.5)
    section.aim("product / peer", product, peer, 5)
    section.aim("product / floor, without grouping", single, floor, 0.35)
    section.aim("product / peer, without grouping", single, peer, 3)
    section.limit(f"p99 at {LOADED:.0%} load", at_load, 25)
    section.say("relay not running in these rows; 0 bookings lost, 0 nights sold twice, checked in the database")
    section.say(f"rows written per booking, product: {products[-1].written}")
    section.say(f"rows written per booking, floor: {floors[-1].written}")


def test_bookings_per_second_with_the_relay_beside(stage: Stage, report: Report) -> None:
    section = report.section("p1-relay", "P1 with the relay process on the same two cores")
    without, beside = [], []
    for _ in range(ROUNDS):
        without.append(run_product(stage, 1))
        beside.append(run_product(stage, 1, variant=Variant(relay=True)))
    section.add("relay not running", _booked(without), UNIT, "1 process")
    section.add("relay running", _booked(beside), UNIT, "1 process")
    section.say("informative: Kafka, relay, PostgreSQL, api process and load generator share the cores")


def test_throughput_at_ten_times_the_ranges(stage: Stage, report: Report) -> None:
    section = report.section("p1-size", f"P1 at {PROPERTIES * 10:,} ranges against {PROPERTIES:,}")
    small, large = [], []
    for _ in range(ROUNDS):
        small.append(run_product(stage, 1))
        large.append(run_product(stage, 1, source=stage.large_ledger()))
    few = section.add(f"{PROPERTIES:,} ranges", _booked(small), UNIT, "1 process")
    many = section.add(f"{PROPERTIES * 10:,} ranges", _booked(large), UNIT, "1 process")
    _aim_at_size(section, many.median / few.median)


def _aim_at_size(section: Section, ratio: float) -> None:
    # Overlapping ranges are the wish here: equal speed.
    section.say(f"many / few: {ratio:.2f}, aim >= 0.8: {'met' if ratio >= 0.8 else 'missed'}")


def _booked(runs: list[Ran]) -> list[float]:
    return [run.booked for run in runs]


def _p99(runs: list[Ran]) -> list[float]:
    return [run.result.latency_ms["p99"] for run in runs]


def _notes(runs: list[Ran]) -> str:
    refused = sum(run.result.whole.get("409", 0) for run in runs) / sum(sum(run.result.whole.values()) for run in runs)
    return f"{refused:.1%} refused, {cost_of(runs)}"


def _late(runs: list[Ran]) -> str:
    return f"generator late by p99 {max(run.result.late_ms for run in runs):.1f} ms"
