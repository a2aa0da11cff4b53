"""Proves the use cases on what channels send, on a real database: durable, once, in order, apart."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from channel_sync.domain.channels import NewConnection, NewListing
from channel_sync.domain.errors import ConnectionUnknown, RevisionTooLarge, SignatureInvalid, UnparseableRevision
from channel_sync.domain.paging import Slice
from channel_sync.domain.revisions import MAX_REVISION_BYTES, RevisionResult
from channel_sync.domain.signature import signature_of
from channel_sync.repository import listings as listing_rows
from channel_sync.service import connections, inbound
from channel_sync.service.deps import Deps
from deploy.local.provision import DatabaseUrls
from runtime.idempotency import IdempotencyKey
from runtime.postgres import transaction
from tests.channel_sync.inbound_scene import SECRET, body, connect, map_listing, outbox, send, shown
from tests.clock import clock_ahead

pytestmark = pytest.mark.stack


async def test_a_revision_is_stored_with_its_bytes_and_handed_over_in_one_transaction(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    raw = body(revision_id="r1")

    received = await send(deps, connection_id, raw)

    row = await deps.system_pool.fetchrow("SELECT * FROM inbound_revisions WHERE id = $1", received.log_id)
    assert row is not None
    assert (row["raw"], row["state"], row["agency_id"]) == (raw, "published", agency_id)
    (event,) = await outbox(deps, property_id)
    assert (event["log_id"], event["revision_id"]) == (str(received.log_id), "r1")
    assert event["revision_no"] == row["revision_no"] == 1_775_037_600_000_000
    assert event["guest"] == {"name": "Zoe Guest", "email": "zoe@guest.example"}


async def test_twenty_deliveries_of_one_revision_at_once_are_stored_and_handed_over_once(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    raw = body(revision_id="same")

    answers = await asyncio.gather(*(send(deps, connection_id, raw) for _ in range(20)))

    assert sum(answer.is_new for answer in answers) == 1
    assert len({answer.log_id for answer in answers}) == 1
    assert len(await outbox(deps, property_id)) == 1


async def test_one_revision_id_under_two_codes_at_once_is_stored_once(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)

    answers = await asyncio.gather(
        *(send(deps, connection_id, body(revision_id="same", ota_reservation_code=f"C{n}")) for n in range(8))
    )

    assert sum(answer.is_new for answer in answers) == 1
    assert len(await outbox(deps, property_id)) == 1


async def test_revisions_of_one_instant_get_numbers_of_their_own_however_they_race(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)

    await asyncio.gather(*(send(deps, connection_id, body()) for _ in range(20)))

    numbers = [event["revision_no"] for event in await outbox(deps, property_id)]
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + 20))


async def test_a_wrong_signature_and_an_unknown_connection_are_told_the_same(deps: Deps) -> None:
    connection_id = await connect(deps, uuid4())
    said = []
    for door, secret in ((connection_id, "another secret of 16"), (uuid4(), SECRET), ("no-uuid", SECRET)):
        with pytest.raises(SignatureInvalid) as refused:
            await send(deps, door, body(), secret)
        said.append(str(refused.value))
    raw = body()
    nobodys = signature_of(inbound.NOBODYS_SECRET, "0", raw)
    with pytest.raises(SignatureInvalid):  # whoever reads the source knows that secret
        await inbound.receive_webhook(deps, str(uuid4()), "0", nobodys, raw)
    assert len(set(said)) == 1
    assert (
        await deps.system_pool.fetchval(
            "SELECT count(*) FROM inbound_revisions WHERE connection_id = $1", connection_id
        )
        == 0
    )


async def test_the_replay_window_is_judged_by_the_databases_clock(deps: Deps, database: DatabaseUrls) -> None:
    connection_id = await connect(deps, uuid4())
    async with clock_ahead(database.owner, timedelta(minutes=6)):
        with pytest.raises(SignatureInvalid):
            await send(deps, connection_id, body())
    await send(deps, connection_id, body())


async def test_unreadable_bytes_are_kept_once_and_a_corrected_copy_is_applied(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    await map_listing(deps, agency_id, connection_id)
    broken = body(revision_id="r1", check_in="yesterday")
    log_ids = []
    for _ in range(2):
        with pytest.raises(UnparseableRevision) as refused:
            await send(deps, connection_id, broken)
        assert refused.value.field == "check_in"
        log_ids.append(refused.value.log_id)

    assert len(set(log_ids)) == 1
    row = await deps.system_pool.fetchrow("SELECT * FROM inbound_revisions WHERE id = $1", log_ids[0])
    assert row is not None
    assert (row["state"], row["raw"]) == ("unparseable", broken)
    assert row["settled_at"] is not None
    assert "check_in" in row["reason"]
    assert (await send(deps, connection_id, body(revision_id="r1"))).is_new


async def test_an_unmapped_revision_is_kept_and_not_handed_over(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)

    received = await send(deps, connection_id, body())

    (stored,) = (await inbound.list_revisions(deps, agency_id, connection_id, "unmapped", Slice(10))).items
    assert stored.log_id == received.log_id
    assert stored.reason is not None


async def test_a_revision_waits_for_a_mapping_of_its_listing_that_is_being_made(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    new = NewListing(uuid4(), "L1", None)
    async with transaction(deps.pool, agency_id) as conn:
        await listing_rows.lock_listing(conn, connection_id, "L1", exclusive=True)
        ids = (uuid4(), uuid4())
        await listing_rows.insert_listing(
            conn, agency_id, connection_id, new, ids=ids, version=1, traceparent=None, calendar_token=None
        )
        sending = asyncio.create_task(send(deps, connection_id, body()))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done
    await sending
    assert len(await outbox(deps, new.property_id)) == 1


async def test_the_topic_and_the_webhook_are_two_doors_to_one_room(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    raw = body(revision_id="r1")

    by_topic = await inbound.receive_record(deps, str(connection_id), raw)
    by_webhook = await send(deps, connection_id, raw)

    assert (by_topic.is_new, by_webhook.is_new) == (True, False)
    assert by_topic.log_id == by_webhook.log_id


async def test_what_the_topic_brings_and_nobody_can_read_is_kept_once_for_its_connection(deps: Deps) -> None:
    connection_id = await connect(deps, uuid4())
    for _ in range(2):
        with pytest.raises(UnparseableRevision):
            await inbound.receive_record(deps, str(connection_id), b"{")
    kept = await deps.system_pool.fetch(
        "SELECT raw, source, state FROM inbound_revisions WHERE connection_id = $1", connection_id
    )
    assert [tuple(row) for row in kept] == [(b"{", "kafka", "unparseable")]


async def test_the_topic_stores_nothing_of_an_unknown_connection_and_nothing_too_large(deps: Deps) -> None:
    connection_id = await connect(deps, uuid4())
    with pytest.raises(ConnectionUnknown):
        await inbound.receive_record(deps, "nobody", body())
    with pytest.raises(RevisionTooLarge):
        await inbound.receive_record(deps, str(connection_id), b" " * (MAX_REVISION_BYTES + 1))
    assert not await deps.system_pool.fetchval(
        "SELECT count(*) FROM inbound_revisions WHERE connection_id = $1", connection_id
    )


async def test_what_booking_decided_is_noted_once_and_only_for_the_agency_it_belongs_to(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body(revision_id="r1"))
    reservation_id = uuid4()

    def result(outcome: str) -> RevisionResult:
        return RevisionResult(connection_id, "r1", outcome, None, reservation_id, None)

    await inbound.settle(deps, uuid4(), result("superseded"))
    await inbound.settle(deps, agency_id, result("applied"))
    await inbound.settle(deps, agency_id, result("duplicate"))

    (stored,) = (await inbound.list_revisions(deps, agency_id, None, None, Slice(10))).items
    assert (stored.state, stored.reservation_id) == ("applied", reservation_id)
    assert stored.settled_at is not None


async def test_a_parked_revision_may_still_be_applied(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body(revision_id="r1"))
    for outcome in ("parked", "applied"):
        await inbound.settle(deps, agency_id, RevisionResult(connection_id, "r1", outcome, None, None, None))
    (stored,) = (await inbound.list_revisions(deps, agency_id, None, "applied", Slice(10))).items
    assert stored.revision_id == "r1"


async def test_a_revision_without_an_outcome_is_handed_over_again_after_ten_minutes(
    deps: Deps, database: DatabaseUrls
) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body(revision_id="waiting"))
    await send(deps, connection_id, body(revision_id="decided"))
    await inbound.settle(deps, agency_id, RevisionResult(connection_id, "decided", "applied", None, None, None))

    async with clock_ahead(database.owner, timedelta(minutes=9)):
        await inbound.hand_over_again(deps)
    assert len(await outbox(deps, property_id)) == 2
    async with clock_ahead(database.owner, timedelta(minutes=11)):
        await inbound.hand_over_again(deps)
        await inbound.hand_over_again(deps)

    events = await outbox(deps, property_id)
    assert [event["revision_id"] for event in events] == ["waiting", "decided", "waiting"]
    assert events[0] == events[2]


async def test_pages_of_revisions_are_whole_and_newest_first(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    sent = [(await send(deps, connection_id, body())).log_id for _ in range(5)]

    seen, after = [], None
    for _ in range(3):
        page = await inbound.list_revisions(deps, agency_id, None, None, Slice(2, after))
        seen += [stored.log_id for stored in page.items]
        after = page.last
    assert seen == sent[::-1]
    assert after is None


async def test_no_agency_sees_or_writes_rows_of_another(deps: Deps) -> None:
    agency_id, other = uuid4(), uuid4()
    connection_id = await connect(deps, agency_id)
    await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body())
    tables = ("connections", "listings", "inbound_revisions", "outbox")
    for seen_by, expected in ((agency_id, True), (other, False)):
        async with transaction(deps.pool, seen_by) as conn:
            counts = [await conn.fetchval(f"SELECT count(*) FROM {table}") for table in tables]
        assert [count > 0 for count in counts] == [expected] * len(tables)
    assert await deps.pool.fetchval("SELECT count(*) FROM connections") == 0, "without an agency nothing is seen"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(deps.pool, other) as conn:
            await conn.execute(
                "INSERT INTO connections SELECT $1, $2, 'x', 'x', 'x', '', '{}', true, now(), now()", uuid4(), agency_id
            )


async def test_a_secret_lies_nowhere_readable_and_a_retry_of_its_creation_shows_it_again(deps: Deps) -> None:
    agency_id = uuid4()
    new = NewConnection("Channel", "generic-json", "http://127.0.0.1:9/push", {}, None)
    key = IdempotencyKey(agency_id, "tester", "key-1", "fingerprint")

    answers = await asyncio.gather(*(connections.create_connection(deps, agency_id, new, key, shown) for _ in range(5)))

    assert len({answer.body for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    secret = json.loads(answers[0].body)["secret"]
    assert len(secret) >= 32
    for table in ("connections", "idempotency_keys", "outbox"):
        rows = await deps.system_pool.fetch(f"SELECT t::text AS text FROM {table} AS t WHERE agency_id = $1", agency_id)
        assert not any(secret in row["text"] or secret.encode().hex() in row["text"] for row in rows)
    assert len(await deps.system_pool.fetch("SELECT 1 FROM connections WHERE agency_id = $1", agency_id)) == 1
    (stored,) = (await connections.list_connections(deps, agency_id, Slice(10))).items
    raw = body()
    assert (await send(deps, stored.id, raw, secret)).is_new
