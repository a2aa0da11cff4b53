"""Proves that the schema keeps agencies apart: row security on every table that names one."""

import asyncpg
import pytest

from deploy.local.provision import DatabaseUrls

pytestmark = pytest.mark.stack

TABLES = """
SELECT relname, relrowsecurity AND relforcerowsecurity AS is_secured,
    (SELECT array_agg(polname::text ORDER BY polname) FROM pg_policy WHERE polrelid = pg_class.oid) AS policies
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'agency_id' AND relkind = 'r'
WHERE relnamespace = 'public'::regnamespace ORDER BY relname"""


async def test_every_table_with_an_agency_has_row_security_even_for_its_owner(database: DatabaseUrls) -> None:
    connection = await asyncpg.connect(database.owner)
    try:
        tables = await connection.fetch(TABLES)
    finally:
        await connection.close()
    assert [table["relname"] for table in tables] == [
        "calendar_nights",
        "calendars",
        "call_budgets",
        "connections",
        "erased_reservations",
        "feeds",
        "idempotency_keys",
        "inbound_revisions",
        "listings",
        "outbox",
        "sync_batches",
        "sync_operations",
    ]
    assert all(table["is_secured"] for table in tables)
    assert all(table["policies"] == ["every_agency", "own_agency"] for table in tables)
