"""Proves what takes nights and what does not, end to end: answers, the OTA's calendar and refusals agree."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.journey_client import nights_of
from deploy.local.journey_scene import Scene, open_scene
from tests.e2e.infra.drain import drain
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e


async def test_back_to_back_stays_share_a_date(scene: Scene) -> None:
    for stay in (days(0, 3), days(3, 5), days(-2, 0)):
        (await scene.agency.book(scene.property_id, stay)).expect(201)
    await scene.shown(days(-3, 6), closed=nights_of(days(-2, 5)))
    await scene.told(days(-2, 5), "closed")


async def test_a_gap_shorter_than_its_preparation_is_nowhere_advertised(running: Running, scene: Scene) -> None:
    tight = await open_scene(scene.agency, running.ota, preparation_days=2)
    for stay in (days(0, 3), days(7, 9)):
        (await tight.agency.book(tight.property_id, stay)).expect(201)
    # Nights 3 and 4 prepare after the first stay; a stay of night 5 or 6 would need nights that are taken.
    seen = await tight.shown(days(0, 9), closed=nights_of(days(0, 9)))
    kinds = [(item["start_date"], item["end_date"], item["kind"]) for item in seen.body["ranges"]]
    assert kinds == [
        (str(days(0, 3)[0]), str(days(0, 3)[1]), "reservation"),
        (str(days(3, 7)[0]), str(days(3, 7)[1]), "preparation"),
        (str(days(7, 9)[0]), str(days(7, 9)[1]), "reservation"),
    ]
    await tight.told(days(0, 9), "closed")
    for stay in (days(5, 6), days(5, 7), days(6, 7), days(4, 5)):
        assert (await tight.agency.book(tight.property_id, stay)).expect(409)["code"] == "inventory_overlap"
    # One more free night before the second stay is enough for one night and its two days of preparation.
    roomy = await open_scene(scene.agency, running.ota, preparation_days=2)
    for stay in (days(0, 3), days(8, 9)):
        (await roomy.agency.book(roomy.property_id, stay)).expect(201)
    await roomy.shown(days(0, 9), closed=nights_of(days(0, 9)) - nights_of(days(5, 6)))
    await roomy.told(days(5, 6), "open", version=3)
    (await roomy.agency.book(roomy.property_id, days(5, 6))).expect(201)


async def test_cancelling_twice_answers_the_same_and_changes_nothing_more(scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, days(0, 3))).expect(201)
    first = (await scene.agency.cancel(booked["id"])).expect(200)
    second = (await scene.agency.cancel(booked["id"])).expect(200)
    assert first["status"] == "cancelled"
    assert second == first
    state = (await scene.agency.request("GET", f"/properties/{scene.property_id}")).expect(200)
    assert state["inventory_version"] == first["inventory_version"]


async def test_cancelling_at_the_same_time_answers_the_same(scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, days(0, 3))).expect(201)
    replies = await asyncio.gather(*(scene.agency.cancel(booked["id"]) for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1


async def test_an_inquiry_takes_no_night(scene: Scene, running: Running) -> None:
    inquiry = (await scene.agency.book(scene.property_id, days(0, 3), status="inquiry")).expect(201)
    assert inquiry["status"] == "inquiry"
    await drain(running)
    await scene.shown(days(0, 3), closed=set())
    assert scene.ota.closed_nights(scene.listing_id) == set()
    (await scene.agency.book(scene.property_id, days(1, 2))).expect(201)
    # Nor is it refused for nights that are taken: it only asks.
    (await scene.agency.book(scene.property_id, days(0, 3), status="inquiry")).expect(201)


async def test_a_block_refuses_bookings_and_its_deletion_frees_the_nights(scene: Scene) -> None:
    block = (await scene.agency.block(scene.property_id, days(0, 4))).expect(201)
    await scene.shown(days(0, 5), closed=nights_of(days(0, 4)), kind="block")
    await scene.told(days(0, 4), "closed")
    refused = (await scene.agency.book(scene.property_id, days(3, 6))).expect(409)
    assert refused["conflict"]["kind"] == "block"
    assert (await scene.agency.block(scene.property_id, days(2, 3))).expect(409)["code"] == "inventory_overlap"
    (await scene.agency.unblock(block["id"])).expect(200)
    await scene.shown(days(0, 5), closed=set())
    await scene.told(days(0, 4), "open")
    (await scene.agency.book(scene.property_id, days(3, 6))).expect(201)


async def test_a_retry_with_the_same_key_answers_the_same_bytes_and_books_once(scene: Scene) -> None:
    email = {"guest": {"name": "Ada", "email": "ada@example.org"}}
    first, *retries = [await scene.agency.book(scene.property_id, days(0, 3), key="key-1", **email) for _ in range(3)]
    assert first.status == 201
    assert first.headers.get("Idempotent-Replayed") is None
    for retry in retries:
        assert (retry.status, retry.content, retry.headers["Idempotent-Replayed"]) == (201, first.content, "true")
    other = await scene.agency.book(scene.property_id, days(5, 6), key="key-1", **email)
    assert other.expect(422)["code"] == "idempotency_mismatch"
    assert len(await scene.agency.bookings(scene.property_id)) == 1


async def test_concurrent_requests_with_one_key_book_once_and_answer_the_same_bytes(scene: Scene) -> None:
    email = {"guest": {"name": "Ada", "email": "ada@example.org"}}
    replies = await asyncio.gather(
        *(scene.agency.book(scene.property_id, days(0, 3), key="key-2", **email) for _ in range(10))
    )
    assert {reply.status for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert len(await scene.agency.bookings(scene.property_id)) == 1
