"""Proves the relay: every committed row reaches its partition in the order of its key, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import runtime.relay
from contracts.envelope import Envelope
from contracts.topics import MIB
from deploy.local.provision import DatabaseUrls, in_database
from runtime.kafka import partition_of
from runtime.outbox import OutboxRow, insert_outbox_rows
from runtime.postgres import Pool, transaction
from runtime.relay import Relay
from runtime.telemetry import current_trace_id, span
from tests.conftest import Provisioned
from tests.runtime.conftest import SERVICE, TopicOf, pool_of
from tests.runtime.outbox import Outbox, is_watermark, keys_of, relaying
from tests.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def outbox(empty_outbox: Pool, sharded: TopicOf) -> Outbox:
    """The outbox of a topic of six partitions."""
    return Outbox(empty_outbox, sharded)


@pytest.fixture
def narrow(empty_outbox: Pool, single: TopicOf) -> Outbox:
    """The outbox of a topic of one partition."""
    return Outbox(empty_outbox, single)


async def test_thousands_of_rows_across_shards_keep_the_order_of_each_key(outbox: Outbox) -> None:
    keys = keys_of(40)
    await outbox.add_many(keys, 3000)
    async with relaying(outbox.pool, outbox.of) as relay:
        for _ in range(10):
            await outbox.add_many(keys, 100)
            relay.wake()
        await outbox.drained()
    assert await outbox.check_complete_and_in_order() == 0
    for record in await outbox.of.records():
        if record.key is not None:
            assert record.partition == partition_of(record.key.decode(), 6)


async def test_a_row_becomes_an_event_with_the_trace_of_its_change(
    narrow: Outbox, app_pool: Pool, spans: InMemorySpanExporter
) -> None:
    event_id, agency_id = uuid4(), uuid4()
    data = {"text": "Ärger", "nested": [1, None]}
    before = datetime.now(UTC)
    async with transaction(app_pool, agency_id) as connection:
        with span("the change"):
            trace_id = current_trace_id()
            row = OutboxRow(event_id, narrow.of.topic.name, 0, "a-key", "Changed", "thing/1", agency_id, data)
            await insert_outbox_rows(connection, [row])
    async with relaying(narrow.pool, narrow.of):
        await narrow.drained()
    (record,) = [record for record in await narrow.of.records() if not is_watermark(record)]
    event = Envelope.model_validate_json(record.value or b"")
    assert (event.event_id, event.type, event.subject) == (event_id, "Changed", "thing/1")
    assert (event.agency_id, event.producer, event.data) == (agency_id, SERVICE, data)
    assert before <= event.occurred_at <= datetime.now(UTC)
    change, publish = spans.get_finished_spans()
    assert publish.kind is SpanKind.PRODUCER
    assert publish.parent is not None
    assert change.context is not None
    assert publish.context is not None
    assert publish.parent.span_id == change.context.span_id
    assert dict(record.headers)["traceparent"].startswith(f"00-{trace_id}-{publish.context.span_id:016x}-".encode())


async def test_a_row_of_another_agency_cannot_be_written(app_pool: Pool) -> None:
    row = OutboxRow(uuid4(), "any", 0, "key", "Changed", "thing/1", uuid4(), {})
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(app_pool, uuid4()) as connection:
            await insert_outbox_rows(connection, [row])


async def test_rows_of_a_transaction_that_rolled_back_are_never_sent(narrow: Outbox) -> None:
    (key,) = keys_of(1)
    async with narrow.pool.acquire() as connection:
        abandoned = connection.transaction()
        await abandoned.start()
        await narrow.add([key], to=connection)
        await abandoned.rollback()
    narrow.written.clear()
    await narrow.add([key])
    async with relaying(narrow.pool, narrow.of):
        await narrow.drained()
    assert await narrow.check_complete_and_in_order() == 0


async def test_a_wake_up_sends_at_once_and_polling_finds_what_nobody_announced(
    narrow: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.relay, "POLL_S", 0.8)
    (key,) = keys_of(1)
    async with relaying(narrow.pool, narrow.of) as relay:
        await narrow.add([key])
        await narrow.drained()
        await asyncio.sleep(0.1)
        await narrow.add([key])
        relay.wake()
        await narrow.drained(timeout_s=0.6)
        await narrow.add([key])
        await narrow.drained(timeout_s=4.0)


async def test_a_relay_ends_whenever_it_is_cancelled(narrow: Outbox) -> None:
    keys = keys_of(3)
    for attempt in range(25):
        relay = Relay(narrow.pool, narrow.of.settings, SERVICE, [narrow.of.topic])
        running = asyncio.create_task(relay.run())
        await narrow.add_many(keys, 5)
        await narrow.drained()  # its producer has started: aiokafka leaks a connection when that is cancelled
        await narrow.add_many(keys, 5)
        relay.wake()
        await asyncio.sleep(0.0005 * attempt)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=3)
        assert done, f"cancelled in attempt {attempt} it went on"
        await relay.close()
    async with relaying(narrow.pool, narrow.of):
        await narrow.drained()
    await narrow.check_complete_and_in_order()


async def test_a_kill_between_send_and_mark_produces_only_duplicates(outbox: Outbox) -> None:
    keys = keys_of(10)
    await outbox.add_many(keys, 200)
    async with outbox.pool.acquire() as locker, locker.transaction():
        await locker.fetch("SELECT id FROM outbox FOR UPDATE")
        async with relaying(outbox.pool, outbox.of) as killed:

            async def all_sent() -> bool | None:
                return sum(map(len, (await outbox.numbers()).values())) >= 200 or None

            await eventually(all_sent, "200 events on the topic", timeout_s=4.5)
            assert await outbox.unsent() == 200
    await killed.close()  # spares the wait for its lease, which another test has
    await outbox.add_many(keys, 100)
    async with relaying(outbox.pool, outbox.of):
        await outbox.drained()
    assert await outbox.check_complete_and_in_order() >= 200


@pytest_asyncio.fixture(loop_scope="session")
async def leaseless(database: DatabaseUrls) -> AsyncIterator[Pool]:
    """A pool that finds a table of leases of its own, so that its relay never meets the lease of another."""
    owner = await asyncpg.connect(database.owner)
    try:
        await owner.execute("CREATE SCHEMA lonely; GRANT USAGE ON SCHEMA lonely TO booking_system")
        await owner.execute("CREATE TABLE lonely.relay_leases (LIKE public.relay_leases INCLUDING ALL)")
        await owner.execute("GRANT ALL ON lonely.relay_leases TO booking_system")
        async with pool_of(f"{database.system}?search_path=lonely,public") as pool:
            yield pool
        await owner.execute("DROP SCHEMA lonely CASCADE")
    finally:
        await owner.close()


async def test_two_relays_on_every_shard_without_a_lease_send_only_duplicates(outbox: Outbox, leaseless: Pool) -> None:
    keys = keys_of(30)
    await outbox.add_many(keys, 1000)
    async with relaying(outbox.pool, outbox.of) as one, relaying(leaseless, outbox.of) as other:
        for _ in range(20):
            await outbox.add_many(keys, 50)
            one.wake()
            other.wake()
            await asyncio.sleep(0.01)
        await outbox.drained()
    assert await outbox.check_complete_and_in_order() > 0, "the relays never met"


async def test_a_row_that_commits_late_is_still_sent(narrow: Outbox) -> None:
    late, early = keys_of(2)
    async with relaying(narrow.pool, narrow.of):
        async with narrow.pool.acquire() as connection, connection.transaction():
            await narrow.add([late, late], to=connection)
            await narrow.add([early] * 20)

            async def later_ids_are_sent() -> bool | None:
                return await narrow.unsent() == 0 or None

            await eventually(later_ids_are_sent, "the rows with later ids sent")
            assert late not in await narrow.numbers()
        await narrow.drained()
    assert await narrow.check_complete_and_in_order() == 0
    ids = await narrow.pool.fetch("SELECT key, min(id) AS first FROM outbox GROUP BY key ORDER BY first")
    assert [row["key"] for row in ids] == [late, early]


@pytest.mark.parametrize("size", [int(4.2 * MIB), 6 * MIB])
async def test_a_row_that_cannot_be_sent_holds_up_its_own_key_only(narrow: Outbox, size: int) -> None:
    bad, *good = keys_of(3)
    await narrow.add([bad, good[0]])
    await narrow.add([bad], size=size)
    await narrow.add([bad, good[0], good[1]])

    async def others_are_sent() -> bool | None:
        return await narrow.unsent() == 2 or None

    async with relaying(narrow.pool, narrow.of) as first:
        await eventually(others_are_sent, "everything but the large row and what waits behind it")
    await first.close()
    reasons = await narrow.pool.fetch("SELECT key, quarantined FROM outbox WHERE quarantined IS NOT NULL")
    assert [row["key"] for row in reasons] == [bad]
    assert "bytes" in reasons[0]["quarantined"]
    await narrow.add([bad, *good])

    async def others_are_sent_again() -> bool | None:
        return await narrow.unsent() == 3 or None

    async with relaying(narrow.pool, narrow.of):
        await eventually(others_are_sent_again, "everything but what waits behind the large row")
    assert await narrow.numbers() == {bad: [0], good[0]: [0, 1, 2], good[1]: [0, 1]}


async def test_the_relay_survives_its_terminated_backends(
    outbox: Outbox, provisioned: Provisioned, database: DatabaseUrls
) -> None:
    keys = keys_of(20)
    admin = await asyncpg.connect(in_database(provisioned.stack.postgres_admin_dsn, database.system.rsplit("/", 1)[1]))
    try:
        async with pool_of(database.system) as pool, relaying(pool, outbox.of) as relay:
            for _ in range(4):
                await outbox.add_many(keys, 200)
                relay.wake()
                await asyncio.sleep(0.02)
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND (query LIKE '%relay_leases%' OR query LIKE '%claimed_at%' OR query LIKE '%SET sent_at%')"
                )
            await outbox.drained()
    finally:
        await admin.close()
    await outbox.check_complete_and_in_order()


async def holders(pool: Pool) -> set[str]:
    return {row["owner"] for row in await pool.fetch("SELECT owner FROM relay_leases WHERE expires_at > now()")}


async def test_one_relay_holds_all_leases_until_it_gives_them_back(outbox: Outbox) -> None:
    async def has_holder() -> set[str] | None:
        return await holders(outbox.pool) or None

    async with relaying(outbox.pool, outbox.of) as first, relaying(outbox.pool, outbox.of):
        (owner,) = await eventually(has_holder, "a holder of the leases")
        await asyncio.sleep(runtime.relay.LEASE_RENEWAL_S + 0.1)
        assert await holders(outbox.pool) == {owner}
        await first.close()


async def test_the_lease_passes_to_a_second_relay_when_the_first_is_gone(outbox: Outbox) -> None:
    (key,) = keys_of(1)

    async def is_held() -> set[str] | None:
        return await holders(outbox.pool) or None

    async with relaying(outbox.pool, outbox.of):
        await outbox.add([key])
        await outbox.drained()
        (first,) = await eventually(is_held, "a holder of the leases")
    async with relaying(outbox.pool, outbox.of):
        await outbox.add([key])
        await asyncio.sleep(0.3)
        assert await holders(outbox.pool) == {first}
        assert await outbox.unsent() == 1
        await outbox.drained(timeout_s=runtime.relay.LEASE_S + 3.0)
        (second,) = await holders(outbox.pool)
        assert second != first
    assert await outbox.check_complete_and_in_order() == 0


async def test_a_relay_that_ends_orderly_leaves_no_lease_to_wait_for(outbox: Outbox) -> None:
    (key,) = keys_of(1)
    async with relaying(outbox.pool, outbox.of) as first:
        await outbox.add([key])
        await outbox.drained()
    await first.close()
    async with relaying(outbox.pool, outbox.of):
        await outbox.add([key])
        await outbox.drained(timeout_s=1.5)
