"""Proves that channels end up with the truth, however they answer, and that every push is explained."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta

import pytest
import pytest_asyncio

from channel_sync.domain.channels import NewConnection, NewListing
from channel_sync.repository import listings as listing_rows
from channel_sync.service import connections, outbound
from channel_sync.service.deps import Deps
from channel_sync.service.pushing import Push
from deploy.local.provision import DatabaseUrls
from deploy.local.services import BOOKING, CHANNEL_SYNC
from deploy.local.supervisor import Supervisor
from runtime.postgres import transaction
from tests.channel_sync.conftest import Agency, Listed, use_cases
from tests.conftest import Provisioned
from tests.e2e.infra.ota_simulator import Misbehaviour, OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack


async def test_the_whole_horizon_is_told_as_absolute_values(listed: Listed) -> None:
    (push,) = listed.ota.pushes
    first, last = push.days[0][0], push.days[-1][1]
    assert (last - first).days == 365
    assert len(listed.ota.calendars["L1"]) == 365


async def test_a_cancelled_booking_opens_its_nights_again_with_their_preparation(listed: Listed, soon: date) -> None:
    booking = await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")
    # The night before would need the booked night for its preparation, the night after is the stay's own preparation.
    assert listed.ota.closed_nights("L1") == {soon + timedelta(days=offset) for offset in (-1, 0, 1)}

    await listed.agency.post(BOOKING, f"/bookings/{booking['id']}/cancel", {})

    await listed.ota.wait_until("L1", soon, "open")
    assert listed.ota.closed_nights("L1") == set()


async def test_a_push_is_in_the_trace_of_the_booking_that_caused_it(listed: Listed, soon: date) -> None:
    trace_id = uuid.uuid4().hex
    await listed.agency.book(
        listed.property_id, soon, soon + timedelta(days=1), traceparent=f"00-{trace_id}-00f067aa0ba902b7-01"
    )
    await listed.ota.wait_until("L1", soon, "closed")
    assert trace_id in str(listed.ota.pushes[-1].traceparent)
    await listed.clean()
    assert (await listed.operations())[-1]["trace_id"] == trace_id


async def test_an_accepted_push_is_one_explained_operation(listed: Listed) -> None:
    (operation,) = await listed.operations()
    assert (operation["status"], operation["direction"], operation["operation_type"]) == (
        "success",
        "outbound",
        "availability_update",
    )
    listing = await listed.listing()
    assert operation["listing_id"] == listing["id"]
    assert operation["inventory_version"] == listing["pushed_version"] == listed.ota.pushes[0].inventory_version
    assert operation["duration_ms"] >= 0
    assert "error" not in operation


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        (Misbehaviour(500), "500"),
        (Misbehaviour(429, {"Retry-After": "1"}), "429"),
        (Misbehaviour(302, {"Location": "http://127.0.0.1:1/"}), "302"),
        (Misbehaviour(200, {"Content-Type": "text/html"}, "<html>log in</html>"), "web page"),
        (Misbehaviour(cut=True), "did not answer"),
        (Misbehaviour(cut=True, applies=True), "did not answer"),
        (Misbehaviour(delay_s=2, applies=True), "did not answer"),
        (Misbehaviour(delay_s=2), "did not answer"),
    ],
    ids=["500", "429", "redirect", "html", "cut", "lost answer", "late", "silent"],
)
async def test_however_a_channel_fails_it_ends_with_the_truth_and_the_failures_are_explained(
    listed: Listed, soon: date, misbehaviour: Misbehaviour, error: str
) -> None:
    listed.ota.answer_next(misbehaviour, times=2)

    await listed.book(soon)

    await listed.ota.wait_for_pushes(4)
    await listed.ota.wait_until("L1", soon, "closed")
    await listed.clean()
    operations = (await listed.operations())[1:]
    statuses = [operation["status"] for operation in operations]
    assert statuses[:2] == ["failed", "failed"]
    assert set(statuses[2:]) == {"success"}
    assert all(error in operation["error"] for operation in operations[:2])
    assert len({operation["task_id"] for operation in operations}) == 1
    assert len({operation["log_id"] for operation in operations}) == len(operations)


async def test_retry_after_is_honoured(listed: Listed, soon: date) -> None:
    listed.ota.fail_next(status=429, retry_after_s=2)
    await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")
    refused, accepted = listed.ota.pushes[-2:]
    assert accepted.at - refused.at >= 2


async def test_a_late_request_that_overtook_a_newer_one_is_corrected(listed: Listed, soon: date) -> None:
    """The channel applies what it was told before the booking only after what it was told of it."""
    first = await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")
    await listed.clean()
    before = len(listed.ota.pushes)
    listed.ota.slow_next(1.5)
    await listed.agency.post(BOOKING, f"/bookings/{first['id']}/cancel", {})
    await listed.ota.wait_until_under_way()
    await listed.book(soon)

    def overtook() -> bool | None:
        values = [push.value_of(soon) for push in listed.ota.pushes[before:]]
        return True if "closed" in values and "open" in values[values.index("closed") :] else None

    await listed.ota.wait_for(overtook, 5, "the late request after the newer one")
    await listed.ota.wait_until("L1", soon, "closed")
    await listed.clean()
    assert soon in listed.ota.closed_nights("L1")


async def test_a_burst_of_changes_ends_with_the_ledgers_nights_and_versions_never_go_back(
    listed: Listed, soon: date
) -> None:
    nights = [soon + timedelta(days=3 * number) for number in range(20)]
    await asyncio.gather(*(listed.book(night) for night in nights))

    await listed.ota.wait_for(
        lambda: True if set(nights) <= listed.ota.closed_nights("L1") else None, 10, "all nights closed"
    )
    versions = [push.inventory_version for push in listed.ota.pushes]
    assert versions == sorted(versions)
    assert (await listed.clean())["pushed_version"] == versions[-1]


async def test_pushes_go_on_while_a_channel_hangs(agency: Agency, soon: date, listed: Listed) -> None:
    """A channel that never answers takes its own listings' time only."""
    async with OtaSimulator() as hanging:
        hanging.slow_next(30, times=50, applies=False)
        connection = await agency.connect(hanging)
        for number in range(5):
            await agency.map_listing(connection["id"], listed.property_id, f"H{number}")
        await listed.book(soon)
        await listed.ota.wait_until("L1", soon, "closed", timeout_s=3)


