"""Proves that agencies are apart: by the catalogue of both databases, by every table's rows, and by every route.

Tables, functions and routes are enumerated from the catalogue and the OpenAPI document, so a new one is covered or
fails here.
"""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from booking.service.retention import retention_step
from deploy.local.prepare import migrate_database
from deploy.local.provision import DatabaseUrls
from runtime.postgres import Connection, transaction
from tests.booking.bad_values import fields_of
from tests.booking.conftest import Ledger
from tests.booking.good_bodies import GOOD
from tests.booking.served import (
    Answer,
    Operation,
    Served,
    contents,
    document_of_booking,
    operations_of,
    served_booking,
)
from tests.booking.tenant import Tenant, seeded
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

DOCUMENT = document_of_booking()
OPERATIONS = {operation.name: operation for operation in operations_of(DOCUMENT)}
PUBLIC_WITH_IDS = [o for o in OPERATIONS.values() if o.parameters("path") and not o.path.startswith("/internal/")]

# The auditor's, which runs for every agency at once: the use cases seed no row of them.
NOT_SEEDED = {"audit_findings", "audit_positions"}
# What the application role may not read at all, or not all of; a login is looked up by the system role.
HIDDEN_TABLES = {"credentials", "one_time_links", "audit_findings", "audit_positions"}
HIDDEN_COLUMNS = {
    ("api_keys", "secret_hash"),
    *(("refresh_tokens", name) for name in ("family_id", "token_hash", "started_at", "rotated_at", "expires_at")),
}
# Tables that hold nothing of one agency.
SHARED_TABLES = {
    "booking": {"audit_cursor", "inbox", "login_failures", "relay_leases", "schema_migrations"},
    "channel-sync": {"inbox", "relay_leases", "schema_migrations"},
}

TABLES = """
SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) AS owner,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'agency_id' AND NOT a.attisdropped)
           AS names_an_agency
FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname"""
POLICIES = """
SELECT tablename, policyname, roles::text[] AS roles, cmd, permissive, qual, with_check
FROM pg_policies WHERE schemaname = 'public' ORDER BY 1, 2"""
DEFINERS = """
SELECT p.oid::regprocedure::text AS name, pg_get_userbyid(p.proowner) AS owner, p.proconfig AS config,
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
               WHERE acl.grantee = 0 AND acl.privilege_type = 'EXECUTE') AS is_public
FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace ORDER BY 1"""
OWNED = """
SELECT classid::regclass::text || ' ' || objid AS thing FROM pg_shdepend
WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass AND refobjid = $1::regrole
  AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    """Booking's application on its real database."""
    async with served_booking(ledger, provisioned) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenants(served: Served) -> tuple[Tenant, Tenant]:
    """Two agencies that have the same."""
    pair = await seeded(served), await seeded(served)
    await retention_step(served.ledger.system)
    return pair


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def databases(ledger: Ledger, provisioned: Provisioned) -> dict[str, DatabaseUrls]:
    """Both databases, migrated."""
    await migrate_database("channel-sync", provisioned.databases.channel_sync)
    return {"booking": provisioned.databases.booking, "channel-sync": provisioned.databases.channel_sync}


