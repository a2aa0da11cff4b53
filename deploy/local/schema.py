"""Owns the schema files: what the migrations add up to, as one readable file per service; called by CLI and tests.

Written with PostgreSQL 18's pg_dump, because a dump's text differs between major versions.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.local.places import REPOSITORY
from deploy.local.postgres import find_binaries

SCHEMA_FILES = {
    "booking": REPOSITORY / "services/booking/schema.sql",
    "channel-sync": REPOSITORY / "services/channel-sync/schema.sql",
}
HEADER = "-- What the migrations add up to; written by `make schema`, never by hand.\n\n"
# Settings of the dumping session, version comments, and the random guard words of newer pg_dump versions.
_NOISE = ("--", "SET ", "SELECT pg_catalog.set_config", "\\restrict", "\\unrestrict")


def dump_schema(owner_dsn: str) -> str:
    """The schema of a migrated database as SQL, the same text for the same schema."""
    dumped = subprocess.run(
        [find_binaries(None) / "pg_dump", "--schema-only", "--no-owner", "--no-comments", "--dbname", owner_dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    kept = [line for line in dumped.stdout.splitlines() if not line.startswith(_NOISE)]
    text = "\n".join(kept)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return HEADER + text.strip() + "\n"


def write_schema(service: str, owner_dsn: str) -> Path:
    """Write the schema file of a service from its migrated database; the file."""
    SCHEMA_FILES[service].write_text(dump_schema(owner_dsn), encoding="utf-8")
    return SCHEMA_FILES[service]
