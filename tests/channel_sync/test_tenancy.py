"""Proves that channel-sync keeps agencies apart: every table's rows under row security, and every id a route takes.

Tables, routes and parameters are enumerated from the catalogue and the OpenAPI document, so a new one is covered or
fails here. What the catalogue says of policies is held in tests/channel_sync/test_row_security.py.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from channel_sync.main import build
from channel_sync.settings import ChannelSyncSettings
from deploy.local.services import CHANNEL_SYNC, Suite
from runtime.postgres import Pool, create_pool, transaction
from tests.booking.bad_values import fields_of
from tests.booking.served import Operation, operations_of
from tests.channel_sync.conftest import Agency, Answer
from tests.channel_sync.tenant import KEY, Tenant, seeded, sell
from tests.e2e.infra.ota_simulator import OtaSimulator

pytestmark = pytest.mark.stack

AGENCY_TABLES = """
SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'agency_id' AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1"""
# What the application role may do besides reading. Of other tables it may change some columns, never the agency.
INSERTED = {
    *("connections", "feeds", "idempotency_keys", "inbound_revisions", "listings", "outbox"),
    *("sync_batches", "sync_operations"),
}
UPDATED = {"inbound_revisions"}
DELETED = {"listings", "sync_batches", "sync_operations"}


def document_of_channel_sync() -> dict[str, Any]:
    """The OpenAPI document of channel-sync's application; connects to nothing."""
    nowhere = ("database_url", "system_database_url", "kafka_bootstrap_servers", "booking_url", "public_url")
    keys = {"jwt_secret": "s" * 32, "credentials_key": Fernet.generate_key().decode()}
    settings = ChannelSyncSettings.model_validate({"port": 1, **keys, **dict.fromkeys(nowhere, "x")})
    return build(settings, frozenset({"api"})).openapi()


