"""Proves the history of synchronisations: batches, tasks, attempts, retries, delays, and what is cleared away."""

import asyncio
import uuid
from datetime import date, timedelta
from typing import Any

import pytest

from channel_sync.domain.batches import DELAY_BOUNDS_MS
from deploy.local.services import BOOKING, CHANNEL_SYNC
from tests.channel_sync.conftest import Agency, Listed
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack


async def batches(listed: Listed, query: str = "") -> Any:
    """The batches of the connection."""
    return await listed.agency.get(CHANNEL_SYNC, f"/channel-connections/{listed.connection_id}/sync-batches{query}")


async def details(listed: Listed, batch_id: str) -> Any:
    """One batch with its operations."""
    path = f"/channel-connections/{listed.connection_id}/sync-batches/{batch_id}"
    return await listed.agency.get(CHANNEL_SYNC, path)


async def sync(listed: Listed, sync_type: str = "full", *, dry_run: bool = False) -> Any:
    """Ask for a synchronisation; the answer."""
    path = f"/channel-connections/{listed.connection_id}/sync"
    return await listed.agency.call(CHANNEL_SYNC, "POST", path, {"sync_type": sync_type, "dry_run": dry_run})


async def ended(listed: Listed, batch_id: str, status: str) -> Any:
    """A batch once it stands like this."""

    async def look() -> Any:
        found = await details(listed, batch_id)
        return found if found["batch_status"] == status else None

    return await eventually(look, f"a batch that is {status}")


async def test_a_full_sync_tells_everything_again_and_every_task_succeeds(listed: Listed) -> None:
    before = len(listed.ota.pushes)
    answer = await sync(listed)
    assert answer.status == 202
    batch = await ended(listed, answer.body["batch_id"], "success")
    assert batch["sync_type"] == "full"
    assert {operation["task_id"] for operation in batch["operations"]} == set(answer.body["task_ids"])
    assert sorted(operation["operation_type"] for operation in batch["operations"]) == [
        "availability_update",
        "pricing_update",
    ]
    (push,) = listed.ota.pushes[before:]
    assert sum((end - start).days for start, end, _ in push.days) == 365
    assert all(len(operation["payload_digest"]) == 64 for operation in batch["operations"])


async def test_a_sync_asked_for_while_the_listing_is_being_told_tells_all_of_it_afterwards(
    listed: Listed, soon: date
) -> None:
    listed.ota.slow_next(0.4)
    await listed.book(soon)
    await listed.ota.wait_until_under_way(10)
    before = len(listed.ota.pushes)
    answer = await sync(listed)
    assert len(listed.ota.pushes) == before, "the push is still under way"
    batch = await ended(listed, answer.body["batch_id"], "success")
    assert {operation["task_id"] for operation in batch["operations"]} == set(answer.body["task_ids"])
    assert {operation["status"] for operation in batch["operations"]} == {"success"}
    assert sum((end - start).days for start, end, _ in listed.ota.pushes[-1].days) == 365


@pytest.mark.parametrize(
    ("sync_type", "operation_type"), [("availability", "availability_update"), ("pricing", "pricing_update")]
)
async def test_a_sync_of_one_kind_is_one_task_a_listing(listed: Listed, sync_type: str, operation_type: str) -> None:
    answer = await sync(listed, sync_type)
    batch = await ended(listed, answer.body["batch_id"], "success")
    assert operation_type in {operation["operation_type"] for operation in batch["operations"]}
    assert len(answer.body["task_ids"]) == 1


async def test_a_dry_run_says_what_would_be_told_and_tells_nothing(listed: Listed, soon: date) -> None:
    nothing = await sync(listed, dry_run=True)
    assert (nothing.status, nothing.body["listings"][0]["days"]) == (200, [])
    listed.ota.fail_next(200)
    await listed.book(soon)

    async def differs() -> Any:
        found = (await sync(listed, dry_run=True)).body["listings"][0]["days"]
        return found or None

    (night,) = await eventually(differs, "a difference")
    assert (night["start_date"], night["available"]) == ((soon - timedelta(days=1)).isoformat(), 0)
    assert (await batches(listed, "?status=running"))["total"] == 0


async def test_a_failed_batch_is_healed_by_a_retry_and_its_attempts_are_numbered(listed: Listed) -> None:
    listed.ota.fail_next(1, status=429, retry_after_s=600)
    answer = await sync(listed, "availability")
    failed = await ended(listed, answer.body["batch_id"], "failed")
    (operation,) = failed["operations"]
    assert (operation["attempt"], operation["error_class"]) == (1, "rate_limited")
    assert (await batches(listed, "?status=failed"))["total"] == 1

    retried = await listed.agency.call(CHANNEL_SYNC, "POST", f"/sync-operations/{operation['log_id']}/retry")

    assert retried.status == 202
    healed = await ended(listed, answer.body["batch_id"], "success")
    of_task = [one for one in healed["operations"] if one["task_id"] == operation["task_id"]]
    assert [(one["attempt"], one["status"]) for one in of_task] == [(1, "failed"), (2, "success")]
    assert (await batches(listed, "?status=failed"))["total"] == 0
    again = await listed.agency.call(CHANNEL_SYNC, "POST", f"/sync-operations/{operation['log_id']}/retry")
    assert (again.status, again.body["code"]) == (409, "illegal_transition")


