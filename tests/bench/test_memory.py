"""Memory of a replica's properties: occupancy bits and everything, by how many rules and rates they have."""

from __future__ import annotations

import pytest

from tests.bench.effort import FILLED, QUICK
from tests.bench.memory import measure
from tests.bench.population import STAYS
from tests.bench.report import Report

pytestmark = pytest.mark.timeout(0)

CASES = ((0, 0), (1, 0), (10, 0), (100, 0), (10, 12), (10, 100))
"""Dated rules and dated rates of each property; with any rate it has nightly rates, and fees."""
BITS_BYTES = 100.0
ALL_BYTES = 1200.0


def test_memory_per_property(report: Report) -> None:
    section = report.section("memory", f"Resident memory per property, {STAYS} ranges each")
    for size in FILLED:
        for rules, rates in CASES[:1] if QUICK else CASES:
            filled = measure(size, rules, rates)
            name = f"{size:,} properties, {rules} dated rules, " + (f"{rates} dated rates" if rates else "no rates")
            parts = ", ".join(f"{part} {count:.0f}" for part, count in filled.parts.items())
            row = section.add(name, [filled.resident], "B/property", f"{parts}; {filled.per_second:,.0f} put a second")
            if rates == 0:
                section.limit(name, row, ALL_BYTES)
            if (rules, rates) == CASES[0]:
                bits = section.add(f"{size:,} properties, occupancy bits", [filled.parts["bits"]], "B/property")
                section.limit(f"{size:,} properties, occupancy bits", bits, BITS_BYTES)
