"""One server-side call per request against a process's concurrent requests grouped into one (docs/decisions/0010)."""

from __future__ import annotations

import pytest

from tests.bench.booking_runs import UNGROUPED, Ran, Variant, cost_of, run_floor, run_product
from tests.bench.effort import ROUNDS
from tests.bench.report import Report
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

FLOOR_CLIENTS = 16
PROCESSES = (1, 2)


def test_one_call_per_request_against_grouped_requests(stage: Stage, report: Report) -> None:
    section = report.section("grouping", "P1: one server-side call per request against grouped requests")
    floors: list[float] = []
    runs: dict[tuple[str, int], list[Ran]] = {}
    for _ in range(ROUNDS):
        floors.append(run_floor(stage, FLOOR_CLIENTS).booked)
        for name, variant in (("one call per request", UNGROUPED), ("grouped", Variant())):
            for count in PROCESSES:
                runs.setdefault((name, count), []).append(run_product(stage, count, variant=variant))
    floor = section.add("floor", floors, "bookings/s", f"{FLOOR_CLIENTS} clients")
    for (name, count), found in runs.items():
        section.add(f"{name}, {count} process(es)", [run.booked for run in found], "bookings/s", cost_of(found))
        section.add(f"{name}, {count} process(es), p99", [run.result.latency_ms["p99"] for run in found], "ms")
    for name in ("one call per request", "grouped"):
        rows = [each for each in section.series if each.name.startswith(name) and each.unit == "bookings/s"]
        best = max(rows, key=lambda each: each.median)
        section.aim(f"{best.name} / floor", best, floor, 0.5 if name == "grouped" else 0.35)
