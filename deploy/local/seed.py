"""Owns the example data of `make seed`: an agency with properties, stays and a block; called by the CLI.

It speaks the public API only, as any client would, and may be repeated: each call has an idempotency key of its own.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

AGENCY_ID = "5eed0000-0000-4000-8000-000000000001"
TIMEOUT_S = 10
PROPERTIES = (
    {"name": "Harbour Loft", "time_zone": "Europe/Lisbon", "currency": "EUR", "max_occupancy": 4},
    {"name": "Garden Flat", "time_zone": "Europe/Berlin", "currency": "EUR", "max_occupancy": 2},
    {"name": "Lake Cabin", "time_zone": "America/Denver", "currency": "USD", "max_occupancy": 6},
)
STAYS = ((7, 10, "Ada Example"), (10, 14, "Ben Example"))  # days from today


class SeedRefused(Exception):
    """The running suite refused a piece of the example data; the text has its answer."""


def seed(gateway_url: str, token: str, today: date) -> list[str]:
    """Create the example data as of `today`; one line of report per property. Raises `SeedRefused`."""
    report = []
    for number, profile in enumerate(PROPERTIES):
        key = f"seed-{number}"
        made = _post(gateway_url, token, "properties", key, profile)
        property_id = made["id"]
        for stay, (begin, end, guest) in enumerate(STAYS):
            booking = {
                "property_id": property_id,
                **_dates("check_in", begin, "check_out", end, today),
                "occupancy": {"adults": 2},
                "guest": {"name": guest, "email": f"{guest.split()[0].lower()}@example.org"},
            }
            _post(gateway_url, token, "bookings", f"{key}-{today}-{stay}", booking)
        block = {"property_id": property_id, **_dates("start_date", 20, "end_date", 22, today), "reason": "maintenance"}
        _post(gateway_url, token, "availability/blocks", f"{key}-{today}-block", block)
        report.append(f"{profile['name']}: property {property_id}, {len(STAYS)} stays, 1 block")
    return report


def _dates(first: str, begin: int, last: str, end: int, today: date) -> dict[str, str]:
    return {first: f"{today + timedelta(days=begin)}", last: f"{today + timedelta(days=end)}"}


def _post(gateway_url: str, token: str, path: str, key: str, body: Mapping[str, object]) -> Mapping[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    request = urllib.request.Request(  # noqa: S310 - our own gateway's address
        f"{gateway_url}/api/v1/{path}", json.dumps(body).encode(), headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            made: Mapping[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refusal:
        raise SeedRefused(f"POST {path}: {refusal.code} {refusal.read().decode(errors='replace')}") from None
    except OSError as error:
        raise SeedRefused(f"{gateway_url} does not answer ({error}): start the suite with `make run`") from None
    return made
