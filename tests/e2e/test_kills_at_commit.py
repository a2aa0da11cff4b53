"""Proves that a request cut off right before or right after its commit has one outcome, which its retry finds.

Before: a transaction that has written everything and whose COMMIT never arrives, its process killed; a statement that
has written everything and whose database backend is terminated. After: a statement that outlives its killed process and
commits alone; a commit whose answer is lost with its process. Each hit is seen in the database while it is one. `tried`
are the requests cut off, `hit` those of them that were in that state; one kill hits several requests at once. Each has
a statement of its own here; processes whose requests share one are killed in test_histories and test_booking_killed.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency, NotYet, Reply, until
from deploy.local.services import BOOKING
from deploy.local.supervisor import ProcessSpec
from tests.e2e.infra.drain import check_everything
from tests.e2e.infra.running import Running, days
from tests.e2e.infra.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    Held = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Held = asyncpg.pool.PoolConnectionProxy

HITS = int(os.environ.get("PMS_COMMIT_HITS", "5"))
AT_ONCE = min(HITS, 25)
MOST_ROUNDS = 2 + 2 * HITS // AT_ONCE
CALLER = "local"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120 + 20 * MOST_ROUNDS)]

# Everything is written, and the transaction is open.
_BEFORE_COMMIT = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking' AND state = 'idle in transaction'
  AND query LIKE '%write_requests%'"""
_WAITING_FOR = """
SELECT pid FROM pg_stat_activity
WHERE state = 'active' AND query LIKE '%write_requests%' AND pg_blocking_pids(pid) && $1::integer[]"""
_STILL_THERE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)"
_STORED = """
SELECT reservation.id::text FROM reservations AS reservation JOIN inventory_ranges AS held
  ON held.source_id = reservation.id AND held.state = 'active'
WHERE reservation.notes = $1"""
_WIN_KEYS = """
INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
SELECT $1, $2, key, '', 201, '' FROM unnest($3::text[]) AS key"""


@dataclass
class Cut:
    """A booking process behind a proxy to its database, and what was done to it.

    A request's marker is its reservation's note, so it is in the statement that writes and in no other.
    """

    running: Running
    spec: ProcessSpec
    proxy: TcpProxy
    agency: Agency
    elsewhere: Agency
    properties: Sequence[str]
    tried: int = 0
    hit: int = 0
    rounds: int = 0
    kills: int = 0
    waiting: list[asyncio.Task[Reply]] = field(default_factory=list)

    def next_round(self) -> list[str]:
        """The markers of the next requests, none once there were enough hits."""
        if self.hit >= HITS or self.rounds >= MOST_ROUNDS:
            return []
        self.rounds += 1
        return [f"cut-{uuid.uuid4().hex}" for _ in self.properties]

    async def book(self, marker: str, number: int, *, at: Agency | None = None) -> Reply:
        """Book the round's night at a property of its own, in one statement that commits itself."""
        guest = {"name": "Ada", "email": f"{key_of(marker)}@example.org"}
        stay = days(self.rounds, self.rounds + 1)
        return await (at or self.agency).book(
            self.properties[number], stay, key=key_of(marker), notes=marker, guest=guest
        )

    async def book_group(self, marker: str, number: int) -> Reply:
        """The same as a group of one, which is a transaction of several statements."""
        check_in, check_out = map(str, days(self.rounds, self.rounds + 1))
        stay = {"property_id": self.properties[number], "check_in": check_in, "check_out": check_out}
        body = {
            "stays": [{**stay, "occupancy": {"adults": 2}, "notes": marker}],
            "guest": {"name": "Ada", "email": f"{key_of(marker)}@example.org"},
        }
        return await self.agency.request("POST", "/bookings/groups", body, headers={"Idempotency-Key": key_of(marker)})

    def ask_all(self, markers: Sequence[str], ask: Callable[[str, int], Any]) -> None:
        """Begin a request for each marker."""
        self.waiting = [asyncio.create_task(ask(marker, number)) for number, marker in enumerate(markers)]
        self.tried += len(markers)

    def count_hits(self, backends: Sequence[int], connections: Sequence[object]) -> None:
        """Unanswered requests are hit when every connection that carried one has its backend in the state."""
        if len(backends) == len({id(connection) for connection in connections}):
            self.hit += sum(not task.done() for task in self.waiting)

    async def kill(self) -> None:
        """`kill -9`; no client hears anything."""
        await self.running.kill(self.spec.name)
        self.kills += 1
        for outcome in await asyncio.gather(*self.waiting, return_exceptions=True):
            assert isinstance(outcome, aiohttp.ClientError), f"the client heard {outcome}"

    async def stored(self, marker: str) -> list[str]:
        """The committed reservations with this marker that hold their nights."""
        return [row["id"] for row in await self.running.ledger.fetch(_STORED, marker)]

    async def retry(self, markers: Sequence[str], ask: Callable[[str, int], Any], *, replayed: bool) -> None:
        """Ask again with the same keys: one outcome each, found or made anew."""
        for number, marker in enumerate(markers):
            self.proxy.forget(marker.encode())
            before = await self.stored(marker)
            reply = await ask(marker, number)
            booked = reply.expect(201)
            assert (reply.headers.get("Idempotent-Replayed") == "true") is replayed, f"{marker}: {reply}"
            assert await self.stored(marker) == [booked["bookings"][0]["id"] if "bookings" in booked else booked["id"]]
            assert before == (await self.stored(marker) if replayed else [])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def behind_proxy(running: Running) -> AsyncIterator[tuple[ProcessSpec, TcpProxy, Agency, Agency]]:
    """The process, its proxy, and an agency as a client of it and of another process."""
    databases = running.suite.databases.booking
    target = urlsplit(databases.app)
    async with TcpProxy(str(target.hostname), target.port or 5432) as proxy:
        env = {
            "DATABASE_URL": behind(databases.app, proxy),
            "SYSTEM_DATABASE_URL": behind(databases.system, proxy),
            "DATABASE_POOL_SIZE": str(AT_ONCE + 5),
            "BOOKING_GROUP_SIZE": "1",
        }
        spec = running.role(BOOKING, "api", name="booking-behind-proxy", env=env)
        elsewhere = running.agency(at=running.suite.url(BOOKING))
        async with running.added(spec) as (url,), elsewhere, running.agency(elsewhere.id, at=url) as here:
            yield spec, proxy, here, elsewhere


