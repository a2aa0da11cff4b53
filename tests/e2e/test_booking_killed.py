"""Proves that kill -9 of booking loses nothing it acknowledged, and that a retry never books twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import psutil
import pytest

from deploy.local.journey_client import Agency, NotYet, Reply, until
from deploy.local.journey_scene import Scene, open_scene
from deploy.local.services import BOOKING
from tests.e2e.infra.drain import check_everything
from tests.e2e.infra.load import Attempt, Load
from tests.e2e.infra.running import Running, days
from tests.e2e.infra.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e

KILLS = 2
ACKNOWLEDGED_BEFORE_KILL = 30
PROPERTIES = 4
AT_ONCE = 5
RETRY_AFTER_S = 0.2


async def retry_until_booked(load: Load, attempt: Attempt) -> None:
    async def look() -> None:
        await load.ask(attempt)
        if not attempt.is_acknowledged:
            await asyncio.sleep(RETRY_AFTER_S)
            raise NotYet(f"{attempt.reply}")

    await until(look, "the retry to be acknowledged")


async def test_booking_killed_under_load_loses_no_acknowledged_booking_and_retries_book_once(
    running: Running, scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    properties = [scene.property_id]
    properties += [(await open_scene(scene.agency, running.ota)).property_id for _ in range(PROPERTIES - 1)]
    load, hits = Load(scene.agency, properties, days(0, 1)[0]), 0
    for kill in range(1, KILLS + 1):
        async with load.running():
            await load.wait_for(kill * ACKNOWLEDGED_BEFORE_KILL)
            # Frozen first: what is under way then cannot be answered any more while the kill is on its way.
            psutil.Process(running.supervisor.pid(BOOKING)).suspend()
            under_way = set(load.under_way)
            await running.kill(BOOKING)
        # The kill counts when it hit requests that had been sent and were not answered with a booking.
        hits += any(attempt.key in under_way for attempt in load.unknown())
        acknowledged = {attempt.key: attempt.reply for attempt in load.acknowledged()}
        # Its clients do not wait either, until its consumers may join their group again: they retry.
        await running.restart(BOOKING, wait=False)
        await asyncio.gather(*(retry_until_booked(load, attempt) for attempt in load.unknown()))
        for attempt in load.acknowledged()[:10]:
            if (before := acknowledged.get(attempt.key)) is not None:
                await load.ask(attempt)
                assert attempt.reply is not None
                assert attempt.reply.content == before.content
                assert attempt.reply.headers["Idempotent-Replayed"] == "true"
    report_hits(KILLS, hits)
    answered = {attempt.reply.body["id"] for attempt in load.attempts if attempt.reply is not None}
    stored = await running.ledger.fetch(
        "SELECT id::text FROM reservations WHERE agency_id = $1 AND status = 'confirmed'", uuid.UUID(scene.agency.id)
    )
    assert len(answered) == len(load.attempts)
    assert sorted(row["id"] for row in stored) == sorted(answered)
    await check_everything(running)


def behind(dsn: str, proxy: TcpProxy) -> str:
    parts = urlsplit(dsn)
    credentials, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}"))


async def test_booking_killed_after_its_statement_was_forwarded_and_the_answer_withheld_books_once(
    running: Running, scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    databases = running.suite.databases.booking
    target = urlsplit(databases.app)
    hits = 0
    async with TcpProxy(str(target.hostname), target.port or 5432) as proxy:
        env = {"DATABASE_URL": behind(databases.app, proxy), "SYSTEM_DATABASE_URL": behind(databases.system, proxy)}
        spec = running.role(BOOKING, "api", name="booking-behind-proxy", env=env)
        async with running.added(spec) as (url,), running.agency(scene.agency.id, at=url) as agency:
            markers = [f"withheld-{uuid.uuid4().hex}" for _ in range(AT_ONCE)]
            for marker in markers:
                proxy.withhold_answers_after(marker.encode())
            asked = [asyncio.create_task(book(agency, scene, number, marker)) for number, marker in enumerate(markers)]
            committed: dict[str, str] = {}
            for marker in markers:
                await proxy.wait_until_answer_withheld(marker.encode())
                committed |= await reservations_noted(running, marker)
            hits = sum(not task.done() and marker in committed for task, marker in zip(asked, markers, strict=True))
            await running.kill(spec.name)
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(outcome, aiohttp.ClientError), f"the client heard {outcome}"
            await running.restart(spec.name)
            for number, marker in enumerate(markers):
                retried = await book(agency, scene, number, marker)
                assert retried.expect(201)["id"] == committed[marker]
                assert retried.headers["Idempotent-Replayed"] == "true"
                assert await reservations_noted(running, marker) == {marker: committed[marker]}
    report_hits(AT_ONCE, hits)
    assert len(await scene.agency.bookings(scene.property_id)) == AT_ONCE
    await check_everything(running)


async def book(agency: Agency, scene: Scene, number: int, marker: str) -> Reply:
    """Book a night of its own; the marker is in the statement that writes and in no other."""
    guest = {"name": "Ada", "email": f"ada-{number}@example.org"}
    return await agency.book(
        scene.property_id, days(number, number + 1), key=f"key-{number}", notes=marker, guest=guest
    )


async def reservations_noted(running: Running, marker: str) -> dict[str, str]:
    """The committed reservations with this note: exactly one, by its note."""
    rows = await running.ledger.fetch("SELECT id::text FROM reservations WHERE notes = $1", marker)
    assert len(rows) == 1, f"{len(rows)} reservations for one key"
    return {marker: rows[0]["id"]}
