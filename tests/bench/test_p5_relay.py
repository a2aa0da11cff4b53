"""P5: how fast a backlog of the outbox reaches Kafka, in order, against a loop that keeps neither order nor traces."""

from __future__ import annotations

import pytest

from tests.bench.effort import BACKLOG, KEYS, ROUNDS
from tests.bench.relay_runs import drain_by_peer, drain_by_product
from tests.bench.report import Report
from tests.bench.stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]


def test_a_backlog_is_drained_in_order(stage: Stage, report: Report) -> None:
    section = report.section("p5", f"P5: backlog of {BACKLOG:,} rows of 250 B, {KEYS:,} keys")
    peers, products = [], []
    for _ in range(ROUNDS):
        peers.append(drain_by_peer(stage))
        products.append(drain_by_product(stage))
    assert sum(run.violations + run.missing for run in products) == 0
    peer = section.add("peer: claim, produce, mark", [run.per_second for run in peers], "rows/s", "no order, no traces")
    product = section.add("product: relay process", [run.per_second for run in products], "rows/s")
    section.aim("product / peer", product, peer, 0.8)
    for name, runs in (("product", products), ("peer", peers)):
        violations, missing = sum(run.violations for run in runs), sum(run.missing for run in runs)
        duplicates = sum(run.duplicates for run in runs)
        section.say(f"{name}: {violations} order violations, {missing} rows missing, {duplicates} sent twice")
