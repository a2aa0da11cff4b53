"""Owns filling a ledger for the benchmarks: one property and one booking over HTTP, then copied by SQL; for the stage.

The rows are copies of what the product itself wrote, so they stay valid when its tables grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from runtime.kafka import partition_of
from runtime.tokens import issue_token
from tests.bench.traffic import AGENCIES, SEEDED_FROM_DAY, agency_id, first_night, property_id

PARTITIONS = 6
SLOT_DAYS = 30
SEEDED_NIGHTS = 3

_COPY = """
INSERT INTO {table} OVERRIDING SYSTEM VALUE
SELECT made.*
FROM (SELECT to_jsonb({table}) AS row FROM {table} WHERE {key} = $1) AS sample,
     {numbers},
     LATERAL jsonb_populate_record(NULL::{table}, sample.row || jsonb_build_object({changed})) AS made"""
_AGENCY = "'agency_id', md5('agency ' || n % $3)::uuid"
_NUMBERS = "generate_series(0, $2::int - 1) AS n"
_STAYS = f"{_NUMBERS}, LATERAL (SELECT $4::date + n % 20 AS arrival) AS stay"
_PROPERTIES = _COPY.format(
    table="properties",
    key="id",
    numbers=_NUMBERS,
    changed=f"'id', md5('property ' || n)::uuid, {_AGENCY}, 'name', 'Property ' || n",
)
_VERSIONS = _COPY.format(
    table="inventory_versions",
    key="property_id",
    numbers="""unnest($2::smallint[]) WITH ORDINALITY AS numbered (shard, place),
     LATERAL (SELECT place - 1 AS n) AS from_zero""",
    changed=f"'property_id', md5('property ' || n)::uuid, {_AGENCY}, 'shard', shard",
)
# A generated column cannot be copied.
_GUEST_COLUMNS = """id, agency_id, name, email, email_normalised, phone, created_at, updated_at, total_bookings,
total_spent, first_booking_at, last_booking_at"""
_GUESTS = (
    _COPY.replace("INTO {table}", f"INTO {{table}} ({_GUEST_COLUMNS})")
    .replace("made.*", ", ".join(f"made.{name.strip()}" for name in _GUEST_COLUMNS.split(",")))
    .format(
        table="guests",
        key="id",
        numbers=_STAYS,
        changed=f"""'id', md5('guest ' || n || $4::date)::uuid, {_AGENCY},
         'email', n || '-' || $4::date || '@seed', 'email_normalised', n || '-' || $4::date || '@seed'""",
    )
)
_RESERVATIONS = _COPY.format(
    table="reservations",
    key="id",
    numbers=_STAYS,
    changed=f"""'id', md5('stay ' || n || $4::date)::uuid, {_AGENCY}, 'property_id', md5('property ' || n)::uuid,
         'guest_id', md5('guest ' || n || $4::date)::uuid, 'check_in', arrival, 'check_out', arrival + $5::int""",
)
_RANGES = _COPY.format(
    table="inventory_ranges",
    key="source_id",
    numbers=_STAYS,
    changed=f"""'id', md5('range ' || n || $4::date)::uuid, {_AGENCY}, 'property_id', md5('property ' || n)::uuid,
         'source_id', md5('stay ' || n || $4::date)::uuid, 'stay', daterange(arrival, arrival + $5::int),
         'occupied', daterange(arrival, arrival + $5::int)""",
)
# Sent events and stored answers: a plan made for an empty table would stay with a connection while the table grows.
_EVENTS = _COPY.format(
    table="outbox",
    key="subject",
    numbers=_NUMBERS,
    changed=f"""'id', nextval(pg_get_serial_sequence('outbox', 'id')), 'event_id', md5('event ' || n)::uuid,
         {_AGENCY}, 'key', md5('property ' || n)::uuid, 'sent_at', now()""",
)
_ANSWERS = _COPY.format(
    table="idempotency_keys",
    key="key",
    numbers=_NUMBERS,
    changed=f"{_AGENCY}, 'key', 'seed ' || n",
)
# What the floor's rows are to be as large as.
_SIZES = """
CREATE TABLE bench_sizes AS SELECT (SELECT data FROM outbox ORDER BY id DESC LIMIT 1) AS event,
                                   (SELECT body FROM idempotency_keys ORDER BY created_at DESC LIMIT 1) AS answer,
                                   (SELECT after FROM reservation_history ORDER BY id DESC LIMIT 1) AS history;
