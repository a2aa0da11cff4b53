"""The migration runner: applies `NNNN_name.sql` files once each, in order, each in a transaction; called by the CLI.

Every set of files (the floor's, the service's) has its own rows in `schema_migrations`. A file that was changed after
it was applied is refused. Environment `production` needs `CONFIRM_PROD=1`.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import click

from runtime.postgres import Connection

FLOOR = Path(__file__).parent / "migrations"
_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_ADVISORY_LOCK = 7_270_001
_TRACKING = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    set_name text NOT NULL, version text NOT NULL, name text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (set_name, version)
)"""
_NOTE = "INSERT INTO schema_migrations (set_name, version, name, checksum) VALUES ($1, $2, $3, $4)"


class MigrationRefused(click.ClickException):
    """The migrations were not run; the message says why and what to do. Ends a command with 1."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `sql` has its role names filled in, the checksum is that of the file as written.

    `applied` says whether the database has it.
    """

    set_name: str
    version: str
    name: str
    sql: str
    checksum: str
    applied: bool = False

    def __str__(self) -> str:
        return f"{self.set_name} {self.version}_{self.name}"


def read_migrations(set_name: str, folder: Path, names: Mapping[str, str]) -> list[Migration]:
    """The files of a folder in order; `{{name}}` in them is replaced from `names` (quoted role names)."""
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationRefused(f"{path.name} is not named NNNN_words.sql")
        text = path.read_text(encoding="utf-8")
        sql = re.sub(r"\{\{(\w+)\}\}", lambda found: names[found[1]], text)
        migrations.append(Migration(set_name, match[1], match[2], sql, hashlib.sha256(text.encode()).hexdigest()))
    return migrations


async def migrate(dsn: str, migrations: list[Migration], *, dry_run: bool = False) -> list[Migration]:
    """Apply what is missing (nothing with `dry_run`); returns every file with its state before the run.

    Safe to run from several processes at once: they queue on an advisory lock.
    """
    if not dry_run and os.environ.get("ENVIRONMENT") == "production" and os.environ.get("CONFIRM_PROD") != "1":
        raise MigrationRefused("ENVIRONMENT is production: set CONFIRM_PROD=1 to run migrations there")
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "migrate"})
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        found = await _with_state(connection, migrations)
        for migration in found:
            if not (dry_run or migration.applied):
                await _apply(connection, migration)
        return found
    finally:
        await connection.close()


async def _with_state(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    exists = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    rows = await connection.fetch("SELECT set_name, version, checksum FROM schema_migrations") if exists else []
    applied = {(row["set_name"], row["version"]): row["checksum"] for row in rows}
    found = []
    for migration in migrations:
        checksum = applied.get((migration.set_name, migration.version))
        if checksum not in (None, migration.checksum):
            raise MigrationRefused(f"{migration}.sql was changed after it was applied: write a new migration instead")
        found.append(replace(migration, applied=checksum is not None))
    return found


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(_TRACKING)
        await connection.execute(migration.sql)
        await connection.execute(_NOTE, migration.set_name, migration.version, migration.name, migration.checksum)
