"""What each guard of a booking costs: P1's load on bench copies with one of them taken away, and with none left."""

from __future__ import annotations

import pytest

from tests.bench.booking_runs import Ran, Variant, cost_of, run_product
from tests.bench.effort import ROUNDS
from tests.bench.report import Report
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

# The look-up of what is taken needs an index all the same: a plain one on the property takes the constraint's place.
NO_CONSTRAINT = (
    "ALTER TABLE inventory_ranges DROP CONSTRAINT inventory_ranges_no_overlap",
    "CREATE INDEX bench_ranges_of_property ON inventory_ranges (property_id) WHERE state = 'active'",
    "ANALYZE inventory_ranges",
)
NO_OUTBOX = ("CREATE RULE bench_no_outbox AS ON INSERT TO outbox DO INSTEAD NOTHING",)
NO_ROW_SECURITY = (
    """DO $$ DECLARE protected regclass; BEGIN
       FOR protected IN SELECT oid FROM pg_class WHERE relrowsecurity LOOP
           EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', protected);
       END LOOP; END $$""",
)
NO_TRACING = {"OTEL_SDK_DISABLED": "true"}
WITHOUT = {
    "exclusion constraint": Variant(changes=NO_CONSTRAINT, guarded=False),
    "idempotency keys": Variant(with_key=False),
    "outbox": Variant(changes=NO_OUTBOX, outbox=False),
    "tracing": Variant(env=NO_TRACING),
    "row security": Variant(changes=NO_ROW_SECURITY),
    "all five": Variant(
        changes=(*NO_CONSTRAINT, *NO_OUTBOX, *NO_ROW_SECURITY),
        env=NO_TRACING,
        with_key=False,
        guarded=False,
        outbox=False,
    ),
}


def test_what_each_guard_costs(stage: Stage, report: Report) -> None:
    section = report.section("guards", "What each guard costs: P1 with it taken away in a bench copy, 1 process")
    everything: list[Ran] = []
    without: dict[str, list[Ran]] = {name: [] for name in WITHOUT}
    for _ in range(ROUNDS):
        everything.append(run_product(stage, 1))
        for name, variant in WITHOUT.items():
            without[name].append(run_product(stage, 1, variant=variant))
    base = section.add("everything on", [run.booked for run in everything], "bookings/s", cost_of(everything))
    for name, runs in without.items():
        series = section.add(f"without {name}", [run.booked for run in runs], "bookings/s", cost_of(runs))
        ratio = series.median / base.median
        overlap = ", the ranges overlap" if series.overlaps(base) else ""
        section.say(f"{name}: {ratio:.2f} times as fast without{overlap}")
    together = section.series[-1].median / base.median
    section.say(f"aim for all five together < 2: {'met' if together < 2 else 'missed'}")
    section.say(
        "tracing: trace ids are made and stored, nothing is exported and so nothing recorded; without it the SDK is off"
    )
