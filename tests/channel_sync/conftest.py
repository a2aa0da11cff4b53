"""Owns what the tests of channel-sync share: a database of their own, and the real service beside the real booking."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import orjson
import pytest
import pytest_asyncio

from channel_sync.adapters import ADAPTERS
from channel_sync.clients.booking import BookingClient
from channel_sync.clients.channels import ChannelClient
from channel_sync.main import NAME
from channel_sync.service.deps import Cipher, Deps, PushLimits
from channel_sync.service.ledger_reads import LedgerReads
from deploy.local.ports import free_port
from deploy.local.prepare import create_all_topics, migrate_database, migrate_databases
from deploy.local.provision import DatabaseUrls, create_database
from deploy.local.services import BOOKING, CHANNEL_SYNC, Ports, Suite
from deploy.local.supervisor import Supervisor
from runtime.http_client import HttpClient
from runtime.postgres import create_pool
from runtime.tokens import issue_token
from tests.conftest import Provisioned
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.waiting import eventually

Found = TypeVar("Found")

# Retries and the wait after an unknown outcome take seconds here, not tens of seconds.
QUICK = {
    "PUSH_TIMEOUT_S": "1",
    "PUSH_SETTLE_S": "1",
    "PUSH_LEASE_S": "8",
    "BOOKING_TIMEOUT_S": "2",
    "BREAKER_S": "1",
    "FEED_POLL_S": "1",
    "CALENDAR_POLL_S": "0.3",
    "CALENDAR_GRACE_S": "2",
    "HORIZON_DAYS": "365",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(provisioned: Provisioned) -> DatabaseUrls:
    """A migrated database that no running service touches, with the roles of channel-sync's own."""
    name = f"pms_channel_sync_{uuid.uuid4().hex[:8]}"
    await create_database(provisioned.stack.postgres_admin_dsn, "channel_sync", name)
    moved = provisioned.databases.channel_sync.moved_to(name)
    await migrate_database(NAME, moved)
    return moved


@pytest_asyncio.fixture(loop_scope="session")
async def ota() -> AsyncIterator[OtaSimulator]:
    """A channel."""
    async with OtaSimulator() as simulator:
        yield simulator


@asynccontextmanager
async def use_cases(urls: DatabaseUrls, provisioned: Provisioned, booking_url: str) -> AsyncIterator[Deps]:
    """What the use cases stand on, in this process, on a database of its own."""
    async with AsyncExitStack() as stack:
        pools = [await create_pool(url, size=10, application_name="tests") for url in (urls.app, urls.system)]
        for pool in pools:
            stack.push_async_callback(pool.close)
        booking = await stack.enter_async_context(HttpClient(booking_url, peer="booking", timeout_s=2))
        channels = await stack.enter_async_context(ChannelClient(0.5, allows_private=True))
        ledger = BookingClient(booking, provisioned.secrets.jwt_secret)
        yield Deps(
            pool=pools[0],
            system_pool=pools[1],
            cipher=Cipher(provisioned.secrets.credentials_key),
            booking=ledger,
            reads=LedgerReads(ledger, 365),
            channels=channels,
            adapters=ADAPTERS,
            partitions=6,
            public_url="https://suite.example",
            process="tests",
            push=PushLimits(
                timeout_s=0.5,
                settle_s=1.0,
                lease_s=5.0,
                gather_s=0.0,
                listings_at_once=50,
                breaker_failures=5,
                breaker_s=1.0,
                batch_window_s=5.0,
                feed_poll_s=60.0,
                calendar_poll_s=60.0,
                calendar_grace_s=1.0,
            ),
            wake_relay=lambda: None,
            wake_pusher=lambda: None,
        )


