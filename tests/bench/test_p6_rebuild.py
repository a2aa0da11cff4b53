"""P6: how soon a replica knows everything, from the topics and from its snapshot file, against bare decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.effort import REBUILT, ROUNDS, TAIL
from tests.bench.events_made import CHANGES
from tests.bench.population import STAYS, Population
from tests.bench.rebuild_runs import Started, change_some, decode_bare, fill, resident_when_empty, run_stalls, started
from tests.bench.replica import Watched
from tests.bench.report import Report, Section, Series
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

RULES, RATES = 10, 12
STALL_MS = 5.0
FILE_S = 3.0


def test_a_replica_knows_everything_again(stage: Stage, report: Report, tmp_path: Path) -> None:
    section = report.section("p6", f"P6: {STAYS} ranges, {RULES} rules, {RATES} rates and {CHANGES} changes a property")
    empty = resident_when_empty(stage)
    for size in REBUILT:
        population = Population(size, rules=RULES, rates=RATES)
        fill(stage, population)
        _from_the_topics(section, stage, size, empty)
        _from_the_file(section, stage, population, tmp_path / f"{size}.snapshot")


def _from_the_topics(section: Section, stage: Stage, size: int, empty: int) -> None:
    floors, starts = [], []
    for _ in range(ROUNDS):
        floors.append(decode_bare(stage))
        with started(stage) as replica:
            starts.append(replica)
    unit, name = "properties/s", f"{size:,} properties"
    floor = section.add(f"floor: consume and decode, {name}", [size / run.seconds for run in floors], unit)
    note = f"ready after {_median(starts):.1f} s, {_ready(starts)}"
    product = section.add(f"product: from the topics, {name}", [size / run.seconds for run in starts], unit, note)
    memory = [(run.resident - empty) / size for run in starts]
    section.add(f"product: resident memory, {name}", memory, "B/property", "less that of a replica of nothing")
    section.aim(f"product / floor, {name}", product, floor, 0.8)


def _from_the_file(section: Section, stage: Stage, population: Population, snapshot: Path) -> None:
    size, starts = population.size, []
    with started(stage, snapshot):
        pass  # the file is written at its end
    written = 0
    for number in range(ROUNDS):
        written = change_some(stage, population, 1 + number, min(TAIL // CHANGES, size))
        with started(stage, snapshot) as replica:
            starts.append(replica)
    name = f"product: from the snapshot file, {size:,} properties"
    note = f"{written:,} changes behind it, file of {snapshot.stat().st_size / 2**20:.0f} MB, {_ready(starts)}"
    file = section.add(name, [run.seconds for run in starts], "s", note)
    section.limit(f"from the snapshot file, {size:,} properties", file, FILE_S)


def _ready(starts: Sequence[Started]) -> str:
    return f"{max(run.process_seconds - run.seconds for run in starts):.1f} s of starting the process come before"


def _median(starts: Sequence[Started]) -> float:
    return sorted(run.seconds for run in starts)[len(starts) // 2]


def test_records_that_are_applied_keep_no_reader_waiting(stage: Stage, report: Report) -> None:
    size = min(REBUILT)
    section = report.section("stall", f"Longest wait of a reader while records are applied, {size:,} properties")
    runs = [run_stalls(stage, Population(size, rules=RULES, rates=RATES)) for _ in range(ROUNDS)]
    _add_waits(section, "nothing to apply", [run.idle for run in runs])
    _add_waits(section, "replaying, not ready yet", [run.replaying for run in runs])
    busiest = _add_waits(section, "following changes and states", [run.following for run in runs])
    section.limit("following, longest turn of the loop in processor time", busiest, STALL_MS)


def _add_waits(section: Section, name: str, found: Sequence[Watched]) -> Series:
    turns, stalls = sum(run.turns for run in found), sum(run.stalls for run in found)
    note = f"{stalls} of {turns:,} waits were over {STALL_MS:g} ms"
    section.add(f"{name}, longest wait", [run.longest_ms for run in found], "ms", note)
    return section.add(f"{name}, longest turn in processor time", [run.busiest_ms for run in found], "ms")
