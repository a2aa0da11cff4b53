"""Proves that whatever happens to booking's records on their way, and whatever day they say it is, caches are right.

Booking writes to one Kafka; a copy that duplicates, shuffles, drops and poisons, or in which it is later, is what the
cache reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import pytest_asyncio

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, closed_nights, until
from tests.availability.booking_topics import dead_letters
from tests.availability.proofs.agreement import PATIENCE_S, require_agreement, require_answers, require_equal
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
    lost,
    poisoned,
    shuffled,
)
from tests.availability.proofs.stage import PARTITIONS, SCALE, OneReplica, Stage, second_kafka
from tests.availability.proofs.traffic import WINDOW as ASKED
from tests.availability.proofs.traffic import Place, Traffic
from tests.availability.proofs.watch import watching

DISTURBANCES = (duplicated, shuffled, dropped, poisoned, everything)
EVENTS = 3 * WINDOW * SCALE
PROPERTIES = 12
# The window is [today - 2, today + 798).
LAST = 797
DAY = timedelta(days=1)
# The copy's day: tomorrow, so that its clock is never set back.
DAY_0 = datetime.now(UTC).date() + DAY
MIDNIGHT = datetime.combine(DAY_0 + DAY, time(), UTC)
FRESH_MS = 1000
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
        environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "DIGEST_ROUND_S": "1"}
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
    # Whole states would repair nearly everything by themselves: the cache has to find out.
    behind.copy.holds_snapshots_back = True
    told = []
    for disturb in DISTURBANCES:
        behind.copy.counts.clear()
        right = await _disturbed(stage, agency, behind, traffic, disturb)
        counts = behind.copy.counts
        _require_disturbed(disturb, counts)
        told.append(f"{disturb.__name__}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}, {right}")
    behind.copy.disturb, behind.copy.holds_snapshots_back = as_they_are, False
    await require_agreement(stage, agency, traffic.places, [behind.replica], **behind.environment)
    report_counts("; ".join(told))


def _require_disturbed(disturb: Disturbance, counts: Counter[str]) -> None:
    """What did not happen proves nothing."""
    assert counts["read"] == EVENTS
    assert (counts["written"] == TIMES * EVENTS) is (disturb is duplicated)
    for what, disturbances, least in (
        ("missing", (dropped, everything), EVENTS // WINDOW - PARTITIONS),
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
        await until(lambda: _no_lag(stage, agency, behind, traffic.places), "the lag to come down", PATIENCE_S)
    await _require_letters(behind)
    found = watch.require_truth()
    return f"{found['cache']:,} answers from memory and {found['ledger']:,} from the ledger right"


async def test_a_property_that_hears_of_nothing_any_more_ends_up_with_what_the_ledger_holds(
    stage: Stage, agency: Agency, behind: Behind
) -> None:
    """No gap tells of the changes that are lost, no whole state brings them: only a comparison with booking does."""
    traffic = Traffic(agency, seed=8)
    await traffic.add_places(PROPERTIES // 4)
    await _settle(stage, behind)
    behind.copy.disturb, behind.copy.holds_snapshots_back = lost, True
    behind.copy.counts.clear()
    await traffic.write(PROPERTIES)
    await _settle(stage, behind)
    assert behind.copy.counts["missing"] == PROPERTIES
    await require_equal(stage, [behind.replica])
    await require_answers(stage, agency, traffic.places, [behind.replica])
    behind.copy.disturb, behind.copy.holds_snapshots_back = as_they_are, False


async def _settle(stage: Stage, behind: Behind) -> None:
    """Return once booking's relay has sent every event and the copy has written them."""

    async def look() -> None:
        if unsent := await stage.ledger.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"):
            raise NotYet(f"{unsent} are not sent")

    await until(look, "an empty outbox", PATIENCE_S)
    await behind.copy.settle()


