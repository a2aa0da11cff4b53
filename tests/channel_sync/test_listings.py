"""Proves the marks and leases of listings on a real database, statement by statement, without booking or a channel."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from channel_sync.domain.ari import NightValues, ValueRun
from channel_sync.domain.claims import Claim, ClaimedListing
from channel_sync.repository import channel_health
from channel_sync.repository import claims as rows
from channel_sync.service import outbound
from channel_sync.service.deps import Deps
from runtime.postgres import transaction
from tests.channel_sync.inbound_scene import connect, map_listing

pytestmark = pytest.mark.stack

FIRST = date(2026, 5, 1)
NIGHTS = (
    ValueRun(FIRST, FIRST + timedelta(days=1), NightValues(1, 9000, 2, 3, 14, closed_to_arrival=True)),
    ValueRun(FIRST + timedelta(days=1), FIRST + timedelta(days=2), NightValues(0, stop_sell=True)),
)


@dataclass(frozen=True)
class Taken:
    """One listing as it was claimed."""

    claim: Claim
    listing: ClaimedListing


@dataclass(frozen=True)
class Mapped:
    """One mapped listing, stale at version 1."""

    agency_id: UUID
    property_id: UUID

    async def row(self, deps: Deps) -> Any:
        """Its row."""
        return await deps.system_pool.fetchrow("SELECT * FROM listings WHERE property_id = $1", self.property_id)


async def mapped(deps: Deps) -> Mapped:
    """A new agency with one mapped listing."""
    agency_id = uuid4()
    return Mapped(agency_id, await map_listing(deps, agency_id, await connect(deps, agency_id)))


async def claim_all(deps: Deps, lease_s: float = 5.0, **changes: Any) -> list[Taken]:
    """Claim everything that is due."""
    asked = {"connections": 1000, "listings": 1000, "busy": (), "settle_s": 1.0, "failures": 3, **changes}
    async with transaction(deps.system_pool, None) as conn:
        claims = await rows.claim_listings(conn, owner="tests", lease_s=lease_s, **asked)
    return [Taken(claim, listing) for claim in claims for listing in claim.listings]


async def claim(deps: Deps, listing: Mapped, lease_s: float = 5.0, **changes: Any) -> Taken | None:
    """Claim everything that is due; what was claimed of this listing."""
    claimed = await claim_all(deps, lease_s, **changes)
    return next((item for item in claimed if item.listing.property_id == listing.property_id), None)


async def taken(deps: Deps, listing: Mapped, lease_s: float = 5.0) -> Taken:
    """A claim that must succeed."""
    claimed = await claim(deps, listing, lease_s)
    assert claimed is not None
    return claimed


async def accept(deps: Deps, claimed: Taken, version: int) -> bool:
    """The channel accepted."""
    async with transaction(deps.system_pool, None) as conn:
        return await rows.update_listing_accepted(
            conn, claimed.claim, claimed.listing, version=version, accepted=NIGHTS, gather_s=0.0, batch_id=None
        )


async def fail(deps: Deps, claimed: Taken, *, unknown: bool, settle_s: float = 0.3) -> bool:
    """The push failed; the next attempt may be made at once."""
    async with transaction(deps.system_pool, None) as conn:
        return await rows.update_listing_not_accepted(
            conn,
            claimed.claim,
            claimed.listing,
            sent_version=1,
            pause_s=0,
            is_failure=True,
            accepted=None if unknown else claimed.listing.accepted,
            settle_s=settle_s if unknown else None,
            batch_id=None,
        )


async def test_an_accepted_push_makes_the_listing_clean_and_keeps_what_was_accepted(deps: Deps) -> None:
    listing = await mapped(deps)
    assert await accept(deps, await taken(deps, listing), 1)
    row = await listing.row(deps)
    assert row["stale_since"] is None
    assert (row["pushed_version"], row["lease_owner"]) == (1, None)
    assert rows.unpacked_runs(row["last_accepted"]) == NIGHTS
    assert await claim(deps, listing) is None


async def test_marks_are_monotone_in_any_order_and_repetition(deps: Deps) -> None:
    listing = await mapped(deps)
    versions = [*range(1, 21), *range(1, 21)]
    random.Random(7).shuffle(versions)
    for version in versions:
        await outbound.note_change(deps, listing.agency_id, listing.property_id, version)
    assert (await listing.row(deps))["dirty_version"] == 20


async def test_a_change_the_channel_already_accepted_does_not_make_the_listing_stale(deps: Deps) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 5)
    assert await outbound.note_change(deps, listing.agency_id, listing.property_id, 4) == 0
    assert await outbound.note_change(deps, listing.agency_id, listing.property_id, 5) == 0
    assert await outbound.note_change(deps, listing.agency_id, listing.property_id, 6) == 1
    assert (await listing.row(deps))["stale_since"] is not None


async def test_another_agencys_change_marks_nothing(deps: Deps) -> None:
    listing = await mapped(deps)
    assert await outbound.note_change(deps, uuid4(), listing.property_id, 9) == 0


async def test_a_change_during_a_push_keeps_the_listing_stale_after_it(deps: Deps) -> None:
    listing = await mapped(deps)
    claimed = await taken(deps, listing)
    await outbound.note_change(deps, listing.agency_id, listing.property_id, 2)
    await accept(deps, claimed, 1)
    assert (await listing.row(deps))["stale_since"] is not None
    assert (await taken(deps, listing)).listing.dirty_version == 2


async def test_attempts_of_one_task_share_its_id_and_the_next_change_is_another_task(deps: Deps) -> None:
    listing = await mapped(deps)
    first = await taken(deps, listing)
    await fail(deps, first, unknown=False)
    second = await taken(deps, listing)
    await accept(deps, second, 1)
    await outbound.note_change(deps, listing.agency_id, listing.property_id, 2)
    third = await taken(deps, listing)
    assert first.listing.task_id == second.listing.task_id != third.listing.task_id


async def test_of_ten_claimers_at_once_one_gets_the_listing(deps: Deps) -> None:
    listing = await mapped(deps)
    claims = await asyncio.gather(*(claim(deps, listing) for _ in range(10)))
    assert sum(claimed is not None for claimed in claims) == 1


async def test_a_listing_of_a_disabled_connection_is_not_pushed(deps: Deps) -> None:
    listing = await mapped(deps)
    row = await listing.row(deps)
    await deps.system_pool.execute("UPDATE connections SET enabled = false WHERE id = $1", row["connection_id"])
    assert await claim(deps, listing) is None


async def test_an_outcome_under_an_older_epoch_is_not_believed(deps: Deps) -> None:
    listing = await mapped(deps)
    frozen = await taken(deps, listing, lease_s=0)
    successor = await taken(deps, listing)
    assert successor.listing.lease_epoch == frozen.listing.lease_epoch + 1
    assert not await accept(deps, frozen, 1)
    assert not await fail(deps, frozen, unknown=True)
    assert await accept(deps, successor, 1)


async def test_a_lease_that_ran_out_leaves_it_unknown_what_the_channel_holds(deps: Deps) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 1)
    await outbound.note_change(deps, listing.agency_id, listing.property_id, 2)
    await taken(deps, listing, lease_s=0)

    await taken(deps, listing)

    row = await listing.row(deps)
    assert (row["pushed_version"], row["last_accepted"]) == (None, None)
    assert row["unsettled_until"] is not None


async def test_after_an_unknown_outcome_the_listing_stays_stale_until_a_push_that_nothing_can_overtake(
    deps: Deps,
) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 1)
    await outbound.note_change(deps, listing.agency_id, listing.property_id, 2)
    await fail(deps, await taken(deps, listing), unknown=True)
    row = await listing.row(deps)
    assert (row["pushed_version"], row["last_accepted"]) == (None, None)

    await accept(deps, await taken(deps, listing), 2)
    row = await listing.row(deps)
    assert row["stale_since"] is not None, "the lost request may still arrive"
    assert row["last_accepted"] is None, "and undo what was accepted"
    assert await claim(deps, listing) is None

    await asyncio.sleep(0.35)
    await accept(deps, await taken(deps, listing), 2)
    assert (await listing.row(deps))["stale_since"] is None


async def test_a_push_recorded_without_a_lease_voids_what_its_successor_recorded(deps: Deps) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 1)
    row = await listing.row(deps)
    async with transaction(deps.system_pool, None) as conn:
        await rows.void_listing(conn, row["id"], 1, 0.0)
    row = await listing.row(deps)
    assert (row["pushed_version"], row["last_accepted"]) == (None, None)
    assert row["stale_since"] is not None


async def test_a_listing_not_pushed_for_a_day_is_pushed_again(deps: Deps) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 1)
    await outbound.refresh_old(deps)
    assert (await listing.row(deps))["stale_since"] is None
    await deps.system_pool.execute(
        "UPDATE listings SET accepted_at = now() - interval '25 hours' WHERE property_id = $1", listing.property_id
    )
    await outbound.refresh_old(deps)
    assert (await taken(deps, listing)).listing.dirty_version == 1


async def test_listings_of_a_channel_are_claimed_together_unless_it_is_busy(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    properties = {await map_listing(deps, agency_id, connection_id, f"L{number}") for number in range(3)}
    own = [item for item in await claim_all(deps, busy=[connection_id]) if item.listing.property_id in properties]
    assert own == []
    own = [item for item in await claim_all(deps) if item.listing.property_id in properties]
    assert {item.listing.property_id for item in own} == properties
    assert len({id(item.claim) for item in own}) == 1


async def test_what_closes_nights_is_claimed_before_what_opens_them(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    opening, closing = [Mapped(agency_id, await map_listing(deps, agency_id, connection_id, f"L{n}")) for n in (1, 2)]
    for claimed in await claim_all(deps):
        await accept(deps, claimed, 1)
    await outbound.note_change(deps, agency_id, opening.property_id, 2, closes=False)
    await outbound.note_change(deps, agency_id, closing.property_id, 2, closes=True)
    (first,) = [item for item in await claim_all(deps, listings=1) if item.claim.connection.agency_id == agency_id]
    assert first.listing.property_id == closing.property_id


async def test_a_listing_that_was_just_pushed_waits_for_more_changes(deps: Deps) -> None:
    listing = await mapped(deps)
    await accept(deps, await taken(deps, listing), 1)
    gathering = replace(deps, push=replace(deps.push, gather_s=0.4))
    await outbound.note_change(gathering, listing.agency_id, listing.property_id, 2)
    assert await claim(deps, listing) is None
    await outbound.note_change(gathering, listing.agency_id, listing.property_id, 3)
    await asyncio.sleep(0.45)
    assert (await taken(deps, listing)).listing.dirty_version == 3


async def test_a_channel_that_fails_in_a_row_is_left_alone_then_tried_with_one_listing(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)
    listings = [Mapped(agency_id, await map_listing(deps, agency_id, connection_id, f"L{n}")) for n in range(3)]

    async def own(**changes: Any) -> list[Taken]:
        return [item for item in await claim_all(deps, 0.0, **changes) if item.claim.connection.agency_id == agency_id]

    async with transaction(deps.system_pool, None) as conn:
        for _ in range(2):
            await channel_health.note_channel_down(conn, connection_id, 3, 0.4)
    assert len(await own()) == len(listings), "two failures are not three"
    async with transaction(deps.system_pool, None) as conn:
        await channel_health.note_channel_down(conn, connection_id, 3, 0.4)
    assert await own() == []
    await asyncio.sleep(0.45)
    assert len(await own()) == 1
    async with transaction(deps.system_pool, None) as conn:
        assert await channel_health.note_channel_up(conn, connection_id, 3)
        assert not await channel_health.note_channel_up(conn, connection_id, 3)
    assert len(await own()) == len(listings)


async def test_calls_are_taken_out_of_a_bucket_that_all_processes_share(deps: Deps) -> None:
    agency_id = uuid4()
    connection_id = await connect(deps, agency_id)

    async def take(bucket: str) -> float:
        async with transaction(deps.system_pool, None) as conn:
            return await channel_health.take_call(conn, agency_id, connection_id, bucket, refill_s=0.5, depth=2)

    waits = await asyncio.gather(*(take("P") for _ in range(10)))
    assert sum(wait == 0 for wait in waits) == 2
    assert all(0 < wait <= 0.5 for wait in waits if wait)
    assert await take("Q") == 0
    await asyncio.sleep(0.55)
    assert await take("P") == 0
    assert await take("P") > 0
