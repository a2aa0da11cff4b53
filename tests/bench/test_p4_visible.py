"""P4: from the answer to a booking until a replica of availability shows it, against bare Kafka and a commit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.effort import PROPERTIES, ROUNDS
from tests.bench.report import Report, Section, Series
from tests.bench.stage import Stage
from tests.bench.visible_runs import (
    Delays,
    FloorDelays,
    alone,
    apart,
    published,
    run_bookings,
    run_changes,
    run_floor,
    whole,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

USUAL, HIGH = 300.0, 1000.0
BEARABLE = 0.9
"""The share of what one booking process reached without pause at which it is loaded, where HIGH is beyond it."""


def test_a_booking_is_soon_visible(stage: Stage, report: Report) -> None:
    section = report.section("p4", f"P4: acknowledgement to visible, {PROPERTIES:,} properties")
    floors: dict[float, list[FloorDelays]] = {USUAL: [], HIGH: []}
    usual, high, changes, relayed = [], [], [], []
    with published(stage) as (database, port):
        with whole(stage, database, port) as scene:
            reached = run_bookings(scene, 0).reached
        most = min(HIGH, BEARABLE * reached)
        for _ in range(ROUNDS):
            for rate, runs in floors.items():
                runs.append(run_floor(stage, database, rate))
            with whole(stage, database, port) as scene:
                usual.append(run_bookings(scene, USUAL))
                high.append(run_bookings(scene, most))
            with apart(stage, database, port) as scene:
                relayed.append(run_bookings(scene, USUAL))
            with alone(stage, database, port) as scene:
                changes.append(run_changes(scene, HIGH))
    for rate, found in floors.items():
        _add(section, f"floor: bare Kafka, {rate:,.0f}/s", [run.bare for run in found])
    floor_usual = _add(section, "floor: commit and bare Kafka, 300/s", [run.committed for run in floors[USUAL]])
    floor_high = _add(section, "floor: commit and bare Kafka, 1,000/s", [run.committed for run in floors[HIGH]])
    at_usual = _add(section, "product: bookings, 300/s", usual)
    if most < HIGH:
        section.say(f"one booking process with relay, workers and a replica beside it takes {reached:,.0f} bookings/s")
        _add(section, f"product: bookings, {most:,.0f}/s", high)
        at_high = _add(section, "product: changes written beside the relay, 1,000/s", changes)
    else:
        at_high = _add(section, "product: bookings, 1,000/s", high)
    _add(section, "product: bookings, 300/s, relay in a process of its own", relayed)
    _judge(section, "300/s", at_usual, floor_usual)
    _judge(section, "1,000/s", at_high, floor_high)
    section.say("everything that was acknowledged was seen by the replica")


def _add(section: Section, name: str, runs: Sequence[Delays]) -> tuple[Series, Series]:
    note = f"{sum(run.reached for run in runs) / len(runs):,.0f}/s reached"
    last = runs[-1].note
    p50 = section.add(f"{name}, p50", [run.p50 for run in runs], "ms", f"{note}; {last}" if last else note)
    return p50, section.add(f"{name}, p99", [run.p99 for run in runs], "ms")


def _judge(section: Section, name: str, product: tuple[Series, Series], floor: tuple[Series, Series]) -> None:
    section.limit(f"p50 at {name}", product[0], 8)
    section.limit(f"p99 at {name}", product[1], 40)
    # Twice the floor's time at most is half of it at least.
    section.aim(f"commit and bare Kafka / product, p50 at {name}", floor[0], product[0], 0.5)
    section.aim(f"commit and bare Kafka / product, p99 at {name}", floor[1], product[1], 0.5)