DOCUMENT = document_of_channel_sync()
# The webhook is no agency's: it is judged by its signature.
SIGNED = "POST /inbound/{connection_id}"
# A calendar is nobody's who does not know its address.
CALENDAR = "GET /ical/{token}"
MAP_LISTING = "POST /channel-connections/{connection_id}/listings"
PATH_IDS = {"connection_id", "listing_id", "batch_id", "log_id", "token"}
BODIES: dict[str, Any] = {
    "PATCH /channel-connections/{connection_id}": {"enabled": False},
    "PATCH /channel-connections/{connection_id}/listings/{listing_id}": {"close_out": True},
    "POST /channel-connections/{connection_id}/sync": {"sync_type": "full"},
}
# The agency's own is found: it is mapped already, and did not fail.
REPROCESS = "POST /inbound-revisions/{log_id}/reprocess"
FOUND_BUT_REFUSED = {MAP_LISTING, "POST /sync-operations/{log_id}/retry"}
OPERATIONS = {operation.name: operation for operation in operations_of(DOCUMENT)}
WITH_IDS = [o for o in OPERATIONS.values() if o.parameters("path") and o.name not in (SIGNED, CALENDAR)]
LISTS = [o for o in OPERATIONS.values() if o.method == "GET" and not o.parameters("path")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pools(suite: Suite) -> AsyncIterator[tuple[Pool, Pool]]:
    """The application's and the system's role in the database of the running service."""
    urls = suite.databases.channel_sync
    async with AsyncExitStack() as stack:
        made = [await create_pool(url, size=2, application_name="tests") for url in (urls.app, urls.system)]
        for pool in made:
            stack.push_async_callback(pool.close)
        yield made[0], made[1]


@pytest.fixture(scope="module")
def app(pools: tuple[Pool, Pool]) -> Pool:
    """The application's role."""
    return pools[0]


@pytest.fixture(scope="module")
def system(pools: tuple[Pool, Pool]) -> Pool:
    """The system's role, which sees every agency."""
    return pools[1]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenants(suite: Suite, system: Pool) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """Two agencies that have the same."""
    async with aiohttp.ClientSession() as session, OtaSimulator() as first, OtaSimulator() as second:
        yield (
            await seeded(Agency(suite, session), first, system),
            await seeded(Agency(suite, session), second, system),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tables(system: Pool) -> list[str]:
    """Every table that names an agency."""
    return [row["relname"] for row in await system.fetch(AGENCY_TABLES)]


async def stored(system: Pool, tables: list[str], tenant: Tenant) -> dict[str, int]:
    """How many rows of an agency each table has."""
    query = "SELECT count(*) FROM {table} WHERE agency_id = $1"
    return {table: await system.fetchval(query.format(table=table), tenant.agency.id) for table in tables}


async def test_the_application_role_sees_its_agencys_rows_alone_in_every_table(
    app: Pool, system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    assert len(tables) > 6
    for mine, other in (tenants, tenants[::-1]):
        rows = await stored(system, tables, mine)
        assert {table for table, count in rows.items() if not count} == set(), "tables without a seeded row"
        for table in tables:
            async with transaction(app, mine.agency.id) as connection:
                assert await connection.fetchval(f"SELECT count(*) FROM {table}") == rows[table], table
                seen = await connection.fetch(f"SELECT DISTINCT agency_id FROM {table}")
                assert [row["agency_id"] for row in seen] == [mine.agency.id], table
                query = f"SELECT count(*) FROM {table} WHERE agency_id = $1"
                assert await connection.fetchval(query, other.agency.id) == 0, table


async def test_without_an_agency_or_with_an_unknown_one_the_application_role_sees_no_row(
    app: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    for table in tables:
        query = f"SELECT count(*) FROM {table}"
        assert await app.fetchval(query) == 0, table
        for agency_id in (None, uuid4()):
            async with transaction(app, agency_id) as connection:
                assert await connection.fetchval(query) == 0, table
        async with transaction(app, None) as connection:
            await connection.execute("SELECT set_config('app.agency_id', '', true)")
            assert await connection.fetchval(query) == 0, table


async def test_the_application_role_changes_and_deletes_no_row_of_another_agency_in_any_table(
    app: Pool, system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = (tenant.agency.id for tenant in tenants)
    before = [await stored(system, tables, tenant) for tenant in tenants]
    updated: set[str] = set()
    deleted: set[str] = set()
    for table in tables:
        for statement, done, said in (
            (f"UPDATE {table} SET agency_id = '{mine}' WHERE agency_id = '{other}'", updated, "UPDATE 0"),
            # What would reach every row reaches the agency's own.
            (f"UPDATE {table} SET agency_id = agency_id", updated, f"UPDATE {before[0][table]}"),
            (f"DELETE FROM {table} WHERE agency_id = '{other}'", deleted, "DELETE 0"),
        ):
            try:
                async with transaction(app, mine) as connection:
                    assert await connection.execute(statement) == said, table
                done.add(table)
            except asyncpg.InsufficientPrivilegeError:
                continue
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with transaction(app, mine) as connection:
                await connection.execute(f"UPDATE {table} SET agency_id = '{other}'")
    assert (updated, deleted) == (UPDATED, DELETED)
    assert [await stored(system, tables, tenant) for tenant in tenants] == before


class WentIn(Exception):
    """The row was accepted; what inserted it is rolled back."""


# A connection has one feed: another one like it is refused for that alone.
GONE_IN: dict[str, type[Exception]] = {"feeds": asyncpg.UniqueViolationError}


async def insert(pool: Pool, agency_id: UUID | None, table: str, row: dict[str, Any]) -> None:
    """Raises `WentIn`, or what the database has against the row."""
    statement = f"""
    INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(null::{table}, $1::jsonb)"""
    async with transaction(pool, agency_id) as connection:
        assert await connection.execute(statement, row) == "INSERT 0 1"
        raise WentIn


async def like_one_of(system: Pool, table: str, tenant: Tenant) -> dict[str, Any]:
    """A row as the agency has one in the table, with identities of its own."""
    query = f"SELECT to_jsonb(t) FROM {table} AS t WHERE agency_id = $1 LIMIT 1"
    row: dict[str, Any] = await system.fetchval(query, tenant.agency.id)
    own = ("id", "log_id", "key", "bucket", "ota_listing_id", "ota_reservation_code", "revision_id", "calendar_token")
    return row | {name: -1 if isinstance(row[name], int) else str(uuid4()) for name in own if name in row}


async def test_the_application_role_makes_no_row_in_another_agencys_name_in_any_table(
    app: Pool, system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    inserted = set()
    for table in tables:
        row = await like_one_of(system, table, other)
        for agency_id in (mine.agency.id, None):
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
                await insert(app, agency_id, table, row)
        if "row-level security" in str(refusal.value):
            inserted.add(table)
            # The same row under its own agency goes in: nothing else was against it.
            with pytest.raises(GONE_IN.get(table, WentIn)):
                await insert(app, other.agency.id, table, row)
    assert inserted == INSERTED


async def test_no_row_of_one_agency_can_hang_on_a_connection_of_another_whoever_writes_it(
    system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    hanging = set()
    for table in tables:
        row = await like_one_of(system, table, mine)
        if "connection_id" in row:
            hanging.add(table)
            with pytest.raises(GONE_IN.get(table, WentIn)):
                await insert(system, None, table, row)
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await insert(system, None, table, row | {"connection_id": other.ids["connection_id"]})
    assert hanging == {
        *("call_budgets", "erased_reservations", "feeds", "inbound_revisions", "listings"),
        *("sync_batches", "sync_operations"),
    }


def without_trace(answer: Answer) -> tuple[int, Any, set[str]]:
    """An answer but for what is another in each."""
    return answer.status, {**answer.body, "trace_id": ""}, set(answer.headers)


def test_every_id_that_a_public_route_takes_is_tried() -> None:
    assert {parameter["name"] for o in OPERATIONS.values() for parameter in o.parameters("path")} == PATH_IDS
    assert len(WITH_IDS) == 16
    queries = {(o.name, parameter["name"]) for o in OPERATIONS.values() for parameter in o.parameters("query")}
    assert {query for query in queries if query[1].endswith("_id")} == {("GET /inbound-revisions", "connection_id")}
    in_bodies = {
        (name, path)
        for name, operation in OPERATIONS.items()
        if operation.body_schema is not None and name != SIGNED
        for path in fields_of(DOCUMENT, operation.body_schema)
        if str(path[-1]).endswith("_id") and not str(path[-1]).startswith("ota_")
    }
    assert in_bodies == {(MAP_LISTING, ("property_id",))}


@pytest.mark.parametrize("operation", WITH_IDS, ids=lambda operation: operation.name)
async def test_a_foreign_id_and_a_missing_one_get_the_same_404_and_change_nothing(
    operation: Operation, system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    body = mine.listing if operation.name == MAP_LISTING else BODIES.get(operation.name)
    before = [await stored(system, tables, tenant) for tenant in tenants]
    for name in (parameter["name"] for parameter in operation.parameters("path")):
        missing = await mine.call(operation, {**mine.ids, name: str(uuid4())}, body)
        named = "revision_log_id" if operation.name == REPROCESS else name
        foreign = await mine.call(operation, {**mine.ids, name: other.ids[named]}, body)
        assert (foreign.status, foreign.body.get("code")) == (404, "not_found"), foreign
        assert without_trace(foreign) == without_trace(missing)
    if operation.method == "GET":
        assert (await mine.call(operation, mine.ids, body)).status == 200
    elif operation.name in FOUND_BUT_REFUSED:
        assert (await mine.call(operation, mine.ids, body)).status == 409
    assert [await stored(system, tables, tenant) for tenant in tenants] == before


async def test_a_foreign_property_and_a_missing_one_get_the_same_404_and_nothing_is_mapped(
    system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    before = [await stored(system, tables, tenant) for tenant in tenants]
    missing, foreign = [
        await mine.call(OPERATIONS[MAP_LISTING], mine.ids, {"property_id": wanted, "ota_listing_id": "L2"})
        for wanted in (str(uuid4()), other.ids["property_id"])
    ]
    assert (foreign.status, foreign.body.get("code")) == (404, "not_found"), foreign
    assert without_trace(foreign) == without_trace(missing)
    assert [await stored(system, tables, tenant) for tenant in tenants] == before


async def test_revisions_of_a_foreign_connection_are_as_empty_as_those_of_a_missing_one(
    tenants: tuple[Tenant, Tenant],
) -> None:
    mine, other = tenants
    missing, foreign, own = [
        await mine.call(OPERATIONS["GET /inbound-revisions"], {}, query=f"?connection_id={wanted}")
        for wanted in (str(uuid4()), other.ids["connection_id"], mine.ids["connection_id"])
    ]
    assert without_trace(foreign) == without_trace(missing)
    assert (foreign.status, foreign.body["items"], len(own.body["items"])) == (200, [], 1)


async def test_a_channel_of_one_agency_cannot_sign_for_a_connection_of_another_nor_learn_that_it_is_there(
    system: Pool, tables: list[str], tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    before = [await stored(system, tables, tenant) for tenant in tenants]
    missing, foreign, own = [
        await sell(mine.agency, mine.ota, wanted)
        for wanted in (str(uuid4()), other.ids["connection_id"], mine.ids["connection_id"])
    ]
    assert (foreign.status, foreign.body.get("code")) == (401, "signature_invalid")
    assert (foreign.status, {**foreign.body, "trace_id": ""}) == (missing.status, {**missing.body, "trace_id": ""})
    assert (own.status, own.body["log_id"]) == (200, mine.ids["revision_log_id"])
    assert [await stored(system, tables, tenant) for tenant in tenants] == before


async def test_one_idempotency_key_of_two_agencies_is_two_keys(tenants: tuple[Tenant, Tenant]) -> None:
    assert tenants[0].ids["connection_id"] != tenants[1].ids["connection_id"]
    for tenant in tenants:
        again = await tenant.agency.call(CHANNEL_SYNC, "POST", "/channel-connections", tenant.connection, KEY)
        assert (again.status, again.body["id"]) == (201, tenant.ids["connection_id"])
        assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.name)
async def test_no_list_holds_an_id_of_another_agency(operation: Operation, tenants: tuple[Tenant, Tenant]) -> None:
    for mine, other in (tenants, tenants[::-1]):
        answer = await mine.call(operation, {}, query="?limit=200")
        text = json.dumps(answer.body)
        assert mine.ids["connection_id"] in text
        assert [known for known in (str(other.agency.id), *other.ids.values()) if known in text] == []
