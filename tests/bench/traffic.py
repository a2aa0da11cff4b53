"""Owns what the benchmarks ask for: which properties exist, and booking requests as raw bytes; pure, no I/O.

Properties are numbered; ids follow from the number by MD5, so that the load generator, pgbench and the seeding SQL
agree without talking to each other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from runtime.tokens import issue_token

AGENCIES = 100
MAX_STAY = 7
FIRST_NIGHT_IN_DAYS = 30
# Requests ask for nights within this many days; the ledger's seeded ranges lie behind it, where they refuse nobody.
NIGHTS = 365
SEEDED_FROM_DAY = NIGHTS + MAX_STAY

Build = Callable[[int], bytes]


def agency_id(number: int) -> UUID:
    """The agency of a property's number."""
    return UUID(hashlib.md5(f"agency {number % AGENCIES}".encode()).hexdigest())


def property_id(number: int) -> UUID:
    """The id of a property by its number."""
    return UUID(hashlib.md5(f"property {number}".encode()).hexdigest())


def first_night() -> date:
    """The first night that requests ask for."""
    return datetime.now(UTC).date() + timedelta(days=FIRST_NIGHT_IN_DAYS)


def booking_requests(*, path: str, properties: int, jwt_secret: str, with_key: bool, seed: int) -> Build:
    """Makes the bytes of one booking request per serial number: a random property, 1 to 7 nights, a new guest.

    Tokens are signed here, so one build serves for at most 300 s.
    """
    chosen = random.Random(seed)
    dates = [(first_night() + timedelta(days=day)).isoformat() for day in range(NIGHTS + MAX_STAY)]
    tokens = [
        issue_token(jwt_secret, subject=f"user:bench-{number}", agency_id=agency_id(number), roles=["admin"])
        for number in range(min(AGENCIES, properties))
    ]
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer "
    rand, ids = chosen.random, [str(property_id(number)) for number in range(properties)]

    def build(serial: int) -> bytes:
        number = int(rand() * properties)
        nights = 1 + int(rand() * MAX_STAY)
        arrival = int(rand() * (NIGHTS - nights + 1))
        body = (
            f'{{"property_id":"{ids[number]}","check_in":"{dates[arrival]}","check_out":"{dates[arrival + nights]}",'
            f'"occupancy":{{"adults":2}},'
            f'"guest":{{"name":"Guest {serial}","email":"guest-{seed}-{serial}@example.com"}}}}'
        )
        key = f"Idempotency-Key: bench-{seed}-{serial}\r\n" if with_key else ""
        return f"{head}{tokens[number % AGENCIES]}\r\n{key}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return build


def reading_requests(paths: Sequence[str], agency: UUID, jwt_secret: str) -> Build:
    """Makes the bytes of a GET of these paths, one after another, by one user of an agency."""
    token = issue_token(jwt_secret, subject="user:bench", agency_id=agency, roles=["admin"])
    ready = [f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for path in paths]
    return lambda serial: ready[serial % len(ready)]