GRANT SELECT ON bench_sizes TO PUBLIC"""
# What was there before the auditor is taken as it is, as the migration does for an older ledger.
AUDITED_FROM_HERE = (
    """INSERT INTO audit_positions (property_id, agency_id, floor_version)
       SELECT property_id, agency_id, inventory_version FROM inventory_versions
       ON CONFLICT (property_id) DO UPDATE SET floor_version = excluded.floor_version""",
    "UPDATE audit_cursor SET outbox_id = (SELECT coalesce(max(id), 0) FROM outbox)",
)
_PROPERTY: dict[str, Any] = {"name": "Sample", "time_zone": "Europe/Lisbon", "currency": "EUR", "max_occupancy": 4}


async def seed_ledger(dsn: str, booking_url: str, jwt_secret: str, properties: int) -> None:
    """Fill an empty ledger with that many properties, each with one booked range behind the nights that are asked for.

    `dsn` is an administrator's, whom row security lets copy; `booking_url` is of a booking process on the database.
    """
    owner, booking = await _sample(booking_url, jwt_secret)
    shards = [partition_of(str(property_id(number)), PARTITIONS) for number in range(properties)]
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_PROPERTIES, owner, properties, AGENCIES)
        await connection.execute(_VERSIONS, owner, shards, AGENCIES)
        await connection.execute(_SIZES)
        await connection.execute(_EVENTS, f"reservation/{booking}", properties, AGENCIES)
        await connection.execute(_ANSWERS, _key("/bookings"), properties, AGENCIES)
        await connection.execute("UPDATE outbox SET sent_at = now() WHERE sent_at IS NULL")
    finally:
        await connection.close()
    await multiply_ranges(dsn, properties, range(1))


async def multiply_ranges(dsn: str, properties: int, slots: Iterable[int]) -> None:
    """Give each property one more booked range per slot."""
    connection = await asyncpg.connect(dsn)
    try:
        sample = await connection.fetchrow("SELECT id, guest_id FROM reservations ORDER BY created_at, id LIMIT 1")
        assert sample is not None
        source = await connection.fetchval("SELECT source_id FROM inventory_ranges WHERE source_id = $1", sample["id"])
        for slot in slots:
            day = first_night() + timedelta(days=SEEDED_FROM_DAY + slot * SLOT_DAYS)
            copied = (properties, AGENCIES, day)
            await connection.execute(_GUESTS, sample["guest_id"], *copied)
            await connection.execute(_RESERVATIONS, sample["id"], *copied, SEEDED_NIGHTS)
            await connection.execute(_RANGES, source, *copied, SEEDED_NIGHTS)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _sample(booking_url: str, jwt_secret: str) -> tuple[UUID, UUID]:
    """A property and a booking of it, made as a client makes them; their ids."""
    token = issue_token(jwt_secret, subject="user:bench", agency_id=agency_id(0), roles=["admin"])
    async with aiohttp.ClientSession(booking_url, headers={"Authorization": f"Bearer {token}"}) as client:
        owner = await _created(client, "/properties", _PROPERTY)
        stay = {
            "property_id": owner["id"],
            "check_in": first_night().isoformat(),
            "check_out": (first_night() + timedelta(days=SEEDED_NIGHTS)).isoformat(),
            "occupancy": {"adults": 2},
            "guest": {"name": "Sample", "email": "sample@example.com"},
        }
        booking = await _created(client, "/bookings", stay)
    return UUID(owner["id"]), UUID(booking["id"])


async def _created(client: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with client.post(path, json=body, headers={"Idempotency-Key": _key(path)}) as answer:
        assert answer.status == 201, await answer.text()
        made: dict[str, Any] = await answer.json()
        return made


def _key(path: str) -> str:
    return f"sample {path}"