async def rows(dsn: str, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


@pytest.mark.parametrize("service", ["booking", "channel-sync"])
async def test_every_table_that_names_an_agency_has_forced_row_security_and_just_the_two_policies(
    service: str, databases: dict[str, DatabaseUrls]
) -> None:
    prefix = service.replace("-", "_")
    tables = await rows(databases[service].owner, TABLES)
    assert {table["relname"] for table in tables if not table["names_an_agency"]} == SHARED_TABLES[service]
    guarded = [table["relname"] for table in tables if table["names_an_agency"]]
    assert len(guarded) > 5
    for table in tables:
        if table["names_an_agency"]:
            assert table["relrowsecurity"], table["relname"]
            assert table["relforcerowsecurity"], table["relname"]
    policies: dict[str, dict[str, Any]] = {name: {} for name in guarded}
    for policy in await rows(databases[service].owner, POLICIES):
        policies[policy["tablename"]][policy["policyname"]] = policy
    for name, found in policies.items():
        assert set(found) == {"own_agency", "every_agency"}, name
        own, every = found["own_agency"], found["every_agency"]
        assert (own["roles"], own["cmd"], own["with_check"]) == ([f"{prefix}_app"], "ALL", None), name
        assert "agency_id = " in own["qual"], name
        assert "'app.agency_id'" in own["qual"], name
        assert (every["roles"], every["qual"]) == ([f"{prefix}_system"], "true"), name


@pytest.mark.parametrize("service", ["booking", "channel-sync"])
async def test_the_application_role_owns_nothing_and_can_become_nobody_else(
    service: str, databases: dict[str, DatabaseUrls]
) -> None:
    prefix = service.replace("-", "_")
    owner = databases[service].owner
    tables = await rows(owner, TABLES)
    assert {table["owner"] for table in tables} == {f"{prefix}_owner"}
    assert await rows(owner, OWNED, f"{prefix}_app") == []
    for role in ("app", "system"):
        (found,) = await rows(
            owner,
            """SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS is_mighty,
                      (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS memberships
               FROM pg_roles r WHERE rolname = $1""",
            f"{prefix}_{role}",
        )
        assert (found["is_mighty"], found["memberships"]) == (False, 0), role
    connection = await asyncpg.connect(databases[service].app)
    try:
        for role in (f"{prefix}_system", f"{prefix}_owner"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SET ROLE {role}")
        await connection.execute("SET row_security = off")  # makes a query fail, not see more
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetch("SELECT * FROM outbox")
        for statement in ("ALTER TABLE outbox DISABLE ROW LEVEL SECURITY", "CREATE TABLE mine (id int)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("service", ["booking", "channel-sync"])
async def test_functions_with_more_rights_than_their_caller_pin_their_names_and_are_nobodys_by_default(
    service: str, databases: dict[str, DatabaseUrls]
) -> None:
    prefix = service.replace("-", "_")
    definers = await rows(databases[service].owner, DEFINERS)
    if service == "booking":
        assert len(definers) >= 3
    for found in definers:
        # Others may stand beside it: how to plan.
        paths = [setting for setting in found["config"] or () if setting.startswith("search_path=")]
        assert paths == ["search_path=public, pg_temp"], found["name"]
        assert not found["is_public"], found["name"]
        # Not the owner of the tables: what such a function may do is what its policies let the system role do.
        assert found["owner"] == f"{prefix}_system", found["name"]


async def guarded_tables(ledger: Ledger) -> list[str]:
    return [table["relname"] for table in await rows(ledger.owner_dsn, TABLES) if table["names_an_agency"]]


async def count(connection: Connection, table: str, agency_id: UUID) -> int:
    return int(await connection.fetchval(f"SELECT count(agency_id) FROM {table} WHERE agency_id = $1", agency_id))


async def test_the_application_role_sees_and_changes_no_row_of_another_agency_in_any_table(
    ledger: Ledger, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    tables = await guarded_tables(ledger)
    async with transaction(ledger.system.pool, None) as connection:
        stored = {table: await count(connection, table, other.agency_id) for table in tables}
    assert {table for table, found in stored.items() if not found} == NOT_SEEDED
    refused = set()
    for table in tables:
        try:
            async with transaction(ledger.api.pool, mine.agency_id) as connection:
                assert await count(connection, table, other.agency_id) == 0, table
                assert await count(connection, table, mine.agency_id) > 0, table
                assert await connection.fetchval(f"SELECT count(agency_id) FROM {table}") == await count(
                    connection, table, mine.agency_id
                ), table
        except asyncpg.InsufficientPrivilegeError:
            refused.add(table)
        for agency_id in (None, uuid4()):
            try:
                async with transaction(ledger.api.pool, agency_id) as connection:
                    assert await connection.fetchval(f"SELECT count(agency_id) FROM {table}") == 0, table
            except asyncpg.InsufficientPrivilegeError:
                assert table in refused
        for statement in (
            f"UPDATE {table} SET agency_id = '{mine.agency_id}' WHERE agency_id = '{other.agency_id}'",
            f"DELETE FROM {table} WHERE agency_id = '{other.agency_id}'",
        ):
            try:
                async with transaction(ledger.api.pool, mine.agency_id) as connection:
                    assert await connection.execute(statement) in ("UPDATE 0", "DELETE 0"), table
            except asyncpg.InsufficientPrivilegeError:
                pass
        # A row of mine cannot be given away, nor one be made in another's name.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with transaction(ledger.api.pool, mine.agency_id) as connection:
                await connection.execute(f"UPDATE {table} SET agency_id = $1", other.agency_id)
    assert refused == HIDDEN_TABLES
    async with transaction(ledger.system.pool, None) as connection:
        assert {table: await count(connection, table, other.agency_id) for table in tables} == stored


async def test_secrets_are_read_by_the_system_role_alone(ledger: Ledger, tenants: tuple[Tenant, Tenant]) -> None:
    hidden = set()
    columns = await rows(
        ledger.owner_dsn,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
    )
    tables = {*await guarded_tables(ledger), "login_failures"}
    for table, column in {(row[0], row[1]) for row in columns if row[0] in tables}:
        async with transaction(ledger.system.pool, None) as connection:
            await connection.fetch(f"SELECT {column} FROM {table} LIMIT 1")
        try:
            async with transaction(ledger.api.pool, tenants[0].agency_id) as connection:
                await connection.fetch(f"SELECT {column} FROM {table} LIMIT 1")
        except asyncpg.InsufficientPrivilegeError:
            hidden.add((table, column))
    whole = {table for table, _ in hidden if table in HIDDEN_TABLES | {"login_failures"}}
    assert whole == HIDDEN_TABLES | {"login_failures"}
    assert {(table, column) for table, column in hidden if table not in whole} == HIDDEN_COLUMNS


def without_trace(answer: Answer) -> str:
    """The body as it was sent, but for the one thing that is another in each answer."""
    return answer.text.replace(f'"trace_id":"{answer.body.get("trace_id")}"', '"trace_id":""')


def test_every_parameter_of_a_path_has_an_id_to_try() -> None:
    names = {parameter["name"] for operation in PUBLIC_WITH_IDS for parameter in operation.parameters("path")}
    assert names == {"property_id", "booking_id", "guest_id", "hold_id", "block_id", "conflict_id", "user_id", "key_id"}
    assert len(PUBLIC_WITH_IDS) > 30


@pytest.mark.parametrize("operation", PUBLIC_WITH_IDS, ids=lambda operation: operation.name)
async def test_a_foreign_id_and_a_missing_one_get_the_same_404_byte_for_byte(
    operation: Operation, served: Served, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    body = with_ids(GOOD[operation.name][0], mine.ids) if operation.name in GOOD else None
    before = await contents(served.ledger)
    for parameter in operation.parameters("path"):
        answers = []
        for wanted in (other.ids[parameter["name"]], str(uuid4())):
            path = operation.url({**mine.ids, parameter["name"]: wanted})
            answers.append(await served.call(operation.method, path, body, agency_id=mine.agency_id))
        foreign, missing = answers
        assert (foreign.status, foreign.body["code"]) == (404, "not_found"), foreign.text
        assert without_trace(foreign) == without_trace(missing)
        assert set(foreign.headers) == set(missing.headers)
        assert foreign.headers["Content-Length"] == missing.headers["Content-Length"]
    assert await contents(served.ledger) == before


def with_ids(body: Any, ids: dict[str, str]) -> Any:
    """A body that names what the agency has, and nothing it need not name."""
    if isinstance(body, list):
        return [with_ids(item, ids) for item in body]
    if not isinstance(body, dict):
        return body
    changed = {name: with_ids(value, ids) for name, value in body.items() if name not in ("hold_id", "quote_id")}
    changed |= {name: ids[name] for name in changed if name in ids}
    if "property_ids" in changed:
        changed["property_ids"] = [ids["property_id"]]
    return changed


NAMING = [
    (name, path)
    for name, operation in OPERATIONS.items()
    if operation.body_schema is not None and not name.startswith("POST /auth")
    for path in sorted(fields_of(DOCUMENT, operation.body_schema))
    if str(path[-1]).endswith(("_id", "_ids"))
]


@pytest.mark.parametrize(("name", "path"), NAMING, ids=str)
async def test_a_foreign_id_in_a_body_is_refused_like_a_missing_one_and_nothing_is_written(
    name: str, path: tuple[str, ...], served: Served, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    operation = OPERATIONS[name]
    bodies = [with_ids(good, mine.ids) for good in GOOD[name]]
    field = path[-1]
    # Of two forms the one that has the field; one that both lack is optional and is added.
    body = next((body for body in bodies if field in json.dumps(body)), bodies[0])
    before = await contents(served.ledger)
    answers = []
    ids = other.ids | {"quote_id": str(uuid4())}
    for wanted in (ids[field.removesuffix("s")], str(uuid4())):
        sent = json.loads(json.dumps(body))
        target = sent
        for part in path[:-1]:
            target = target[0 if part == "*" else part]
        target[field] = [wanted] if field.endswith("s") else wanted
        answers.append(await served.call(operation.method, operation.url(mine.ids), sent, agency_id=mine.agency_id))
    foreign, missing = answers
    assert foreign.status in (404, 409, 422), foreign.text
    assert without_trace(foreign) == without_trace(missing)
    assert await contents(served.ledger) == before


LISTS = [o for o in OPERATIONS.values() if any(p["name"].endswith("_id") for p in o.parameters("query"))]


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.name)
async def test_a_list_filtered_by_a_foreign_id_is_as_empty_as_by_a_missing_one(
    operation: Operation, served: Served, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    for parameter in operation.parameters("query"):
        name = parameter["name"]
        if name.endswith("_id"):
            found = [
                await served.call("GET", operation.path, agency_id=mine.agency_id, params={name: wanted})
                for wanted in (other.ids[name], str(uuid4()), mine.ids[name])
            ]
            assert found[0].text == found[1].text
            assert (found[0].body["items"], bool(found[2].body["items"])) == ([], True)


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS.values() if o.method == "GET" and "{" not in o.path], ids=lambda o: o.name
)
async def test_no_list_holds_an_id_of_another_agency(
    operation: Operation, served: Served, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, other = tenants
    if operation.path.startswith("/internal/"):
        return
    answer = await served.call("GET", operation.path, agency_id=mine.agency_id, params={"limit": "200"})
    assert answer.status == 200
    assert answer.body["items"]
    for known in (str(other.agency_id), *other.ids.values()):
        assert known not in answer.text
