"""Owns what the tests of inbound revisions share: a connection, a listing, a revision's bytes, and its events."""

import json
import time
from typing import Any
from uuid import UUID, uuid4

from channel_sync.domain.channels import Connection, NewConnection, NewListing
from channel_sync.domain.revisions import Received
from channel_sync.domain.signature import signature_of
from channel_sync.repository import listings as listing_rows
from channel_sync.service import connections, inbound
from channel_sync.service.deps import Deps
from runtime.postgres import transaction

SECRET = "a secret of sixteen characters"


def shown(created: Connection, secret: str | None) -> str:
    """The answer of a creation."""
    return json.dumps({"id": str(created.id), "secret": secret})


async def connect(deps: Deps, agency_id: UUID) -> UUID:
    """A connection of an agency."""
    new = NewConnection("Channel", "generic-json", "http://127.0.0.1:9/push", {}, SECRET)
    answer = await connections.create_connection(deps, agency_id, new, None, shown)
    return UUID(json.loads(answer.body)["id"])


async def map_listing(deps: Deps, agency_id: UUID, connection_id: UUID, ota_listing_id: str = "L1") -> UUID:
    """A mapped listing (booking, which would be asked, is not here); the property's id."""
    new = NewListing(uuid4(), ota_listing_id, None)
    async with transaction(deps.pool, agency_id) as conn:
        ids = (uuid4(), uuid4())
        await listing_rows.insert_listing(
            conn, agency_id, connection_id, new, ids=ids, version=1, traceparent=None, calendar_token=None
        )
    return new.property_id


def body(**changes: Any) -> bytes:
    """A revision with some fields changed."""
    message = {
        "revision_id": f"rev-{uuid4()}",
        "published_at": "2026-04-01T10:00:00Z",
        "status": "new",
        "ota_name": "channel",
        "ota_reservation_code": "ABC",
        "ota_listing_id": "L1",
        "check_in": "2026-06-01",
        "check_out": "2026-06-04",
        "guest": {"name": "Zoe Guest", "email": "zoe@guest.example"},
    }
    return json.dumps({**message, **changes}).encode()


async def send(deps: Deps, connection_id: UUID | str, raw: bytes, secret: str = SECRET) -> Received:
    """Send a signed revision to the webhook."""
    stamp = str(int(time.time()))
    return await inbound.receive_webhook(deps, str(connection_id), stamp, signature_of(secret, stamp, raw), raw)


async def outbox(deps: Deps, property_id: UUID) -> list[dict[str, Any]]:
    """The events written for booking, oldest first."""
    rows = await deps.system_pool.fetch(
        "SELECT data FROM outbox WHERE key = $1 AND topic = 'channel-sync.reservations.v1' ORDER BY id",
        str(property_id),
    )
    return [row["data"] for row in rows]
