"""Owns the databases and roles of the suite in a PostgreSQL cluster; called by the CLI and the tests. Idempotent.

Table rights are not given here: each service's migrations give them, as the owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local.secrets_file import Secrets

ROLE_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
EXTENSIONS = ("btree_gist", "pg_stat_statements")


@dataclass(frozen=True, repr=False)  # they contain passwords
class DatabaseUrls:
    """The addresses of one service's database by role: application (no owner), system (cross-agency), owner."""

    app: str
    system: str
    owner: str

    def moved_to(self, database: str) -> DatabaseUrls:
        """The same roles in another database of the cluster."""
        return DatabaseUrls(*(in_database(url, database) for url in (self.app, self.system, self.owner)))


@dataclass(frozen=True)
class Databases:
    """The databases of the two services that have one."""

    booking: DatabaseUrls
    channel_sync: DatabaseUrls

    def owners(self) -> dict[str, str]:
        """The owner's address of each service's database, by the service's folder name."""
        return {"booking": self.booking.owner, "channel-sync": self.channel_sync.owner}


async def provision(admin_dsn: str, secrets: Secrets, *, exclusive: bool) -> Databases:
    """Create or correct the databases and roles; their addresses.

    With `exclusive` the cluster's other databases are closed to everybody but superusers as well, so that a role of the
    suite can connect to its own database only.
    """
    connection = await asyncpg.connect(admin_dsn)
    try:
        for service in ("booking", "channel_sync"):
            await _create_roles(connection, service, secrets)
            await create_database(admin_dsn, service, f"pms_{service}")
        if exclusive:
            for database in await connection.fetch("SELECT datname FROM pg_database WHERE datname NOT LIKE 'pms%'"):
                await connection.execute(f'REVOKE CONNECT ON DATABASE "{database["datname"]}" FROM PUBLIC')
    finally:
        await connection.close()
    return database_urls(admin_dsn, secrets)


def database_urls(admin_dsn: str, secrets: Secrets) -> Databases:
    """The addresses that `provision` has made or will make; pure."""

    def url(service: str, role: str) -> str:
        name = f"{service}_{role}"
        return in_database(admin_dsn, f"pms_{service}", name, secrets.role_passwords[name])

    booking, channel_sync = (
        DatabaseUrls(app=url(service, "app"), system=url(service, "system"), owner=url(service, "owner"))
        for service in ("booking", "channel_sync")
    )
    return Databases(booking=booking, channel_sync=channel_sync)


async def _create_roles(connection: asyncpg.Connection, service: str, secrets: Secrets) -> None:
    for name in (f"{service}_owner", f"{service}_app", f"{service}_system"):
        exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
        verb = "ALTER" if exists else "CREATE"
        # Utility statements take no parameters; the password is hexadecimal.
        await connection.execute(f"{verb} ROLE {name} {ROLE_ATTRIBUTES} PASSWORD '{secrets.role_passwords[name]}'")
    # The owner hands narrow SECURITY DEFINER functions over to the system role in its migrations.
    await connection.execute(f"GRANT {service}_system TO {service}_owner")


async def create_database(admin_dsn: str, service: str, name: str) -> None:
    """Create or correct a database for the roles of a service; empty but for what only an administrator may add."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f"CREATE DATABASE {name} OWNER {service}_owner")
        await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO {service}_app, {service}_system")
    finally:
        await connection.close()
    connection = await asyncpg.connect(in_database(admin_dsn, name))
    try:
        await connection.execute(f"ALTER SCHEMA public OWNER TO {service}_owner")
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        await connection.execute(f"GRANT USAGE ON SCHEMA public TO {service}_app, {service}_system")
        for extension in EXTENSIONS:
            await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    finally:
        await connection.close()


def in_database(url: str, database: str, user: str | None = None, password: str = "") -> str:
    """The address of another database of the same cluster, for the same role or another one."""
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    if user is not None:
        credentials = f"{user}:{password}"
    return urlunsplit((parts.scheme, f"{credentials}@{host}", f"/{database}", parts.query, ""))
