"""P2: 500 clients and one property, against a monolith that locks the row and one that checks, then inserts."""

from __future__ import annotations

import pytest

from tests.bench.booking_runs import Plan, Ran, cost_of, run_peer, run_product
from tests.bench.effort import ROUNDS
from tests.bench.report import Report
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

CLIENTS = 500
PROCESSES = (1, 2)
LOCKING = Plan(CLIENTS, "/bookings/for-update", properties=1)
UNGUARDED = Plan(CLIENTS, "/bookings/check-then-insert", properties=1)
GUARDED = Plan(CLIENTS, "/bookings", properties=1)


def test_one_property_and_500_clients(stage: Stage, report: Report) -> None:
    section = report.section("p2", f"P2: {CLIENTS} clients, one property, 365 nights")
    best = {
        plan: max(PROCESSES, key=lambda count: run_peer(stage, count, plan).decided) for plan in (LOCKING, UNGUARDED)
    }
    processes = max(PROCESSES, key=lambda count: run_product(stage, count, GUARDED).decided)
    locking, unguarded, products = [], [], []
    for _ in range(ROUNDS):
        locking.append(run_peer(stage, best[LOCKING], LOCKING))
        unguarded.append(run_peer(stage, best[UNGUARDED], UNGUARDED))
        products.append(run_product(stage, processes, GUARDED))
    unit = "decisions/s"
    lock = section.add(
        "peer: SELECT .. FOR UPDATE", _decided(locking), unit, f"{best[LOCKING]} worker(s), {_counts(locking)}"
    )
    check = section.add(
        "peer: check, then insert", _decided(unguarded), unit, f"{best[UNGUARDED]} worker(s), {_counts(unguarded)}"
    )
    product = section.add("product", _decided(products), unit, f"{processes} process(es), {_counts(products)}")
    section.aim("product / SELECT .. FOR UPDATE", product, lock, 10)
    section.aim("product / check, then insert", product, check, 10)
    for name, runs in (("product", products), ("FOR UPDATE", locking), ("check, then insert", unguarded)):
        section.say(f"{name}: {sum(run.oversold for run in runs)} oversold, {_failed(runs)} x 5xx, {_lost(runs)} lost")


def _decided(runs: list[Ran]) -> list[float]:
    return [run.decided for run in runs]


def _failed(runs: list[Ran]) -> int:
    return sum(run.result.server_errors() for run in runs)


def _lost(runs: list[Ran]) -> int:
    return sum(run.result.lost for run in runs)


def _counts(runs: list[Ran]) -> str:
    won = sum(run.result.whole.get("201", 0) for run in runs) / len(runs)
    slowest = max(run.result.latency_ms["p99"] for run in runs)
    return f"{won:.0f} won per round, p99 {slowest:.0f} ms, {cost_of(runs)}"