async def _no_lag(stage: Stage, agency: Agency, behind: Behind, places: Sequence[Place]) -> None:
    """Raises `NotYet` unless memory answers, hardly behind, for properties of all partitions."""
    async with stage.agency(behind.replica.url, agency.id) as client:
        for place in places:
            answer = (await client.availability(place.property_id, ASKED)).expect(200)
            if answer["source"] != "cache" or answer["lag_ms"] > FRESH_MS:
                raise NotYet(f"{answer}")


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


class Guest:
    """Asks the replica behind the copy about one property; days are counted from the copy's day, UTC."""

    def __init__(self, client: Agency, place: Place) -> None:
        self._client = client
        self._place = place
        self.answers: list[dict[str, Any]] = []

    async def ask(self, first: int, end: int) -> tuple[str, list[int]]:
        """Where the answer came from, and which of the nights `[first, end)` are closed."""
        reply = await self._client.availability(self._place.property_id, (DAY_0 + DAY * first, DAY_0 + DAY * end))
        body = reply.expect(200)
        self.answers.append(body)
        return body["source"], sorted((night - DAY_0).days for night in closed_nights(body["ranges"]))

    async def is_at(self, instant: datetime) -> None:
        """Raises `NotYet` unless memory answers, hardly behind, and knows that it is that late."""
        source, _ = await self.ask(0, 1)
        if source != "cache" or self.answers[-1]["lag_ms"] > FRESH_MS or _as_of(self.answers[-1]) < instant:
            raise NotYet(f"{source}, lag {self.answers[-1]['lag_ms']}")


async def test_the_window_rolls_at_midnight_without_a_pause_and_outside_it_the_ledger_is_asked(
    stage: Stage, agency: Agency, behind: Behind
) -> None:
    traffic = Traffic(agency, seed=7)
    (place,) = await traffic.add_places(1)
    for night in (-2, 5, LAST, LAST + 1, LAST + 2):
        nights = {"start_date": str(DAY_0 + DAY * night), "end_date": str(DAY_0 + DAY * (night + 1))}
        (await agency.request("POST", "/blocks", {"property_id": place.property_id, **nights})).expect(201)
    await _settle(stage, behind)
    await require_equal(stage, [behind.replica])
    async with stage.agency(behind.replica.url, agency.id) as client:
        guest = Guest(client, place)
        await _let_it_be(behind, guest, MIDNIGHT - timedelta(minutes=5))
        assert await guest.ask(LAST - 1, LAST + 1) == ("cache", [LAST])
        assert await guest.ask(LAST - 1, LAST + 2) == ("ledger", [LAST, LAST + 1])
        assert await guest.ask(-2, 6) == ("cache", [-2, 5])
        assert await guest.ask(-3, 6) == ("ledger", [-2, 5])

        await _let_it_be(behind, guest, MIDNIGHT - timedelta(seconds=3))
        guest.answers.clear()
        while not guest.answers or _as_of(guest.answers[-1]) < MIDNIGHT + timedelta(seconds=1):
            assert await guest.ask(LAST - 1, LAST + 1) == ("cache", [LAST])
            assert await guest.ask(-1, 6) == ("cache", [5])
        times = [_as_of(answer) for answer in guest.answers]
        assert times == sorted(times)
        assert times[0] < MIDNIGHT, "the first question came too late to see the day change"

        assert await guest.ask(LAST - 1, LAST + 2) == ("cache", [LAST, LAST + 1])
        assert await guest.ask(LAST - 1, LAST + 3) == ("ledger", [LAST, LAST + 1, LAST + 2])
        assert await guest.ask(-2, 6) == ("ledger", [-2, 5])
    await require_equal(stage, [behind.replica])


async def _let_it_be(behind: Behind, guest: Guest, instant: datetime) -> None:
    """From now on watermarks say that it is this instant, and later."""
    behind.copy.ahead = instant - datetime.now(UTC)
    await until(lambda: guest.is_at(instant), f"an answer from memory that knows it is {instant}")


def _as_of(answer: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(answer["as_of"])
