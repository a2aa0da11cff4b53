"""Owns one measurement of memory in a process of its own: `python -m tests.bench.memory <size> <rules> <rates>`.

A `Filled` as JSON comes out. Resident memory is taken before and after a property store was filled with a population
that another process makes.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import psutil

from availability.domain.store.property_store import PropertyStore
from deploy.local.places import REPOSITORY
from tests.bench.population import CHUNK, Population, made_elsewhere

WARMING = 3 * CHUNK


@dataclass(frozen=True)
class Filled:
    """Resident memory per property in bytes, what the parts of the store say of theirs, and properties per second."""

    resident: float
    parts: dict[str, float]
    per_second: float


def measure(size: int, rules: int, rates: int) -> Filled:
    """Fill a store in a process of its own; raises `RuntimeError` with its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.memory", str(size), str(rules), str(rates)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the filling failed:\n{done.stderr[-3000:]}")
    return Filled(**json.loads(done.stdout))


def fill(size: int, rules: int, rates: int) -> Filled:
    """Fill a store here."""
    # What was read before leaves room behind that reading uses again.
    for _ in made_elsewhere(WARMING, rules, rates):
        pass
    store = PropertyStore(Population(0).first)
    before, took = _resident(), 0.0
    for property_id, state in made_elsewhere(size, rules, rates):
        began = time.perf_counter()
        store.put(property_id, 0, state)
        took += time.perf_counter() - began
    parts = {name: count / size for name, count in store.nbytes.items()}
    return Filled((_resident() - before) / size, parts, size / took)


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    json.dump(asdict(fill(*map(int, sys.argv[1:4]))), sys.stdout)
