"""Proves the steps of the guided journey one by one, each on a property of its own, through the gateway."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from deploy.local.journey_client import Agency, closed_nights, nights_of
from deploy.local.journey_scene import Scene, new_code
from tests.e2e.infra.drain import drain
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

STAY = days(0, 3)
LONGER_STAY = days(0, 5)
STILL_FREE = days(3, 5)


async def opened_nights_since(scene: Scene, push_count: int, nights: set[date]) -> list[Any]:
    return [
        push
        for push in scene.ota.pushes[push_count:]
        if push.ota_listing_id == scene.listing_id and any(push.value_of(night) == "open" for night in nights)
    ]


async def test_a_new_property_can_be_read_and_all_its_nights_are_open_here_and_at_the_ota(scene: Scene) -> None:
    created = scene.created.expect(201)
    assert created["inventory_version"] == 1
    read = await scene.agency.request("GET", f"/properties/{scene.property_id}")
    assert read.expect(200) == created
    await scene.shown(days(-30, 300), closed=set())
    await scene.told(days(-29, 300), "open")


async def test_a_guest_books_and_reads_the_same_reservation_back(scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY, notes="late arrival")).expect(201)
    assert (booked["status"], booked["nights"], booked["inventory_version"]) == ("confirmed", 3, 2)
    assert (booked["check_in"], booked["check_out"]) == tuple(map(str, STAY))
    assert await scene.agency.booking(booked["id"]) == booked
    assert await scene.agency.bookings(scene.property_id) == [booked]


async def test_availability_comes_to_show_booked_nights_closed_from_its_own_memory(scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    seen = await scene.shown(LONGER_STAY, closed=nights_of(STAY))
    assert seen.body["inventory_version"] == booked["inventory_version"]
    assert seen.body["ranges"] == [{"start_date": str(STAY[0]), "end_date": str(STAY[1]), "kind": "reservation"}]


async def test_an_answer_with_the_version_of_an_own_write_always_contains_it(scene: Scene) -> None:
    for number in range(5):
        stay = days(number, number + 1)
        booked = (await scene.agency.book(scene.property_id, stay)).expect(201)
        answer = await scene.availability(stay, min_version=booked["inventory_version"])
        assert answer["inventory_version"] >= booked["inventory_version"]
        assert closed_nights(answer["ranges"]) == nights_of(stay)


async def test_the_ota_is_told_that_booked_nights_are_closed_and_no_other(scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    told = await scene.told(STAY, "closed")
    assert told.inventory_version == booked["inventory_version"]
    assert scene.ota.closed_nights(scene.listing_id) == nights_of(STAY)


async def test_second_guest_for_the_same_night_gets_409_naming_the_range(scene: Scene) -> None:
    (await scene.agency.book(scene.property_id, STAY)).expect(201)
    refused = await scene.agency.book(scene.property_id, days(2, 4))
    problem = refused.expect(409)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == "inventory_overlap"
    assert problem["conflict"] == {"kind": "reservation", "start_date": str(STAY[0]), "end_date": str(STAY[1])}
    assert problem["trace_id"] == refused.trace_id
    assert len(await scene.agency.bookings(scene.property_id)) == 1


async def test_an_ota_booking_of_free_nights_becomes_a_confirmed_reservation(scene: Scene) -> None:
    code = new_code()
    await scene.sell(STAY, code)
    reservation = await scene.reservation(code, "confirmed")
    assert (reservation["source"], reservation["ota_name"]) == ("ota", "simulator")
    assert (reservation["check_in"], reservation["check_out"]) == tuple(map(str, STAY))
    await scene.shown(LONGER_STAY, closed=nights_of(STAY))
    (await scene.agency.book(scene.property_id, STAY)).expect(409)


async def test_each_ota_revision_gets_its_outcome_once_however_often_it_is_sent(scene: Scene, running: Running) -> None:
    code = new_code()
    for _ in range(3):
        reply = await scene.ota.send_revision(
            scene.inbound_url,
            ota_listing_id=scene.listing_id,
            check_in=STAY[0],
            check_out=STAY[1],
            ota_reservation_code=code,
            revision_id=f"revision-of-{code}",
        )
        assert reply.status in (200, 202)
    await scene.reservation(code, "confirmed")
    await drain(running)
    history = (await scene.agency.request("GET", "/inbound-revisions")).expect(200)["items"]
    assert [(item["ota_reservation_code"], item["state"]) for item in history] == [(code, "applied")]


async def test_an_ota_booking_of_partly_taken_nights_is_kept_as_overbooked_and_closes_what_is_free(
    scene: Scene,
) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    code = new_code()
    await scene.sell(LONGER_STAY, code)
    overbooked = await scene.reservation(code, "overbooked")
    await scene.shown(LONGER_STAY, closed=nights_of(STILL_FREE), kind="conflict")
    await scene.shown(LONGER_STAY, closed=nights_of(STAY), kind="reservation")
    await scene.told(LONGER_STAY, "closed")
    conflicts = (await scene.agency.request("GET", "/channel-conflicts")).expect(200)["items"]
    assert [(item["reservation_id"], item["state"], item["competing_source_ids"]) for item in conflicts] == [
        (overbooked["id"], "open", [booked["id"]])
    ]
    refused = (await scene.agency.book(scene.property_id, STILL_FREE)).expect(409)
    assert refused["conflict"]["kind"] == "conflict"


async def test_the_guests_cancellation_confirms_the_overbooked_stay_and_its_nights_never_open(
    scene: Scene, running: Running
) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    code = new_code()
    await scene.sell(LONGER_STAY, code)
    await scene.reservation(code, "overbooked")
    await scene.told(LONGER_STAY, "closed")
    await scene.shown(LONGER_STAY, closed=nights_of(LONGER_STAY))
    pushed_before = len(scene.ota.pushes)
    looks: list[set[date]] = []
    cancelling = asyncio.create_task(scene.agency.cancel(booked["id"]))
    while not cancelling.done() or len(looks) < 30:
        looks.append(closed_nights((await scene.availability(LONGER_STAY))["ranges"]))
    assert (await cancelling).expect(200)["status"] == "cancelled"
    await scene.reservation(code, "confirmed")
    await scene.shown(LONGER_STAY, closed=nights_of(LONGER_STAY), kind="reservation")
    await drain(running)
    assert [look for look in looks if look != nights_of(LONGER_STAY)] == []
    assert await opened_nights_since(scene, pushed_before, nights_of(LONGER_STAY)) == []
    assert scene.ota.closed_nights(scene.listing_id) == nights_of(LONGER_STAY)
    conflicts = (await scene.agency.request("GET", "/channel-conflicts")).expect(200)["items"]
    assert [(item["state"], item["resolution"]) for item in conflicts] == [("closed", "nights_came_free")]


async def test_the_otas_cancellation_opens_its_nights_in_availability_and_at_the_ota(scene: Scene) -> None:
    code = new_code()
    await scene.sell(STAY, code)
    await scene.reservation(code, "confirmed")
    await scene.told(STAY, "closed")
    await scene.withdraw(code)
    await scene.reservation(code, "cancelled")
    await scene.shown(LONGER_STAY, closed=set())
    await scene.told(LONGER_STAY, "open")
    (await scene.agency.book(scene.property_id, STAY)).expect(201)


async def test_the_journeys_agency_sees_nothing_of_another_agency(scene: Scene, running: Running) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    async with running.agency() as stranger:
        await _sees_nothing(stranger, scene, booked["id"])


async def _sees_nothing(stranger: Agency, scene: Scene, booking_id: str) -> None:
    assert await stranger.bookings(scene.property_id) == []
    assert (await stranger.request("GET", "/properties")).expect(200)["items"] == []
    assert (await stranger.request("GET", "/channel-connections")).expect(200)["items"] == []
    for path in (f"/bookings/{booking_id}", f"/properties/{scene.property_id}"):
        assert (await stranger.request("GET", path)).expect(404)["code"] == "not_found"
    assert (await stranger.availability(scene.property_id, STAY)).status == 404
    assert (await stranger.cancel(booking_id)).status == 404
    assert (await stranger.book(scene.property_id, days(10, 12))).status == 404
