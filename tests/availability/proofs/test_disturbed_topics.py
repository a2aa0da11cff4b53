"""Proves that whatever happens to booking's records on their way, caches end up with what the ledger holds.

Booking writes to one Kafka; a copy that duplicates, shuffles, drops and poisons is what the cache reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, until
from tests.availability.booking_topics import dead_letters
from tests.availability.proofs.agreement import PATIENCE_S, require_agreement, require_equal
from tests.availability.proofs.disturbed_copy import (
    POISONED_EVERY,
    TIMES,
    WINDOW,
    Disturbance,
    DisturbedCopy,
    as_they_are,
    disturbed_copy,
    dropped,
    duplicated,
    everything,
    poisoned,
    shuffled,
)
from tests.availability.proofs.stage import PARTITIONS, SCALE, OneReplica, Stage, environment_of, second_kafka
from tests.availability.proofs.traffic import Traffic
from tests.availability.proofs.watch import watching

DISTURBANCES = (duplicated, shuffled, dropped, poisoned, everything)
EVENTS = 2 * PARTITIONS * WINDOW * SCALE
PROPERTIES = 12
pytestmark = [pytest.mark.stack, pytest.mark.timeout(180 + 60 * SCALE)]


@dataclass(frozen=True)
class Behind:
    """A replica that reads the copy, and repairs itself from the real booking."""

    kafka: str
    copy: DisturbedCopy
    replica: OneReplica
    environment: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def behind(stage: Stage) -> AsyncIterator[Behind]:
    async with second_kafka(stage) as kafka, disturbed_copy(stage.suite.kafka_bootstrap, kafka) as copy:
        environment = environment_of(stage, kafka)
        await copy.settle()
        async with stage.replica("behind", **environment) as replica:
            yield Behind(kafka, copy, replica, environment)


async def test_whatever_happens_to_the_records_caches_end_up_with_what_the_ledger_holds(
    stage: Stage, agency: Agency, behind: Behind, report_counts: Callable[[str], None]
) -> None:
    traffic = Traffic(agency, seed=3)
    for preparation_days in (0, 1):
        await traffic.add_places(PROPERTIES // 2, preparation_days)
    await _settle(stage, behind)
    told = []
    for disturb in DISTURBANCES:
        behind.copy.counts.clear()
        right = await _disturbed(stage, agency, behind, traffic, disturb)
        counts = behind.copy.counts
        _require_disturbed(disturb, counts)
        told.append(f"{disturb.__name__}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}, {right}")
    behind.copy.disturb = as_they_are
    await require_agreement(stage, agency, traffic.places, [behind.replica], **behind.environment)
    report_counts("; ".join(told))


def _require_disturbed(disturb: Disturbance, counts: Counter[str]) -> None:
    """What did not happen proves nothing."""
    assert counts["read"] == EVENTS
    assert (counts["written"] == TIMES * EVENTS) is (disturb is duplicated)
    for what, disturbances, least in (
        ("missing", (dropped, everything), EVENTS // WINDOW // 2),
        ("moved", (shuffled, duplicated, everything), EVENTS // 2),
        ("poison", (poisoned, everything), EVENTS // POISONED_EVERY),
    ):
        assert counts[what] >= least if disturb in disturbances else counts[what] == 0, what


async def _disturbed(stage: Stage, agency: Agency, behind: Behind, traffic: Traffic, disturb: Disturbance) -> str:
    """Traffic whose events are disturbed while the cache is asked; returns when the cache equals the ledger."""
    behind.copy.disturb = disturb
    urls = [behind.replica.url]
    async with watching(urls, agency, traffic.places, jwt_secret=stage.suite.secrets.jwt_secret) as watch:
        await traffic.write(EVENTS)
        await _settle(stage, behind)
        await require_equal(stage, [behind.replica])
    await _require_letters(behind)
    found = watch.require_truth()
    return f"{found['cache']:,} answers from memory and {found['ledger']:,} from the ledger right"


async def _settle(stage: Stage, behind: Behind) -> None:
    """Return once booking's relay has sent every event and the copy has written them."""

    async def look() -> None:
        if unsent := await stage.ledger.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"):
            raise NotYet(f"{unsent} are not sent")

    await until(look, "an empty outbox", PATIENCE_S)
    await behind.copy.settle()


async def _require_letters(behind: Behind) -> None:
    """One dead letter, with its origin, for each record that nobody can read, and for no other."""
    origins = {f"{BOOKING_RESERVATIONS.name}/{partition}/{offset}" for partition, offset in behind.copy.poison}

    async def look() -> None:
        letters = await dead_letters(behind.kafka, BOOKING_RESERVATIONS)
        if missing := origins - letters.keys():
            raise NotYet(f"{len(missing)} of {len(origins)} are missing")
        assert letters.keys() == origins
        for origin, (letter, *_) in letters.items():
            said = (letter["dlq-origin-topic"], letter["dlq-origin-partition"], letter["dlq-origin-offset"])
            assert b"/".join(said).decode() == origin

    await until(look, f"{len(origins)} dead letters", PATIENCE_S)
