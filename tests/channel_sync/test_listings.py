"""Proves the marks and leases of listings on a real database, statement by statement, without booking or a channel."""

import asyncio
import random
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from channel_sync.domain.pushes import ClaimedListing
from channel_sync.repository import listings as rows
from channel_sync.service import outbound
from channel_sync.service.deps import Deps
from runtime.postgres import transaction
from tests.channel_sync.inbound_scene import connect, map_listing

pytestmark = pytest.mark.stack

NIGHTS = [{"start_date": date(2026, 5, 1), "end_date": date(2026, 5, 2), "available": 1}]


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


async def claim(deps: Deps, listing: Mapped, lease_s: float = 5.0, settle_s: float = 1.0) -> ClaimedListing | None:
    """Claim everything that is due; what was claimed of this listing."""
    async with transaction(deps.system_pool, None) as conn:
        claimed = await rows.claim_listings(conn, 1000, "tests", lease_s, settle_s)
    return next((item for item in claimed if item.property_id == listing.property_id), None)


async def taken(deps: Deps, listing: Mapped, lease_s: float = 5.0) -> ClaimedListing:
    """A claim that must succeed."""
    claimed = await claim(deps, listing, lease_s)
    assert claimed is not None
    return claimed


async def accept(deps: Deps, claimed: ClaimedListing, version: int) -> bool:
    """The channel accepted."""
    async with transaction(deps.system_pool, None) as conn:
        return await rows.update_listing_accepted(conn, claimed, version, NIGHTS)


async def fail(deps: Deps, claimed: ClaimedListing, *, unknown: bool, settle_s: float = 0.3) -> bool:
    """The push failed; the next attempt may be made at once."""
    async with transaction(deps.system_pool, None) as conn:
        return await rows.update_listing_failed(
            conn, claimed, sent_version=1, pause_s=0, is_unknown=unknown, settle_s=settle_s
        )


async def test_an_accepted_push_makes_the_listing_clean_and_keeps_what_was_accepted(deps: Deps) -> None:
    listing = await mapped(deps)
    assert await accept(deps, await taken(deps, listing), 1)
    row = await listing.row(deps)
    assert row["stale_since"] is None
    assert (row["pushed_version"], row["lease_owner"]) == (1, None)
    assert row["last_accepted"] == [{"start_date": "2026-05-01", "end_date": "2026-05-02", "available": 1}]
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
    assert (await taken(deps, listing)).dirty_version == 2


async def test_attempts_of_one_task_share_its_id_and_the_next_change_is_another_task(deps: Deps) -> None:
    listing = await mapped(deps)
    first = await taken(deps, listing)
    await fail(deps, first, unknown=False)
    second = await taken(deps, listing)
    await accept(deps, second, 1)
    await outbound.note_change(deps, listing.agency_id, listing.property_id, 2)
    third = await taken(deps, listing)
    assert first.task_id == second.task_id != third.task_id


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
    assert successor.lease_epoch == frozen.lease_epoch + 1
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
    assert (await listing.row(deps))["stale_since"] is not None, "the lost request may still arrive"
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
    assert (await taken(deps, listing)).dirty_version == 1