async def test_changes_told_within_the_window_are_one_batch_and_nothing_told_is_none(
    listed: Listed, soon: date
) -> None:
    before = (await batches(listed))["total"]
    for offset in (0, 5, 10):
        await listed.book(soon + timedelta(days=offset))
        await listed.ota.wait_until("L1", soon + timedelta(days=offset), "closed")
        await listed.clean()
    found = await batches(listed)
    assert {batch["sync_type"] for batch in found["items"]} == {"changes"}
    assert found["total"] - before <= 1
    assert {batch["batch_status"] for batch in found["items"]} == {"success"}


async def test_a_change_of_prices_is_told_as_such(listed: Listed, soon: date) -> None:
    path = f"/properties/{listed.property_id}/rates"
    answer = await listed.agency.call(BOOKING, "PUT", path, {"default_minor": 9000})
    assert answer.status == 200, answer

    async def told() -> Any:
        operations = await listed.operations()
        return operations[-1] if operations[-1]["operation_type"] == "pricing_update" else None

    assert (await eventually(told, "a told price"))["status"] == "success"
    assert listed.ota.pushes[-1].value_of(soon) == "open"


async def test_only_what_changed_is_told(listed: Listed, soon: date) -> None:
    await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")
    days = listed.ota.pushes[-1].days
    assert sum((end - start).days for start, end, _ in days) == 3, "the night, and a day of preparation on both sides"


async def test_staleness_names_what_was_not_told_and_counts_how_long_changes_took(listed: Listed, soon: date) -> None:
    path = f"/channel-connections/{listed.connection_id}/staleness"
    await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")
    await listed.clean()
    fresh = await listed.agency.get(CHANNEL_SYNC, path)
    assert "stale_since" not in fresh["listings"][0]
    assert fresh["told"] == sum(one["count"] for one in fresh["histogram"]) >= 1
    assert [one.get("up_to_ms") for one in fresh["histogram"]] == [*DELAY_BOUNDS_MS, None]
    assert 0 < fresh["p50_ms"] <= fresh["p99_ms"]

    listed.ota.fail_next(200)
    await listed.book(soon + timedelta(days=7))

    async def stale() -> Any:
        found = (await listed.agency.get(CHANNEL_SYNC, path))["listings"][0]
        return found if found.get("error") else None

    behind = await eventually(stale, "a stale listing")
    assert behind["age_ms"] > 0
    assert "500" in behind["error"]


async def test_old_batches_are_counted_before_they_are_cleared_away(listed: Listed) -> None:
    path = f"/channel-connections/{listed.connection_id}/sync-batches"
    preview = await listed.agency.call(CHANNEL_SYNC, "DELETE", f"{path}?dry_run=true")
    assert preview.body == {"batches": 0, "operations": 0, "dry_run": True}
    assert (await batches(listed))["total"] == 1
    for wrong in ("0", "x", "99999"):
        answer = await listed.agency.call(CHANNEL_SYNC, "DELETE", f"{path}?older_than_days={wrong}")
        assert answer.status == 422


async def test_another_agency_sees_and_starts_nothing(listed: Listed) -> None:
    (batch,) = (await batches(listed))["items"]
    (operation,) = (await details(listed, batch["batch_id"]))["operations"]
    other = Agency(listed.agency.suite, listed.agency.session)
    base = f"/channel-connections/{listed.connection_id}"
    for method, path, body in [
        ("POST", f"{base}/sync", {"sync_type": "full"}),
        ("POST", f"{base}/sync", {"sync_type": "full", "dry_run": True}),
        ("GET", f"{base}/sync-batches", None),
        ("DELETE", f"{base}/sync-batches", None),
        ("GET", f"{base}/sync-batches/{batch['batch_id']}", None),
        ("GET", f"{base}/staleness", None),
        ("POST", f"/sync-operations/{operation['log_id']}/retry", None),
    ]:
        assert (await other.call(CHANNEL_SYNC, method, path, body)).status == 404, path
    assert (await listed.agency.call(CHANNEL_SYNC, "GET", f"{base}/sync-batches/{uuid.uuid4()}")).status == 404


async def test_many_listings_of_one_property_are_told_from_one_read(agency: Agency, soon: date) -> None:
    property_id = await agency.new_property()
    async with OtaSimulator() as ota:
        connection = await agency.connect(ota)
        for number in range(8):
            await agency.map_listing(connection["id"], property_id, f"L{number}")
        for number in range(8):
            await ota.wait_until(f"L{number}", soon, "open")
        await asyncio.gather(
            agency.book(property_id, soon, soon + timedelta(days=1)),
            agency.book(property_id, soon + timedelta(days=3), soon + timedelta(days=4)),
        )
        for number in range(8):
            await ota.wait_until(f"L{number}", soon, "closed")
            await ota.wait_until(f"L{number}", soon + timedelta(days=3), "closed")
