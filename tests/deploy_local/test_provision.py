"""Proves what the suite's database roles may and may not do, on a real PostgreSQL."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.local.provision import Databases, in_database, provision
from deploy.local.secrets_file import ROLES
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack


def all_urls(databases: Databases) -> list[str]:
    return [url for urls in (databases.booking, databases.channel_sync) for url in vars(urls).values()]


async def test_each_role_connects_to_its_own_database_and_to_no_other(provisioned: Provisioned) -> None:
    databases = {"pms_booking", "pms_channel_sync"}
    if provisioned.stack.exclusive:  # a cluster that others use too keeps its own rules
        databases |= {"postgres", "template1"}
    for url in all_urls(provisioned.databases):
        own = urlsplit(url).path.removeprefix("/")
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_database()") == own
        await connection.close()
        for other in databases - {own}:
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await asyncpg.connect(in_database(url, other))
            assert refusal.value.sqlstate == "42501", f"{urlsplit(url).username} at {other}"


async def test_a_wrong_password_is_refused(provisioned: Provisioned) -> None:
    parts = urlsplit(provisioned.databases.booking.app)
    wrong = urlunsplit(parts._replace(netloc=f"{parts.username}:wrong@{parts.hostname}:{parts.port}"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)


async def test_application_and_system_roles_own_nothing_and_have_no_special_rights(provisioned: Provisioned) -> None:
    admin = await asyncpg.connect(provisioned.stack.postgres_admin_dsn)
    rows = await admin.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
        " FROM pg_roles WHERE rolname = ANY ($1)",
        list(ROLES),
    )
    owners = await admin.fetch(
        "SELECT datname, pg_get_userbyid(datdba) FROM pg_database"
        " WHERE datname IN ('pms_booking', 'pms_channel_sync') ORDER BY 1"
    )
    await admin.close()
    assert len(rows) == 6
    assert not [row["rolname"] for row in rows if any(list(row.values())[1:])]
    assert [tuple(row) for row in owners] == [
        ("pms_booking", "booking_owner"),
        ("pms_channel_sync", "channel_sync_owner"),
    ]
    for url in (provisioned.databases.booking.app, provisioned.databases.booking.system):
        connection = await asyncpg.connect(url)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE mine (id int)")
        await connection.close()


async def test_the_owner_can_build_an_exclusion_constraint_on_property_and_range(provisioned: Provisioned) -> None:
    owner = await asyncpg.connect(provisioned.databases.booking.owner)
    try:
        await owner.execute("BEGIN")
        await owner.execute(
            "CREATE TABLE t (property_id uuid, occupied daterange,"
            " EXCLUDE USING gist (property_id WITH =, occupied WITH &&))"
        )
    finally:
        await owner.execute("ROLLBACK")
        await owner.close()


async def test_provisioning_again_changes_nothing_that_works(provisioned: Provisioned) -> None:
    again = await provision(
        provisioned.stack.postgres_admin_dsn, provisioned.secrets, exclusive=provisioned.stack.exclusive
    )
    assert again == provisioned.databases
    for url in all_urls(again):
        await (await asyncpg.connect(url)).close()
