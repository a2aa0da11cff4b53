"""Proves that a cache killed in the middle of anything comes back with what the ledger holds.

Each state is seen from outside before the kill: an answer that is part of the way through what was to be applied, a
refusal while the topics are read, a question of the cache's that booking has answered and the cache not heard.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, until
from deploy.local.supervisor import ProcessSpec
from runtime.kafka import partition_of
from tests.availability.proofs.agreement import require_agreement, require_equal
from tests.availability.proofs.faults import Repeater, asleep, busy
from tests.availability.proofs.stage import PARTITIONS, SCALE, OneReplica, Stage
from tests.availability.proofs.traffic import WINDOW, Place, Traffic
from tests.e2e.infra.tcp_proxy import TcpProxy

_PUBLISHED = "UPDATE inventory_versions SET published_version = $2 WHERE property_id = $1::text::uuid"

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120 + 60 * SCALE)]

BATCHES = 4
CHANGES_A_BATCH = 5
REPEATED_A_BATCH = 500
SLOWNESS_S = 0.05
SAVED_EVERY_S = 1.0
SEEN_WITHIN_S = 20.0
MOST_TRIES = 20


@dataclass
class Mortal:
    """A replica that is killed, and the proxies between it and Kafka, and between it and booking."""

    stage: Stage
    replica: OneReplica
    spec: ProcessSpec
    kafka: TcpProxy
    booking: TcpProxy
    client: Agency
    file: Path
    hits: list[str] = field(default_factory=list)

    async def killed(self, state: str) -> None:
        """`kill -9` in a state that was seen just now."""
        await self.stage.kill(self.spec.name)
        self.hits.append(state)

    async def version(self, place: Place) -> int:
        """What it answers from memory."""
        body: Any = (await self.client.availability(place.property_id, WINDOW)).expect(200)
        assert body["source"] == "cache"
        return int(body["inventory_version"])

    async def shows(self, place: Place) -> None:
        """Raises `NotYet` unless it answers the last version of the property from memory."""
        if (version := await self.version(place)) < place.version:
            raise NotYet(f"version {version} of {place.version}")

    def stop_while_it_writes_its_file(self) -> bool:
        """Freeze it with the file half done; False when that was not seen in time."""
        pid, ends = self.stage.supervisor.pid(self.replica.name), time.monotonic() + SEEN_WITHIN_S
        while time.monotonic() < ends:
            if not self.unfinished_files():
                time.sleep(0.0001)
                continue
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.01)
            if self.unfinished_files():
                return True
            os.kill(pid, signal.SIGCONT)
        return False

    async def has_tidied_up(self) -> None:
        """Raises `NotYet` unless its file is there and nothing is left beside it."""
        if left := self.unfinished_files():
            raise NotYet(f"{left}")
        assert self.file.exists()

    def unfinished_files(self) -> list[str]:
        """What lies beside its snapshot file."""
        return [found.name for found in self.file.parent.iterdir() if found != self.file]

    async def reads_the_topics(self) -> None:
        """Raises `NotYet` unless it says so itself."""
        try:
            reply = await self.client.request("GET", "/health/ready")
        except aiohttp.ClientError as error:
            raise NotYet(repr(error)) from error
        if reply.status != 503 or "topics are not read" not in reply.body["detail"]:
            raise NotYet(f"{reply.status} {reply.body}")


@asynccontextmanager
async def mortal_replica(stage: Stage, agency: Agency) -> AsyncIterator[Mortal]:
    """A ready replica for a while, behind proxies."""
    host, port = stage.proxied_bootstrap.split(":")
    booking = urlsplit(stage.booking_url)
    async with (
        TcpProxy(host, int(port), stage.proxied_port) as to_kafka,
        TcpProxy(str(booking.hostname), int(booking.port or 0)) as to_booking,
    ):
        kafka, url = f"{host}:{stage.proxied_port}", f"http://{host}:{to_booking.port}"
        file = stage.supervisor.run_dir / "mortal" / "cache.snapshot"
        saving = {"SNAPSHOT_PATH": str(file), "SNAPSHOT_INTERVAL_S": str(SAVED_EVERY_S)}
        spec = stage.spec("mortal", KAFKA_BOOTSTRAP_SERVERS=kafka, BOOKING_URL=url, **saving)
        async with stage.running(spec) as replica, stage.agency(replica.url, agency.id) as client:
            yield Mortal(stage, replica, spec, to_kafka, to_booking, client, file)


async def test_a_cache_killed_in_the_middle_of_anything_comes_back_with_what_the_ledger_holds(
    stage: Stage, agency: Agency, report_hits: Callable[[int, int], None], report_counts: Callable[[str], None]
) -> None:
    kills = [in_a_batch, in_a_snapshot_file, before_its_place_is_kept, in_a_cold_start, in_a_resync]
    async with mortal_replica(stage, agency) as mortal:
        replicas = [*stage.replicas, mortal.replica]
        async with busy(stage, agency, replicas) as (traffic, _):
            own = Traffic(agency, seed=5)
            (place,) = await own.add_places(1)
            for kill in kills * SCALE:
                await require_equal(stage, [mortal.replica])
                await kill(mortal, own, place)
                await stage.restart(mortal.replica.name)
                await until(mortal.has_tidied_up, "nothing but one whole file")
            await require_equal(stage, [mortal.replica])
        await require_agreement(stage, agency, [*traffic.places, place], replicas)
    # Killed before its first start was over it may have none, and after that it has one.
    taken_up = stage.log_of(mortal.replica.name).count("the snapshot file is read")
    assert taken_up >= len(kills) * SCALE - 1, f"only {taken_up} starts from the file"
    report_hits(len(kills) * SCALE, len(mortal.hits))
    assert len(mortal.hits) == len(kills) * SCALE, mortal.hits
    report_counts(", ".join(mortal.hits))


async def in_a_batch(mortal: Mortal, own: Traffic, place: Place) -> None:
    """Changes of one property pile up among many others while it sleeps; killed when it has applied some of them."""
    stage, before = mortal.stage, place.version
    async with Repeater(stage) as repeater, without_snapshots(stage, place):
        with asleep(stage, [mortal.replica]):
            for _ in range(BATCHES):
                await own.write(CHANGES_A_BATCH, [place])
                await until(lambda: _heard(stage, mortal.client.id, place), "the changes to be on the topic")
                await repeater.repeat(partition_of(place.property_id, PARTITIONS), REPEATED_A_BATCH)
        while (version := await mortal.version(place)) < place.version:
            if version > before:
                await mortal.killed(f"at {version} between {before} and {place.version}")
                return
    raise AssertionError("the batch was over before it was seen")


@asynccontextmanager
async def without_snapshots(stage: Stage, place: Place) -> AsyncIterator[None]:
    """The compacted topic lags behind this property: its changes arrive one by one, not all at once."""
    await stage.ledger.execute(_PUBLISHED, place.property_id, 2**60)
    try:
        yield
    finally:
        await stage.ledger.execute(_PUBLISHED, place.property_id, 0)


async def in_a_cold_start(mortal: Mortal, own: Traffic, place: Place) -> None:
    """Killed while it reads the topics, and is not ready for that reason."""
    await mortal.stage.kill(mortal.replica.name)
    mortal.kafka.delay_s["to_client"] = SLOWNESS_S
    try:
        await asyncio.to_thread(mortal.stage.supervisor.start, mortal.spec, wait=False)
        await until(mortal.reads_the_topics, "a replica that reads the topics")
        await mortal.killed("while it read the topics")
    finally:
        mortal.kafka.delay_s["to_client"] = 0.0


async def in_a_snapshot_file(mortal: Mortal, own: Traffic, place: Place) -> None:
    """Killed while it writes its snapshot file, which has another name until it is whole."""
    assert await asyncio.to_thread(mortal.stop_while_it_writes_its_file), "no file was seen in the making"
    await mortal.killed("while it wrote its snapshot file")


async def before_its_place_is_kept(mortal: Mortal, own: Traffic, place: Place) -> None:
    """Killed when it has shown a change that its snapshot file does not have: the place in the topics is lost."""
    for _ in range(MOST_TRIES):
        began_ns = time.time_ns()
        await own.write(1, [place])
        await until(lambda: mortal.shows(place), "the change")
        with asleep(mortal.stage, [mortal.replica]):
            if mortal.file.stat().st_mtime_ns < began_ns:
                await mortal.killed(
                    f"{(began_ns - mortal.file.stat().st_mtime_ns) / 1e9:.1f} s after its snapshot file"
                )
                return
    raise AssertionError(f"{MOST_TRIES} times the change was in the file already")


async def in_a_resync(mortal: Mortal, own: Traffic, place: Place) -> None:
    """Killed when booking has answered for a property whose record cannot be read, and the cache has not heard it."""
    stage, key = mortal.stage, place.property_id.encode()
    mortal.booking.withhold_answers_after(key)
    try:
        partition = partition_of(place.property_id, PARTITIONS)
        await stage.topics.send(BOOKING_RESERVATIONS.name, partition, [(key, b"what did it say?")])
        await mortal.booking.wait_until_answer_withheld(key)
        await mortal.killed("while booking answered")
    finally:
        mortal.booking.forget(key)


async def _heard(stage: Stage, agency_id: str, place: Place) -> None:
    async with stage.agency(stage.replicas[0].url, agency_id) as client:
        body = (await client.availability(place.property_id, WINDOW)).expect(200)
        if body["inventory_version"] < place.version:
            raise NotYet(f"version {body['inventory_version']} of {place.version}")