@pytest_asyncio.fixture
async def cut(running: Running, behind_proxy: tuple[ProcessSpec, TcpProxy, Agency, Agency]) -> AsyncIterator[Cut]:
    """The process with properties of the test's own, and the check of everything afterwards."""
    spec, proxy, here, elsewhere = behind_proxy
    properties = [str((await elsewhere.create_property()).expect(201)["id"]) for _ in range(AT_ONCE)]
    yield Cut(running, spec, proxy, here, elsewhere, properties)
    if spec.name not in running.supervisor.names():
        await running.restart(spec.name)
    await check_everything(running)


@pytest.fixture
def finish(report_hits: Callable[[int, int], None], report_counts: Callable[[str], None]) -> Callable[[Cut], None]:
    """Says what was tried and hit, and requires enough hits."""

    def say(cut: Cut) -> None:
        report_hits(cut.tried, cut.hit)
        by = f"killing their process {cut.kills} times" if cut.kills else "terminating the backend of each"
        report_counts(f"{cut.hit} of {cut.tried} requests hit, {AT_ONCE} at once, by {by}: one outcome per key")
        assert cut.hit >= HITS

    return say


async def test_a_booking_killed_before_its_commit_stores_nothing_and_its_retry_books_anew(
    cut: Cut, finish: Callable[[Cut], None]
) -> None:
    while markers := cut.next_round():
        for marker in markers:
            cut.proxy.withhold_word_after(marker.encode(), b"COMMIT")
        cut.ask_all(markers, cut.book_group)
        connections = [await cut.proxy.wait_until_word_withheld(marker.encode()) for marker in markers]
        backends = [row["pid"] for row in await cut.running.ledger.fetch(_BEFORE_COMMIT)]
        cut.count_hits(backends, connections)
        await cut.kill()
        await until(partial(_nobody_left, cut, backends), "the dead clients' backends to end")
        assert [await cut.stored(marker) for marker in markers] == [[]] * len(markers)
        await cut.running.restart(cut.spec.name)
        await cut.retry(markers, cut.book_group, replayed=False)
    finish(cut)


async def test_a_booking_whose_backend_is_terminated_before_its_commit_stores_nothing_and_its_retry_books_anew(
    cut: Cut, finish: Callable[[Cut], None]
) -> None:
    while markers := cut.next_round():
        async with keys_held(cut, markers) as holder:
            cut.ask_all(markers, cut.book)
            backends, connections = await written_and_waiting(cut, markers, holder)
            cut.count_hits(backends, connections)
            for backend in backends:
                await cut.running.ledger.execute("SELECT pg_terminate_backend($1)", backend)
            for reply in await asyncio.gather(*cut.waiting):
                assert reply.expect(503)["code"] == "unavailable"
        assert [await cut.stored(marker) for marker in markers] == [[]] * len(markers)
        await cut.retry(markers, cut.book, replayed=False)
    finish(cut)


