"""Owns what booking's tests look at: a property's events, its ranges, and requests they send."""

from typing import Any
from uuid import UUID

from booking.domain.model import ChannelReference
from booking.domain.revisions import Revision
from runtime.idempotency import IdempotencyKey
from tests.booking.conftest import Ledger, night


async def outbox_of(ledger: Ledger, property_id: UUID) -> list[Any]:
    return list(
        await ledger.system.pool.fetch(
            "SELECT type, (data->>'inventory_version')::bigint AS version, "
            "(data->>'commit_version')::bigint AS commit_version, data FROM outbox WHERE key = $1 ORDER BY id",
            str(property_id),
        )
    )


async def events_by_version(ledger: Ledger, property_id: UUID) -> list[str]:
    rows = await outbox_of(ledger, property_id)
    version = await ledger.system.pool.fetchval(
        "SELECT inventory_version FROM inventory_versions WHERE property_id = $1", property_id
    )
    assert [row["version"] for row in rows] == list(range(1, version + 1))
    return [row["type"] for row in rows]


async def assert_no_overlap(ledger: Ledger, house: UUID) -> None:
    """A self-join that does not trust the constraint."""
    assert not await ledger.system.pool.fetch(
        """SELECT a.id FROM inventory_ranges a JOIN inventory_ranges b
           ON a.property_id = b.property_id AND a.id < b.id AND a.occupied && b.occupied
           WHERE a.property_id = $1 AND a.state = 'active' AND b.state = 'active'""",
        house,
    )


def key_of(agency_id: UUID, key: str, fingerprint: str = "f") -> IdempotencyKey:
    return IdempotencyKey(agency_id, "caller", key, fingerprint)


def revision_of(agency_id: UUID, property_id: UUID, code: str, number: int, first: int, last: int) -> Revision:
    origin = ChannelReference(UUID(int=7), "ota", code)
    return Revision(
        agency_id, property_id, origin, f"{code}-{number}", number, False, night(first), night(last), 2, 0, 0, "Ana",
        f"{code}@example.com", None, 30000, "EUR",
    )  # fmt: skip
