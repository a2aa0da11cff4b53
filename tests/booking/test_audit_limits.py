"""Proves the auditor where it depends on others: a broker that is frozen, and a ledger that is older than it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from booking.service import audits
from deploy.local.kafka import KAFKA
from deploy.local.prepare import MIGRATIONS, migrate_database
from deploy.local.provision import DatabaseUrls
from deploy.local.supervisor import Supervisor
from runtime.kafka import partition_of
from runtime.migrate import FLOOR, migrate, read_migrations
from tests.booking import own_database
from tests.booking.own_database import PARTITIONS, OwnLedger, own_ledger
from tests.booking.test_audits import COPY_A_RANGE, DROP_CONSTRAINT, delete_event, house_with_stays
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

BEFORE_AUDITS = 5
"""The last migration without an auditor."""


@pytest_asyncio.fixture(loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing inside the block; its sockets still take what is sent."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_frozen_broker_does_not_keep_the_auditor_from_the_database(
    own: OwnLedger, provisioned: Provisioned, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many steps go on while the topic answers nothing, and it is read on when it answers again."""
    if KAFKA not in supervisor.names():
        pytest.skip("needs the embedded Kafka: unset KAFKA_BOOTSTRAP_SERVERS and PMS_STACK")
    monkeypatch.setattr(audits, "TOPIC_TIMEOUT_S", 1.0)
    monkeypatch.setattr(audits, "TOPIC_PAUSE_S", 3.0)
    house = await house_with_stays(own, 1)
    await own.relayed()
    async with own.auditor() as auditor:
        await auditor.audit_once()
        await own.as_admin(DROP_CONSTRAINT, COPY_A_RANGE.format(house=house))
        with frozen(supervisor.pid(KAFKA)):
            began = time.monotonic()
            await auditor.audit_once()
            assert await findings(own) == [("I1", "overlap", house)]
            steps = 1
            while time.monotonic() - began < 8:
                await auditor.audit_once()
                steps += 1
        assert steps > 20
    assert await own.audited() == [("I1", "overlap", house)]


async def findings(own: OwnLedger) -> list[tuple[str, str, UUID | None]]:
    rows = await own.ledger.system.pool.fetch("SELECT invariant, kind, property_id FROM audit_findings")
    return sorted((row["invariant"], row["kind"], row["property_id"]) for row in rows)


@asynccontextmanager
async def older_ledger(
    provisioned: Provisioned, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OwnLedger]:
    """A ledger of the time before there was an auditor; `folder` takes the migrations of then."""
    for path in MIGRATIONS["booking"].glob("*.sql"):
        if int(path.name[:4]) <= BEFORE_AUDITS:
            (folder / path.name).write_bytes(path.read_bytes())

    async def migrate_as_then(service: str, urls: DatabaseUrls) -> None:
        names = {role: urlsplit(url).username or "" for role, url in (("app", urls.app), ("system", urls.system))}
        files = [*read_migrations("floor", FLOOR, names), *read_migrations(service, folder, names)]
        await migrate(urls.owner, files)

    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(own_database, "migrate_database", migrate_as_then)
            own = await stack.enter_async_context(own_ledger(provisioned))
        yield own


async def test_properties_older_than_the_auditor_are_audited_from_the_version_they_had(
    provisioned: Provisioned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first events were purged long ago, or never had been audited: no finding; whatever comes later counts."""
    agency, old = uuid4(), uuid4()
    async with older_ledger(provisioned, tmp_path, monkeypatch) as own:
        await own.as_admin(
            f"""INSERT INTO properties (id, agency_id, name, time_zone, currency, max_occupancy, preparation_days,
                    lead_time_hours, booking_window_days, check_in_time, check_out_time, created_at, updated_at)
                VALUES ('{old}', '{agency}', 'Casa', 'Europe/Lisbon', 'EUR', 4, 0, 0, 730, '15:00', '11:00',
                        now(), now())""",
            f"""INSERT INTO inventory_versions (property_id, agency_id, shard, inventory_version, rules_version)
                VALUES ('{old}', '{agency}', {partition_of(str(old), PARTITIONS)}, 7, 1)""",
        )
        await migrate_database("booking", own.urls)
        floors = await own.ledger.system.pool.fetch("SELECT property_id, floor_version FROM audit_positions")
        assert [tuple(row) for row in floors] == [(old, 7)]
        assert await own.audited() == []
        await own.ledger.book(agency, old, 0, 2)
        await own.ledger.book(agency, old, 2, 4, email="second@example.com")
        await house_with_stays(own, 1)
        await own.relayed()
        assert await own.audited() == []
        await own.ledger.book(agency, old, 4, 6, email="third@example.com")
        await delete_event(own, old, 10)
        await own.ledger.book(agency, old, 6, 8, email="fourth@example.com")
        await own.relayed()
        found = await own.audited()
    assert {(invariant, house) for invariant, _, house in found} == {("I10", old)}