async def test_a_kill_loses_neither_a_push_under_way_nor_a_revision_just_acknowledged(
    listed: Listed, soon: date, supervisor: Supervisor
) -> None:
    name = f"{CHANNEL_SYNC} of channel-sync's tests"
    sold = soon + timedelta(days=10)
    listed.ota.slow_next(0.9, applies=False)
    await listed.book(soon)
    await listed.ota.wait_until_under_way()
    url = f"{listed.agency.suite.url(CHANNEL_SYNC)}/inbound/{listed.connection_id}"

    reply = await listed.ota.send_revision(url, ota_listing_id="L1", check_in=sold, check_out=sold + timedelta(days=1))
    await asyncio.to_thread(supervisor.kill, name)
    assert len(listed.ota.pushes) == 1, "the push was under way when the process was killed"
    await asyncio.to_thread(supervisor.start, listed.agency.suite.process(CHANNEL_SYNC, name=name))

    assert reply.status == 202
    await listed.ota.wait_until("L1", soon, "closed", timeout_s=30)
    await listed.ota.wait_until("L1", sold, "closed", timeout_s=30)
    await listed.clean()
    assert (await listed.agency.settled(reply.body["log_id"]))["state"] == "applied"


@pytest_asyncio.fixture(loop_scope="session")
async def own(database: DatabaseUrls, provisioned: Provisioned, agency: Agency) -> AsyncIterator[Deps]:
    """The use cases in this process with the real booking, on a database no worker touches."""
    async with use_cases(database, provisioned, agency.suite.url(BOOKING)) as made:
        yield made


async def own_listing(own: Deps, agency: Agency, ota: OtaSimulator) -> str:
    """A listing in the database of `own`; the property's id."""
    property_id = await agency.new_property()
    new = NewConnection("Channel", "generic-json", ota.endpoint_url, {}, ota.secret)
    answer = await connections.create_connection(own, agency.id, new, None, lambda created, _: str(created.id))
    listing = NewListing(uuid.UUID(property_id), "L1", None)
    await connections.map_listing(own, agency.id, uuid.UUID(answer.body), listing, None, lambda mapped: str(mapped.id))
    return property_id


