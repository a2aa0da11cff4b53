"""Proves the operator's repairs: snapshots published again, a quarantined property resynced, versions that jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio
from click.testing import CliRunner

import runtime.relay
from booking.commands.ledger import LEDGER_COMMANDS
from booking.service import republishing
from booking.service.republishing import Scope
from tests.booking.own_database import OwnLedger, own_ledger
from tests.conftest import Provisioned
from tests.waiting import eventually

pytestmark = pytest.mark.stack

Command = Callable[..., Awaitable[tuple[int, str]]]


@pytest_asyncio.fixture(loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@pytest.fixture
def command(own: OwnLedger, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in a thread, against the ledger of the test: exit code and output."""
    for name, value in own.environment().items():
        monkeypatch.setenv(name, value)
    by_name = {found.name: found for found in LEDGER_COMMANDS}

    async def run(name: str, *arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, by_name[name], list(arguments))
        return result.exit_code, result.output

    return run


async def versions(own: OwnLedger) -> dict[UUID, int]:
    rows = await own.ledger.system.pool.fetch("SELECT property_id, inventory_version FROM inventory_versions")
    return {row["property_id"]: row["inventory_version"] for row in rows}


async def published(own: OwnLedger, topic: str, house: UUID) -> list[int]:
    """The versions of a property's snapshots on a topic."""
    records = await own.records(house, topic)
    return [orjson.loads(record.value or b"")["data"]["inventory_version"] for record in records]


async def all_published(own: OwnLedger) -> None:
    async def look() -> bool | None:
        behind = "SELECT count(*) FROM inventory_versions WHERE published_version < inventory_version"
        return await own.ledger.system.pool.fetchval(behind) == 0 or None

    await eventually(look, "every snapshot published")


async def test_a_new_empty_topic_gets_every_snapshot_and_nothing_else_changes(own: OwnLedger, command: Command) -> None:
    agency = uuid4()
    houses = [await own.ledger.new_property(agency) for _ in range(3)]
    await own.ledger.book(agency, houses[0], 0, 2)
    async with own.publishing():
        await all_published(own)
    before = await versions(own)
    async with own.publishing() as new_topic:
        code, printed = await command("republish", "--all", "--wait")
        assert (code, printed.splitlines()[-1]) == (0, "3 snapshots published")
        assert [await published(own, new_topic, house) for house in houses] == [[2], [1], [1]]
    assert await versions(own) == before
    assert await own.ledger.system.pool.fetchval("SELECT count(*) FROM outbox") == 4


async def test_one_property_or_one_agencys_are_published_again(own: OwnLedger, command: Command) -> None:
    agency, other = uuid4(), uuid4()
    mine = [await own.ledger.new_property(agency) for _ in range(2)]
    foreign = await own.ledger.new_property(other)
    async with own.publishing() as topic:
        await all_published(own)
        assert (await command("republish", "--property", str(mine[0]), "--wait"))[0] == 0
        assert [await published(own, topic, house) for house in (*mine, foreign)] == [[1, 1], [1], [1]]
        assert (await command("republish", "--agency", str(other), "--wait"))[0] == 0
        assert [await published(own, topic, house) for house in (*mine, foreign)] == [[1, 1], [1], [1, 1]]


async def test_republish_says_what_it_cannot_do(own: OwnLedger, command: Command) -> None:
    await own.ledger.new_property(uuid4())
    assert (await command("republish"))[0] == 2
    assert (await command("republish", "--all", "--agency", str(uuid4())))[0] == 2
    code, printed = await command("republish", "--property", str(uuid4()))
    assert (code, printed) == (1, "Error: There is no such property.\n")
    code, printed = await command("republish", "--all", "--wait", "--timeout-s", "0.1")
    assert code == 1
    assert "1 of 1 snapshots were not published in time: is a worker running?" in printed
    assert await command("republish", "--all") == (0, "1 snapshots will be published by the worker\n")


