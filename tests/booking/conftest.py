"""Owns what booking's tests share: a migrated database, its two pools, and records made in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.model import Block, Property
from booking.service import blocks, groups, properties, reservations
from booking.service.writing import Deps
from deploy.local.prepare import migrate_database
from deploy.local.provision import in_database
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection, create_pool
from tests.conftest import Provisioned

PARTITIONS = 6
TTL = timedelta(minutes=30)
FIRST_NIGHT = date(2027, 5, 1)


def night(offset: int) -> date:
    """A date counted from the first night of the test calendar."""
    return FIRST_NIGHT + timedelta(days=offset)


@dataclass(frozen=True)
class Ledger:
    """Booking's database with the dependencies of the API and of the workers."""

    api: Deps
    system: Deps
    admin_dsn: str
    owner_dsn: str

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Connection]:
        """A connection of the database's owner, who may change its functions."""
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def new_property(self, agency_id: UUID, preparation_days: int = 0) -> UUID:
        """A property of the agency."""
        record = make_property(agency_id, preparation_days)
        await properties.create(self.api, record, None)
        return record.id

    async def book(
        self,
        agency_id: UUID,
        property_id: UUID,
        first: int,
        last: int,
        *,
        status: str = "confirmed",
        key: IdempotencyKey | None = None,
        email: str = "guest@example.com",
        ttl: timedelta = TTL,
        hold_id: UUID | None = None,
    ) -> StoredAnswer:
        """Book the nights `[first, last)`, counted from the first night."""
        draft = BookingDraft(
            property_id,
            night(first),
            night(last),
            2,
            0,
            0,
            status,
            None,
            GuestDraft(name="Guest", email=email),
            hold_id,
        )
        book = reservations.book if hold_id is None else groups.book_hold
        return await book(replace(self.api, pending_ttl=ttl), agency_id, draft, key)

    async def block(self, agency_id: UUID, property_id: UUID, first: int, last: int) -> StoredAnswer:
        """Block the nights `[first, last)`."""
        block = Block(uuid4(), agency_id, property_id, night(first), night(last), None, "manual", True)
        return await blocks.create(self.api, block, None)


def make_property(agency_id: UUID, preparation_days: int = 0) -> Property:
    """A property that is not stored yet."""
    return Property(uuid4(), agency_id, "Casa", "Europe/Lisbon", "EUR", 4, preparation_days, 0, 730, "15:00", "11:00")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger(provisioned: Provisioned) -> AsyncIterator[Ledger]:
    """A migrated booking database."""
    urls = provisioned.databases.booking
    await migrate_database("booking", urls)
    app = await create_pool(urls.app, size=10, application_name="test-app")
    system = await create_pool(urls.system, size=5, application_name="test-system")
    admin = in_database(provisioned.stack.postgres_admin_dsn, "pms_booking")
    yield Ledger(Deps(app, _sleep_on, PARTITIONS, TTL), Deps(system, _sleep_on, PARTITIONS, TTL), admin, urls.owner)
    await app.close()
    await system.close()


def _sleep_on() -> None:
    """No relay runs in these tests."""
