"""Proves that a file dropped before a real Kafka Connect worker becomes bookings, once, and that garbage is kept."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.topics import OTA_INBOUND
from deploy.local import connect
from deploy.local.journey_client import NotYet, until
from deploy.local.journey_scene import Scene, Stay, new_code
from deploy.local.ports import free_port
from deploy.local.supervisor import ProcessSpec
from tests.e2e.infra.running import Running, days

MANY = 2_100
GARBAGE = "this line is no reservation"


def revision(scene: Scene, code: str, stay: Stay) -> str:
    return json.dumps(
        {
            "revision_id": str(uuid.uuid4()),
            "status": "new",
            "ota_name": "dropped file",
            "ota_reservation_code": code,
            "ota_listing_id": scene.listing_id,
            "check_in": str(stay[0]),
            "check_out": str(stay[1]),
            "occupancy": {"adults": 2},
            "guest": {"name": "Guest of a file"},
        }
    )


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


async def unparseable(scene: Scene) -> list[Any]:
    params = {"connection_id": scene.connection_id, "state": "unparseable"}
    reply = await scene.agency.request("GET", "/inbound-revisions", params=params)
    items: list[Any] = reply.expect(200)["items"]
    return items


async def lines_in_topic(running: Running, scene: Scene) -> list[bytes | None]:
    key = scene.connection_id.encode()
    return [record.value for record in await running.topics.records(OTA_INBOUND.name) if record.key == key]


async def wait_for_lines(running: Running, scene: Scene, count: int) -> None:
    async def look() -> None:
        found = len(await lines_in_topic(running, scene))
        if found < count:
            raise NotYet(f"{found} lines")

    await until(look, f"{count} lines in the topic", patience_s=90)


@asynccontextmanager
async def worker(running: Running, spec: ProcessSpec) -> AsyncIterator[None]:
    try:
        await running.start(spec)
        yield
    finally:
        await running.stop(spec.name)


@pytest.mark.timeout(400)
async def test_a_dropped_file_becomes_bookings_through_connect_and_a_restarted_worker_doubles_nothing(
    running: Running, scene: Scene, tmp_path: Path
) -> None:
    first, second, third, fourth = (new_code() for _ in range(4))
    path = tmp_path / "reservations.jsonl"
    dropped = connect.DroppedFile("dropped", path, scene.connection_id)
    spec = connect.prepare(tmp_path, free_port(), running.suite.kafka_bootstrap, [dropped])
    async with worker(running, spec):
        # Dropped while the worker runs: it waits for a file that does not exist yet.
        append(path, revision(scene, first, days(0, 2)), GARBAGE, revision(scene, second, days(2, 4)))
        for code in (first, second):
            await scene.reservation(code, "confirmed")
        (kept,) = await unparseable(scene)

        await running.stop(connect.NAME)
        append(path, revision(scene, third, days(4, 6)))
        await running.restart(connect.NAME)
        await scene.reservation(third, "confirmed")
        assert len(await lines_in_topic(running, scene)) == 4  # its offsets told it where it was

        await running.stop(connect.NAME)
        connect.forget_offsets(tmp_path)
        # More lines than the file source takes at once unless it is told otherwise.
        repeated = revision(scene, third, days(4, 6))
        append(path, *[repeated] * MANY, revision(scene, fourth, days(6, 8)))
        await running.restart(connect.NAME)
        await wait_for_lines(running, scene, 9 + MANY)  # everything came again
        await scene.reservation(fourth, "confirmed", patience_s=180)

    booked = [item["ota_reservation_code"] for item in await scene.agency.bookings(scene.property_id)]
    assert sorted(booked) == sorted([first, second, third, fourth])
    assert await unparseable(scene) == [kept]