async def test_after_a_restore_versions_jump_beyond_all_that_was_given_out_and_are_published(
    own: OwnLedger, command: Command
) -> None:
    agency = uuid4()
    houses = [await own.ledger.new_property(agency) for _ in range(3)]
    await own.ledger.book(agency, houses[0], 0, 2)
    ahead = 10**18
    await own.as_admin(f"UPDATE inventory_versions SET inventory_version = {ahead} WHERE property_id = '{houses[2]}'")
    code, printed = await command("bump-versions")
    assert (code, "--yes" in printed) == (2, True)
    assert (await versions(own))[houses[0]] == 2
    began = int(time.time())
    code, printed = await command("bump-versions", "--yes")
    assert (code, printed.splitlines()[-1]) == (
        0,
        "3 versions bumped, 3 snapshots will be published by the worker",
    )
    bumped = await versions(own)
    assert began * 1_000_000 <= bumped[houses[0]] == bumped[houses[1]] <= int(time.time()) * 1_000_000
    assert bumped[houses[2]] == ahead + 1
    assert await own.ledger.system.pool.fetchval("SELECT count(*) FROM outbox") == 4
    async with own.publishing() as topic:
        await all_published(own)
        assert await published(own, topic, houses[0]) == [bumped[houses[0]]]
    await own.ledger.book(agency, houses[0], 10, 12)
    assert (await versions(own))[houses[0]] == bumped[houses[0]] + 1


async def test_a_bump_waits_for_the_writers_of_its_properties(own: OwnLedger) -> None:
    """Without the lock it would overwrite the version of a booking that is under way."""
    house = await own.ledger.new_property(uuid4())
    async with own.ledger.system.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(property_lock_key($1))", house)
        bump = asyncio.create_task(_bump(own))
        await asyncio.sleep(0.3)
        assert not bump.done()
        await connection.execute("UPDATE inventory_versions SET inventory_version = $1", 10**18)
    assert await bump == [1]
    assert (await versions(own))[house] == 10**18 + 1


async def _bump(own: OwnLedger) -> list[int]:
    return [count async for count in republishing.bump_versions(own.ledger.system)]


async def test_many_properties_are_gone_through_in_batches(own: OwnLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(republishing, "BATCH", 2)
    for _ in range(5):
        await own.ledger.new_property(uuid4())
    assert await _bump(own) == [2, 2, 1]
    assert [batch.count async for batch in republishing.republish(own.ledger.system, Scope())] == [2, 2, 1]


async def test_a_quarantined_propertys_later_events_flow_again_after_a_resync(
    own: OwnLedger, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    agency = uuid4()
    houses = [await own.ledger.new_property(agency) for _ in range(2)]
    await own.relayed()
    pool = own.ledger.system.pool
    await own.ledger.book(agency, houses[0], 0, 2)
    await pool.execute(
        "UPDATE outbox SET data = data || jsonb_build_object('filling', repeat('x', 20000)) WHERE sent_at IS NULL"
    )
    await own.ledger.book(agency, houses[0], 2, 4)
    monkeypatch.setattr(runtime.relay, "VALUE_MAX_BYTES", 15_000)
    async with own.relaying():

        async def quarantined() -> bool | None:
            return await pool.fetchval("SELECT count(*) FROM outbox WHERE quarantined IS NOT NULL") == 1 or None

        await eventually(quarantined, "a quarantined row")
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 2
    code, printed = await command("resync", "--property", str(houses[0]))
    assert code == 0
    assert "given up: version 2, ReservationConfirmed" in printed
    await own.relayed()
    assert await published(own, own.topic.name, houses[0]) == [1, 3]
    async with own.publishing() as topic:
        await all_published(own)
        assert await published(own, topic, houses[0]) == [3]
    assert await own.audited() == []
    assert await command("resync", "--property", str(uuid4())) == (1, "Error: There is no such property.\n")
