"""Proves the auditor: silent on a clean ledger, and red for each violation that is injected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from click.testing import CliRunner
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from booking.commands.ledger import audit
from booking.repository import audits as audit_rows
from booking.service import republishing, transitions
from runtime.postgres import Connection
from tests.booking.own_database import OwnLedger, own_ledger, under_another_id
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

DROP_CONSTRAINT = "ALTER TABLE inventory_ranges DROP CONSTRAINT inventory_ranges_no_overlap"
COPY_A_RANGE = """
INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
SELECT gen_random_uuid(), agency_id, property_id, kind, gen_random_uuid(), stay, occupied, created_at
FROM inventory_ranges WHERE property_id = '{house}'"""


@pytest_asyncio.fixture(loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@pytest.fixture(scope="module")
def counts() -> InMemoryMetricReader:
    """What this process counts; the provider can be set only once in a process."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


def counted(reader: InMemoryMetricReader, name: str) -> dict[str, int]:
    """A count by the values of its attributes."""
    found = reader.get_metrics_data()
    points = [
        point
        for resource in (found.resource_metrics if found else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ]
    return {",".join(map(str, (point.attributes or {}).values())): int(point.value) for point in points}


async def house_with_stays(own: OwnLedger, stays: int = 3, agency: UUID | None = None) -> UUID:
    """A property with versions 1 to `stays` + 1."""
    agency = agency or uuid4()
    house = await own.ledger.new_property(agency)
    for number in range(stays):
        await own.ledger.book(agency, house, number * 2, number * 2 + 2, email=f"{number}@example.com")
    return house


async def delete_event(own: OwnLedger, house: UUID, version: int) -> None:
    deleted = await own.ledger.system.pool.execute(
        "DELETE FROM outbox WHERE key = $1 AND (data->>'inventory_version')::bigint = $2", str(house), version
    )
    assert deleted == "DELETE 1"


async def test_a_clean_ledger_has_no_findings_sent_or_not_and_however_often_it_is_audited(own: OwnLedger) -> None:
    agency = uuid4()
    house = await house_with_stays(own, agency=agency)
    await house_with_stays(own)
    await own.relayed()
    assert await own.audited() == []
    made = json.loads((await own.ledger.book(agency, house, 100, 103)).body)
    await transitions.cancel(own.ledger.api, agency, UUID(made["id"]), None)
    assert await own.audited() == []
    await own.relayed()
    assert await own.audited() == []
    positions = await own.ledger.system.pool.fetch("SELECT outbox_version, topic_version FROM audit_positions")
    assert sorted(tuple(row) for row in positions) == [(4, 4), (6, 6)]


async def test_a_row_whose_transaction_began_after_that_of_a_newer_row_is_waited_for(own: OwnLedger) -> None:
    """Ids are drawn in another order than transactions begin: the newest row is committed by the older one."""
    await house_with_stays(own, 1)
    pool = own.ledger.system.pool
    async with pool.acquire() as first, pool.acquire() as second:
        older, younger = first.transaction(), second.transaction()
        await older.start()
        await first.fetchval("SELECT pg_current_xact_id()::text")
        await younger.start()
        row_id = await copied_event(second)
        newest = await copied_event(first)
        await older.commit()
        fence = await audit_rows.select_fence(first)
        assert fence.outbox_id == newest > row_id
        assert not await audit_rows.is_behind(first, fence)
        await younger.rollback()


async def copied_event(connection: Connection) -> int:
    """A row of the outbox like the last one; its id."""
    found = await connection.fetchval(
        """INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data)
           SELECT gen_random_uuid(), topic, shard, key, type, subject, agency_id, occurred_at, data
           FROM outbox ORDER BY id DESC LIMIT 1 RETURNING id"""
    )
    return int(found)


async def test_two_ranges_over_the_same_nights_are_found_without_the_constraint_and_resolve_when_gone(
    own: OwnLedger,
) -> None:
    house = await house_with_stays(own, 1)
    await house_with_stays(own)
    await own.relayed()
    assert await own.audited() == []
    await own.as_admin(DROP_CONSTRAINT, COPY_A_RANGE.format(house=house))
    assert await own.audited() == [("I1", "overlap", house)]
    assert await own.audited() == [("I1", "overlap", house)]
    assert await own.ledger.system.pool.fetchval("SELECT count(*) FROM audit_findings") == 1
    await own.as_admin("DELETE FROM inventory_ranges WHERE ctid = (SELECT max(ctid) FROM inventory_ranges)")
    await own.as_admin(f"DELETE FROM inventory_ranges WHERE property_id = '{house}'")
    assert await own.audited() == []


async def test_findings_and_what_was_checked_are_counted(own: OwnLedger, counts: InMemoryMetricReader) -> None:
    house = await house_with_stays(own, 1)
    await own.relayed()
    assert await own.audited() == []
    before = {name: counted(counts, f"pms.audit.{name}") for name in ("findings", "properties", "events", "cycles")}
    await own.as_admin(DROP_CONSTRAINT, COPY_A_RANGE.format(house=house))
    for _ in range(2):
        assert await own.audited() == [("I1", "overlap", house)]
    assert counted(counts, "pms.audit.findings")["I1"] == before["findings"].get("I1", 0) + 1, "each is counted once"
    assert before["events"][""] >= 2
    for name in ("properties", "cycles"):
        assert counted(counts, f"pms.audit.{name}")[""] > before[name][""]


async def test_a_range_inside_an_earlier_longer_one_is_found_with_its_partner(own: OwnLedger) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    long = json.loads((await own.ledger.book(agency, house, 0, 20)).body)["id"]
    await own.as_admin(DROP_CONSTRAINT)
    for first in (2, 10):  # the range just before the second one does not reach it
        await own.as_admin(
            f"""INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
            SELECT gen_random_uuid(), agency_id, property_id, kind, gen_random_uuid(),
                   daterange(lower(stay) + {first}, lower(stay) + {first + 2}),
                   daterange(lower(stay) + {first}, lower(stay) + {first + 2}), created_at
            FROM inventory_ranges WHERE source_id = '{long}'"""
        )
    async with own.auditor() as auditor:
        await auditor.audit_once()
    found = await own.ledger.system.pool.fetch("SELECT detail FROM audit_findings")
    whole = await own.ledger.system.pool.fetchval("SELECT id FROM inventory_ranges WHERE source_id = $1", UUID(long))
    assert [row["detail"]["range_id"] for row in found] == [str(whole)] * 2


async def test_a_version_without_an_event_is_found_and_again_as_a_gap_when_the_next_event_comes(
    own: OwnLedger,
) -> None:
    agency = uuid4()
    house = await house_with_stays(own, agency=agency)
    await own.relayed()
    await own.ledger.system.pool.execute(
        "UPDATE inventory_versions SET inventory_version = inventory_version + 1 WHERE property_id = $1", house
    )
    assert await own.audited() == [("I10", "last_event_missing", house), ("I8", "not_on_topic", house)]
    await own.ledger.book(agency, house, 200, 202)
    await own.relayed()
    kinds = {kind for _, kind, _ in await own.audited()}
    assert kinds == {"last_event_missing", "not_on_topic", "version_gap", "topic_gap"}


async def test_events_whose_versions_are_in_the_wrong_order_are_found(own: OwnLedger) -> None:
    house = await house_with_stays(own)
    swap = """UPDATE outbox SET data = jsonb_set(data, '{{inventory_version}}', to_jsonb(7 -
              (data->>'inventory_version')::int)) WHERE key = '{house}' AND data->>'inventory_version' IN ('3', '4')"""
    await own.as_admin(swap.format(house=house))
    await own.relayed()
    found = await own.audited()
    assert ("I10", "version_gap", house) in found
    assert ("I10", "version_inversion", house) in found


@pytest.mark.parametrize("version", [2, 4])
async def test_an_unsent_row_that_was_deleted_is_found(own: OwnLedger, version: int) -> None:
    """In the middle it leaves a gap in outbox and topic; as the last one the property is ahead of both."""
    house = await house_with_stays(own)
    await house_with_stays(own)
    await delete_event(own, house, version)
    await own.relayed()
    found = await own.audited()
    middle = [("I10", "topic_gap", house), ("I10", "version_gap", house)]
    assert found == (middle if version == 2 else [("I10", "last_event_missing", house), ("I8", "not_on_topic", house)])


async def test_an_unsent_row_that_was_audited_before_it_was_deleted_is_found(own: OwnLedger) -> None:
    house = await house_with_stays(own)
    assert await own.audited() == []
    await delete_event(own, house, 4)
    await own.relayed()
    assert await own.audited() == [("I8", "not_on_topic", house)]


async def test_an_event_published_twice_under_two_ids_is_found_and_one_published_twice_is_not(own: OwnLedger) -> None:
    house = await house_with_stays(own)
    await own.relayed()
    assert await own.audited() == []
    values = [record.value or b"" for record in await own.records(house)]
    assert len(values) == 4
    await own.publish(house, *values, values[1])
    assert await own.audited() == []
    await own.publish(house, under_another_id(values[2]))
    assert await own.audited() == [("I8", "two_event_ids", house)]


async def test_a_duplicate_from_long_ago_is_looked_up_and_a_ghost_is_not_found(
    own: OwnLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what is remembered, an event id is looked for in the outbox, stretch by stretch."""
    monkeypatch.setattr("booking.service.audits.REMEMBERED_ROWS", 2)
    monkeypatch.setattr("booking.repository.audits.LOOK_UP_ROWS", 2)
    house = await house_with_stays(own)
    await own.relayed()
    await house_with_stays(own, 5)
    await own.relayed()
    assert await own.audited() == []
    values = [record.value or b"" for record in await own.records(house)]
    await own.publish(house, *values)
    assert await own.audited() == []
    await own.publish(house, under_another_id(values[0]), b"{")
    assert await own.audited() == [("I8", "not_in_outbox", house), ("I8", "unreadable", None)]


async def test_a_sent_row_that_is_missing_from_the_outbox_is_found(own: OwnLedger) -> None:
    house = await house_with_stays(own)
    await own.relayed()
    await delete_event(own, house, 3)
    assert await own.audited() == [("I10", "version_gap", house), ("I8", "not_in_outbox", house)]


async def test_a_restart_goes_on_where_the_last_auditor_stopped(own: OwnLedger) -> None:
    agency = uuid4()
    house = await house_with_stays(own, agency=agency)
    await own.relayed()
    assert await own.audited() == []
    await own.ledger.book(agency, house, 100, 102)
    await own.relayed()
    async with own.auditor() as auditor:
        while auditor.totals.records < 1:
            await auditor.audit_once()
        assert (auditor.totals.events, auditor.totals.records) == (1, 1)


async def test_one_auditor_works_at_a_time_and_a_full_pass_takes_over(own: OwnLedger) -> None:
    await house_with_stays(own)
    await own.relayed()
    async with own.auditor() as first:
        await first.audit_once()
        async with own.auditor() as second:
            await second.audit_once()
            assert second.totals.properties == 0
            assert await second.full_pass() == []
            before = first.totals.properties
            await first.audit_once()
            assert first.totals.properties == before
        await first.audit_once()
        assert first.totals.properties > before


async def test_auditing_while_bookings_run_finds_nothing(own: OwnLedger) -> None:
    agency = uuid4()
    houses = [await own.ledger.new_property(agency) for _ in range(3)]

    async def write(house: UUID) -> None:
        for number in range(25):
            await own.ledger.book(agency, house, number, number + 1, email=f"{number}@example.com")

    async with own.auditor() as auditor:
        writers = asyncio.gather(*(write(house) for house in houses))
        while not writers.done():
            await auditor.audit_once()
        await writers
    await own.relayed()
    assert await own.audited() == []


async def test_the_jump_of_a_restore_is_no_finding(own: OwnLedger) -> None:
    """The backup knows less than the topic: what it lost lies below the jump."""
    agency = uuid4()
    house = await house_with_stays(own, agency=agency)
    await own.relayed()
    lost = [under_another_id(record.value or b"") for record in await own.records(house)]
    async for _ in republishing.bump_versions(own.ledger.system):
        pass
    await own.publish(house, *lost)
    await own.ledger.book(agency, house, 100, 102)
    await own.relayed()
    assert await own.audited() == []
    position = await own.ledger.system.pool.fetchrow("SELECT * FROM audit_positions WHERE property_id = $1", house)
    assert position is not None
    assert position["outbox_version"] == position["topic_version"] == position["floor_version"] + 1


async def test_an_event_given_up_by_a_resync_is_no_finding(own: OwnLedger) -> None:
    house = await house_with_stays(own)
    await own.ledger.system.pool.execute(
        "UPDATE outbox SET quarantined = 'too large' WHERE key = $1 AND data->>'inventory_version' = '3'", str(house)
    )
    given_up = await republishing.resync(own.ledger.system, house)
    assert [(event.version, event.reason) for event in given_up] == [(3, "too large")]
    await own.relayed()
    assert len(await own.records(house)) == 3
    assert await own.audited() == []


async def test_the_command_prints_findings_exits_with_1_and_closes_one_by_hand(
    own: OwnLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own.environment().items():
        monkeypatch.setenv(name, value)
    house = await house_with_stays(own)
    await own.relayed()

    async def run(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, audit, ["--topic", own.topic.name, *arguments])
        return result.exit_code, result.output

    assert await run() == (0, "no findings: I1, I8 and I10 hold\n")
    values = [record.value or b"" for record in await own.records(house)]
    await own.publish(house, under_another_id(values[2]))
    code, printed = await run()
    assert code == 1
    assert "two_event_ids" in printed
    assert str(house) in printed
    assert await run("--resolve", "1") == (0, "finding 1 is resolved\n")
    assert (await run())[0] == 0
    assert (await run("--resolve", "1"))[0] == 1