async def test_a_statement_that_outlives_its_killed_process_is_the_outcome_its_retry_finds(
    cut: Cut, finish: Callable[[Cut], None]
) -> None:
    while markers := cut.next_round():
        if cut.rounds > 1:
            await cut.running.restart(cut.spec.name)
        async with keys_held(cut, markers) as holder:
            cut.ask_all(markers, cut.book)
            backends, connections = await written_and_waiting(cut, markers, holder)
            cut.count_hits(backends, connections)
            await cut.kill()
            assert await waiting_for(cut, [_pid(holder)]) == backends, "the statements go on"
            asked = [cut.book(marker, number, at=cut.elsewhere) for number, marker in enumerate(markers)]
            retries = [asyncio.create_task(retry) for retry in asked]
            await until(partial(_somebody_waits, cut, backends), "a retry to wait for the statement")
        for marker, reply in zip(markers, await asyncio.gather(*retries), strict=True):
            assert await cut.stored(marker) == [reply.expect(201)["id"]]
            assert reply.headers["Idempotent-Replayed"] == "true"
    finish(cut)


async def test_a_booking_killed_after_its_commit_with_the_answer_lost_is_what_its_retry_finds(
    cut: Cut, finish: Callable[[Cut], None]
) -> None:
    while markers := cut.next_round():
        for marker in markers:
            cut.proxy.withhold_answers_after(marker.encode())
        cut.ask_all(markers, cut.book)
        for marker in markers:
            await cut.proxy.wait_until_answer_withheld(marker.encode())
        committed = [await cut.stored(marker) for marker in markers]
        cut.hit += sum(not task.done() and len(one) == 1 for task, one in zip(cut.waiting, committed, strict=True))
        await cut.kill()
        await cut.running.restart(cut.spec.name)
        await cut.retry(markers, cut.book, replayed=True)
        assert [await cut.stored(marker) for marker in markers] == committed
    finish(cut)


def key_of(marker: str) -> str:
    """The request's key, without the marker: it is in the statements before the one that writes."""
    return marker.removeprefix("cut-")


def behind(dsn: str, proxy: TcpProxy) -> str:
    """The same database, by way of the proxy."""
    parts = urlsplit(dsn)
    credentials, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}"))


@asynccontextmanager
async def keys_held(cut: Cut, markers: Sequence[str]) -> AsyncIterator[Held]:
    """Somebody else's transaction has the keys: a statement that wrote all else waits for its end, a rollback."""
    for marker in markers:
        cut.proxy.watch_for(marker.encode())
    async with cut.running.ledger.acquire() as holder:
        transaction = holder.transaction()
        await transaction.start()
        try:
            await holder.execute(_WIN_KEYS, uuid.UUID(cut.agency.id), CALLER, [key_of(marker) for marker in markers])
            yield holder
        finally:
            await transaction.rollback()


async def written_and_waiting(cut: Cut, markers: Sequence[str], holder: Held) -> tuple[list[int], list[object]]:
    """Once all have written and wait for the keys: their backends, and the connections that carried them."""
    connections: list[object] = [await cut.proxy.wait_until_seen(marker.encode()) for marker in markers]

    async def look() -> list[int]:
        backends = await waiting_for(cut, [_pid(holder)])
        if len(backends) < len({id(connection) for connection in connections}):
            raise NotYet(f"{len(backends)} wait")
        return backends

    return await until(look, "the statements to wait for their keys"), connections


async def waiting_for(cut: Cut, pids: Sequence[int]) -> list[int]:
    """The backends in a write that wait for one of these."""
    return sorted(row["pid"] for row in await cut.running.ledger.fetch(_WAITING_FOR, pids))


async def _somebody_waits(cut: Cut, pids: Sequence[int]) -> None:
    if not await waiting_for(cut, pids):
        raise NotYet("nobody waits")


async def _nobody_left(cut: Cut, pids: Sequence[int]) -> None:
    if left := await cut.running.ledger.fetch(_STILL_THERE, pids):
        raise NotYet(f"{len(left)} are left")


def _pid(connection: Held) -> int:
    return int(connection.get_server_pid())
