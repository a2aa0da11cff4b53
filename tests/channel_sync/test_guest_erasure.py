"""Proves that channel-sync forgets an erased guest: in what a channel sent, in its events, and in what comes later."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from channel_sync.domain.errors import UnparseableRevision
from channel_sync.service import inbound
from channel_sync.service.deps import Deps
from deploy.local.provision import DatabaseUrls
from tests.channel_sync.inbound_scene import body, connect, map_listing, outbox, send
from tests.clock import clock_ahead

pytestmark = pytest.mark.stack

NAME = "Zenobia"
GUEST = {"name": f"{NAME} Guest", "email": f"{NAME}@guest.example", "phone": f"+351 {NAME}"}


async def raw_of(deps: Deps, connection_id: UUID) -> list[Any]:
    """What is stored of each revision of a connection, oldest first; None where the bytes are gone."""
    rows = await deps.system_pool.fetch(
        "SELECT raw FROM inbound_revisions WHERE connection_id = $1 ORDER BY received_at, id", connection_id
    )
    return [json.loads(row["raw"]) if row["raw"] else None for row in rows]


async def everything(deps: Deps) -> str:
    """All rows that could name a guest, as text."""
    tables = ("inbound_revisions", "outbox", "sync_operations", "erased_reservations")
    found = [await deps.system_pool.fetch(f"SELECT t::text AS row FROM {table} AS t") for table in tables]
    text = "\n".join(row["row"] for rows in found for row in rows)
    # bytea is printed as hexadecimal.
    return text.replace(NAME.encode().hex(), NAME)


async def test_the_guest_is_taken_out_of_stored_revisions_and_their_events(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body(ota_reservation_code="GONE", guest=GUEST))
    await send(deps, connection_id, body(ota_reservation_code="GONE", guest=GUEST, ota_listing_id="unmapped"))
    with pytest.raises(UnparseableRevision):
        await send(deps, connection_id, body(ota_reservation_code="GONE", guest=GUEST, check_in="soon"))
    assert NAME in await everything(deps)

    await inbound.erase_guest(deps, agency_id, connection_id, "GONE")
    await inbound.erase_guest(deps, agency_id, connection_id, "GONE")

    assert NAME not in await everything(deps)
    assert ["guest" in raw for raw in await raw_of(deps, connection_id)] == [False] * 3
    (event,) = await outbox(deps, property_id)
    assert ("guest" in event, event["ota_reservation_code"], event["check_in"]) == (False, "GONE", "2026-06-01")


async def test_only_that_reservation_of_that_connection_is_touched(deps: Deps) -> None:
    agency_id, other_agency = uuid4(), uuid4()
    mine, also_mine = await connect(deps, agency_id), await connect(deps, agency_id)
    theirs = await connect(deps, other_agency)
    properties = [
        await map_listing(deps, owner, connection)
        for owner, connection in ((agency_id, also_mine), (other_agency, theirs))
    ]
    await send(deps, mine, body(ota_reservation_code="KEPT"))
    for connection in (mine, also_mine, theirs):
        await send(deps, connection, body(ota_reservation_code="GONE"))
    await inbound.erase_guest(deps, agency_id, mine, "GONE")
    # Somebody else's agency with this connection's id erases nothing of it.
    with pytest.raises(Exception, match="foreign key"):
        await inbound.erase_guest(deps, other_agency, also_mine, "GONE")
    kept, gone = await raw_of(deps, mine)
    assert ("guest" in kept, "guest" in gone) == (True, False)
    for connection in (also_mine, theirs):
        assert ["guest" in raw for raw in await raw_of(deps, connection)] == [True]
    for property_id in properties:
        assert [event["guest"]["name"] for event in await outbox(deps, property_id)] == ["Zoe Guest"]


async def test_what_the_channel_sends_later_is_kept_and_applied_without_its_guest(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    first = body(ota_reservation_code="GONE", guest=GUEST)
    received = await send(deps, connection_id, first)
    await inbound.erase_guest(deps, agency_id, connection_id, "GONE")

    again = await send(deps, connection_id, first)
    assert (again.log_id, again.is_new) == (received.log_id, False)
    later = body(ota_reservation_code="GONE", guest=GUEST, status="modified", check_out="2026-06-07")
    assert (await send(deps, connection_id, later)).is_new

    assert NAME not in await everything(deps)
    events = await outbox(deps, property_id)
    assert [("guest" in event, event["check_out"]) for event in events] == [
        (False, "2026-06-04"),
        (False, "2026-06-07"),
    ]


async def test_a_revision_that_waits_for_its_outcome_is_handed_over_again_without_its_guest(
    deps: Deps, database: DatabaseUrls
) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    property_id = await map_listing(deps, agency_id, connection_id)
    await send(deps, connection_id, body(ota_reservation_code="GONE", guest=GUEST))
    await inbound.erase_guest(deps, agency_id, connection_id, "GONE")
    async with clock_ahead(database.owner, timedelta(minutes=11)):
        assert await inbound.hand_over_again(deps) >= 1
    first, again = await outbox(deps, property_id)
    assert first == again
    assert "guest" not in again