async def claimed(own: Deps, property_id: str) -> Push:
    """The claim of that property's listing."""

    async def look() -> Push | None:
        found = await outbound.claim(own, 1000)
        return next((push for push in found if str(push.claim.listings[0].property_id) == property_id), None)

    return await eventually(look, "a claim")


async def test_a_pusher_frozen_past_its_lease_sends_nothing(own: Deps, agency: Agency, ota: OtaSimulator) -> None:
    task = await claimed(own, await own_listing(own, agency, ota))
    await outbound.push(own, replace(task, asked_at=task.asked_at - own.push.lease_s))
    assert ota.pushes == []


async def test_a_pusher_that_wakes_up_after_its_successor_makes_everything_be_sent_again(
    own: Deps, agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    short = replace(own, push=replace(own.push, lease_s=0.6))
    property_id = await own_listing(own, agency, ota)
    frozen = await claimed(short, property_id)
    await asyncio.sleep(0.7)
    successor = await claimed(own, property_id)
    await outbound.push(own, successor)
    assert len(ota.pushes) == 1

    await outbound.push(own, frozen)

    row = await own.system_pool.fetchrow("SELECT * FROM listings WHERE property_id = $1", uuid.UUID(property_id))
    assert row is not None
    assert (row["pushed_version"], row["last_accepted"]) == (None, None)
    assert row["stale_since"] is not None
    operation = await own.system_pool.fetchrow(
        "SELECT status, error FROM sync_operations WHERE listing_id = $1 ORDER BY updated_at DESC", row["id"]
    )
    assert operation is not None
    assert operation["status"] == "failed"
    await outbound.push(own, await claimed(own, property_id))
    assert ota.night("L1", soon) is not None


async def test_a_state_older_than_what_was_heard_of_is_not_sent(own: Deps, agency: Agency, ota: OtaSimulator) -> None:
    property_id = await own_listing(own, agency, ota)
    await outbound.note_change(own, agency.id, uuid.UUID(property_id), 99)
    await outbound.push(own, await claimed(own, property_id))
    assert ota.pushes == []


async def test_a_property_that_booking_does_not_know_is_not_opened(
    own: Deps, agency: Agency, ota: OtaSimulator
) -> None:
    property_id = await own_listing(own, agency, ota)
    task = await claimed(own, property_id)
    (listing,) = task.claim.listings
    strange = replace(task.claim, listings=(replace(listing, property_id=uuid.uuid4()),))
    await outbound.push(own, replace(task, claim=strange))
    assert ota.pushes == []
    row = await own.system_pool.fetchrow("SELECT * FROM listings WHERE id = $1", listing.listing_id)
    assert row is not None
    assert row["stale_since"] is not None


async def test_a_channel_that_refuses_connections_leaves_the_accepted_values_standing(
    own: Deps, agency: Agency, soon: date
) -> None:
    async with OtaSimulator() as ota:
        property_id = await own_listing(own, agency, ota)
        await outbound.push(own, await claimed(own, property_id))
    await outbound.note_change(own, agency.id, uuid.UUID(property_id), 2)
    await agency.book(property_id, soon, soon + timedelta(days=1))
    await outbound.push(own, await claimed(own, property_id))
    row = await own.system_pool.fetchrow("SELECT * FROM listings WHERE property_id = $1", uuid.UUID(property_id))
    assert row is not None
    assert row["last_accepted"] is not None
    assert row["stale_since"] is not None


async def test_a_mapping_waits_for_a_revision_of_its_listing_that_is_being_stored(
    own: Deps, agency: Agency, ota: OtaSimulator
) -> None:
    new = NewConnection("Channel", "generic-json", ota.endpoint_url, {}, ota.secret)
    answer = await connections.create_connection(own, agency.id, new, None, lambda created, _: str(created.id))
    connection_id = uuid.UUID(answer.body)
    listing = NewListing(uuid.UUID(await agency.new_property()), "L1", None)
    async with transaction(own.pool, agency.id) as conn:
        await listing_rows.lock_listing(conn, connection_id, "L1", exclusive=False)
        mapping = asyncio.create_task(
            connections.map_listing(own, agency.id, connection_id, listing, None, lambda mapped: str(mapped.id))
        )
        done, _ = await asyncio.wait([mapping], timeout=0.5)
        assert not done
    assert (await mapping).status == 201