@pytest_asyncio.fixture(loop_scope="session")
async def deps(database: DatabaseUrls, provisioned: Provisioned) -> AsyncIterator[Deps]:
    """The use cases in this process; booking does not answer."""
    async with use_cases(database, provisioned, f"http://127.0.0.1:{free_port()}") as made:
        yield made


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Agency:
    """One agency talking to the services directly, with a token of its own."""

    suite: Suite
    session: aiohttp.ClientSession
    id: uuid.UUID = field(default_factory=uuid.uuid4)

    async def call(
        self, service: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request with this agency's token."""
        token = issue_token(self.suite.secrets.jwt_secret, subject="tester", agency_id=self.id, roles=["host"])
        data = orjson.dumps(body) if body is not None else None
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}
        async with self.session.request(method, self.suite.url(service) + path, data=data, headers=sent) as response:
            text = await response.read()
            return Answer(response.status, orjson.loads(text) if text else None, response.headers)

    async def post(self, service: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """A creating request that must succeed; the answer's body."""
        answer = await self.call(service, "POST", path, body, headers)
        assert answer.status in (200, 201), answer
        return answer.body

    async def get(self, service: str, path: str) -> Any:
        """A read that must succeed; the answer's body."""
        answer = await self.call(service, "GET", path)
        assert answer.status == 200, answer
        return answer.body

    async def new_property(self, preparation_days: int = 0, time_zone: str = "Europe/Lisbon") -> str:
        """A property in booking; its id."""
        body = {
            "name": "Casa",
            "time_zone": time_zone,
            "currency": "EUR",
            "max_occupancy": 4,
            "preparation_days": preparation_days,
        }
        return str((await self.post(BOOKING, "/properties", body))["id"])

    async def book(self, property_id: str, check_in: date, check_out: date, **headers: str) -> Any:
        """A direct booking; the reservation."""
        body = {
            "property_id": property_id,
            "check_in": check_in.isoformat(),
            "check_out": check_out.isoformat(),
            "occupancy": {"adults": 2},
            "guest": {"name": "Ana Direct", "email": "ana@direct.example"},
        }
        return await self.post(BOOKING, "/bookings", body, headers)

    async def connect(self, ota: OtaSimulator) -> Any:
        """A connection to a channel; its answer."""
        body = {
            "name": "Simulator",
            "adapter": "generic-json",
            "endpoint_url": ota.endpoint_url,
            "secret": ota.secret,
        }
        return await self.post(CHANNEL_SYNC, "/channel-connections", body)

    async def map_listing(self, connection_id: str, property_id: str, ota_listing_id: str) -> Any:
        """A listing mapped to a property."""
        body = {"property_id": property_id, "ota_listing_id": ota_listing_id}
        return await self.post(CHANNEL_SYNC, f"/channel-connections/{connection_id}/listings", body)

    async def revision(self, log_id: str) -> Any:
        """A stored revision, by its log id."""
        found = await self.get(CHANNEL_SYNC, "/inbound-revisions?limit=200")
        return next((item for item in found["items"] if item["log_id"] == log_id), None)

    async def settled(self, log_id: str) -> Any:
        """A stored revision once booking has decided it."""

        async def look() -> Any:
            found = await self.revision(log_id)
            return found if found is not None and "settled_at" in found else None

        return await eventually(look, f"an outcome of revision {log_id}")

    def inbound_url(self, connection: Any) -> str:
        """Where this service takes revisions; the public address belongs to the gateway, which is not here."""
        return f"{self.suite.url(CHANNEL_SYNC)}/inbound/{connection['id']}"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def suite(provisioned: Provisioned, supervisor: Supervisor) -> AsyncIterator[Suite]:
    """Booking and channel-sync as processes; stopped after this package."""
    suite = Suite(
        provisioned.stack.kafka_bootstrap, provisioned.databases, provisioned.secrets, Ports.free(), extra=QUICK
    )
    await migrate_databases(suite.databases)
    await create_all_topics(suite)
    specs = [suite.process(service, name=f"{service} of channel-sync's tests") for service in (BOOKING, CHANNEL_SYNC)]
    try:
        for spec in specs:
            await asyncio.to_thread(supervisor.start, spec)
        yield suite
    finally:
        for spec in reversed(specs):
            await asyncio.to_thread(supervisor.stop, spec.name)


@pytest_asyncio.fixture(loop_scope="session")
async def agency(suite: Suite) -> AsyncIterator[Agency]:
    """A new agency."""
    async with aiohttp.ClientSession() as session:
        yield Agency(suite, session)


@pytest.fixture
def soon() -> date:
    """A date some weeks ahead, in no zone's past."""
    return datetime.now(UTC).date() + timedelta(days=30)


@dataclass(frozen=True)
class Listed:
    """One property listed as `L1` at one channel, told open once."""

    agency: Agency
    ota: OtaSimulator
    connection_id: str
    property_id: str

    async def operations(self) -> Any:
        """Every attempt, oldest first."""
        path = f"/channel-connections/{self.connection_id}/operations?limit=200"
        return (await self.agency.get(CHANNEL_SYNC, path))["items"][::-1]

    async def listing(self) -> Any:
        """The listing."""
        path = f"/channel-connections/{self.connection_id}/listings"
        return (await self.agency.get(CHANNEL_SYNC, path))["items"][0]

    async def clean(self) -> Any:
        """The listing once the channel was told everything."""

        async def look() -> Any:
            found = await self.listing()
            return None if found["dirty"] else found

        return await eventually(look, "a clean listing")

    async def book(self, first_night: date, nights: int = 1) -> Any:
        """A direct booking of the property."""
        return await self.agency.book(self.property_id, first_night, first_night + timedelta(days=nights))


@pytest_asyncio.fixture(loop_scope="session")
async def listed(agency: Agency, ota: OtaSimulator, soon: date) -> Listed:
    """A property listed at a channel."""
    connection = await agency.connect(ota)
    property_id = await agency.new_property(preparation_days=1)
    await agency.map_listing(connection["id"], property_id, "L1")
    await ota.wait_until("L1", soon, "open")
    found = Listed(agency, ota, connection["id"], property_id)
    await found.clean()
    return found
