"""Proves the API and both inbound doors of channel-sync as a process beside the real booking."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import aiohttp
import pytest

from deploy.local.ports import free_port
from deploy.local.services import BOOKING, CHANNEL_SYNC, Suite
from deploy.local.supervisor import Supervisor
from runtime.tokens import issue_token
from tests.channel_sync.conftest import Agency
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def reservation(agency: Agency, revision: Any) -> Any:
    """The reservation a revision ended in."""
    return await agency.get(BOOKING, f"/bookings/{revision['reservation_id']}")


async def test_an_ota_reservation_ends_as_a_confirmed_booking_and_its_revision_as_applied(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    property_id = await agency.new_property()
    await agency.map_listing(connection["id"], property_id, "L1")

    reply = await ota.send_revision(
        agency.inbound_url(connection), ota_listing_id="L1", check_in=soon, check_out=soon + timedelta(days=3)
    )

    assert reply.status == 202
    assert set(reply.body) == {"revision_id", "log_id"}
    revision = await agency.settled(reply.body["log_id"])
    assert revision["state"] == "applied"
    booked = await reservation(agency, revision)
    assert (booked["status"], booked["source"], booked["nights"]) == ("confirmed", "ota", 3)
    await ota.wait_until("L1", soon, "closed")


async def test_a_revision_delivered_again_gets_200_with_the_same_log_id(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    await agency.map_listing(connection["id"], await agency.new_property(), "L1")
    stay: dict[str, Any] = {"check_in": soon, "check_out": soon + timedelta(days=1), "revision_id": "once"}

    first = await ota.send_revision(agency.inbound_url(connection), ota_listing_id="L1", **stay)
    second = await ota.send_revision(agency.inbound_url(connection), ota_listing_id="L1", **stay)

    assert (first.status, second.status) == (202, 200)
    assert first.body == second.body


async def test_a_cancellation_that_arrives_before_its_reservation_wins(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    await agency.map_listing(connection["id"], await agency.new_property(), "L1")
    about: dict[str, Any] = {"ota_listing_id": "L1", "ota_reservation_code": "EARLY"}
    url = agency.inbound_url(connection)

    cancelled = await ota.send_revision(url, **about, status="cancelled", published_at="2026-03-01T10:00:01Z")
    created = await ota.send_revision(
        url, **about, published_at="2026-03-01T10:00:00Z", check_in=soon, check_out=soon + timedelta(days=2)
    )

    await agency.settled(cancelled.body["log_id"])
    assert (await agency.settled(created.body["log_id"]))["state"] == "superseded"
    await ota.wait_until("L1", soon, "open")


async def test_a_revision_of_an_unmapped_listing_is_applied_once_it_is_mapped(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    reply = await ota.send_revision(
        agency.inbound_url(connection), ota_listing_id="later", check_in=soon, check_out=soon + timedelta(days=2)
    )
    assert reply.status == 202
    assert (await agency.revision(reply.body["log_id"]))["state"] == "unmapped"

    await agency.map_listing(connection["id"], await agency.new_property(), "later")

    assert (await agency.settled(reply.body["log_id"]))["state"] == "applied"
    await ota.wait_until("later", soon, "closed")


async def test_unreadable_bytes_get_422_naming_the_field_and_where_they_are_kept(
    agency: Agency, ota: OtaSimulator
) -> None:
    connection = await agency.connect(ota)
    body = json.dumps({"revision_id": "r1", "status": "new", "guest": {"name": "Zoe Guest"}}).encode()

    reply = await ota.send_bytes(agency.inbound_url(connection), body)

    assert reply.status == 422
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.body["code"] == "validation_error"
    assert [error["field"] for error in reply.body["errors"]] == ["ota_name"]
    assert "Zoe" not in json.dumps(reply.body)
    assert (await agency.revision(reply.body["log_id"]))["state"] == "unparseable"


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "another secret of sixteen"},
        {"timestamp": "1700000000"},
        {"timestamp": str(int(time.time()) + 3600)},
        {"signature": ""},
        {"signature": "ü"},
    ],
)
async def test_a_wrong_signature_gets_401_and_stores_nothing(
    agency: Agency, ota: OtaSimulator, changes: dict[str, Any]
) -> None:
    connection = await agency.connect(ota)

    reply = await ota.send_bytes(agency.inbound_url(connection), b"{}", **changes)

    assert (reply.status, reply.body["code"]) == (401, "signature_invalid")
    assert (await agency.get(CHANNEL_SYNC, "/inbound-revisions"))["items"] == []


async def test_an_unknown_connection_answers_as_a_wrong_signature_does(agency: Agency, ota: OtaSimulator) -> None:
    connection = await agency.connect(ota)
    base = agency.suite.url(CHANNEL_SYNC)
    wrong = await ota.send_bytes(agency.inbound_url(connection), b"{}", signature="00")
    for unknown in (uuid.uuid4(), "not-a-uuid"):
        reply = await ota.send_bytes(f"{base}/inbound/{unknown}", b"{}")
        assert {**reply.body, "trace_id": ""} == {**wrong.body, "trace_id": ""}
        assert reply.status == wrong.status


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    for _ in range(size // 1024):
        yield b" " * 1024


async def test_a_body_over_the_limit_gets_413(agency: Agency, ota: OtaSimulator) -> None:
    connection = await agency.connect(ota)
    reply = await ota.send_bytes(agency.inbound_url(connection), b" " * (300 * 1024))
    assert (reply.status, reply.body["code"]) == (413, "payload_too_large")
    token = issue_token(agency.suite.secrets.jwt_secret, subject="t", agency_id=agency.id, roles=[])
    for path in (f"/inbound/{connection['id']}", "/channel-connections"):
        url, headers = agency.suite.url(CHANNEL_SYNC) + path, {"Authorization": f"Bearer {token}"}
        async with agency.session.post(url, data=chunks(300 * 1024), headers=headers) as response:
            assert response.status == 413


async def test_the_secret_is_shown_once_and_only_when_the_suite_made_it(agency: Agency, ota: OtaSimulator) -> None:
    body = {"name": "Channel", "adapter": "generic-json", "endpoint_url": ota.endpoint_url}
    made = await agency.post(CHANNEL_SYNC, "/channel-connections", body)
    given = await agency.post(CHANNEL_SYNC, "/channel-connections", {**body, "secret": ota.secret})

    assert len(made["secret"]) >= 32
    assert "secret" not in given
    assert made["inbound_url"].endswith(f"/api/v1/inbound/{made['id']}")
    listed = (await agency.get(CHANNEL_SYNC, "/channel-connections"))["items"]
    assert [item["id"] for item in listed] == [given["id"], made["id"]]
    assert not any("secret" in item for item in listed)
    assert "secret" not in await agency.get(CHANNEL_SYNC, f"/channel-connections/{made['id']}")


async def test_creations_with_one_idempotency_key_have_one_effect_and_one_answer(
    agency: Agency, ota: OtaSimulator
) -> None:
    body = {"name": "Channel", "adapter": "generic-json", "endpoint_url": ota.endpoint_url}
    key = {"Idempotency-Key": "k1"}
    first = await agency.call(CHANNEL_SYNC, "POST", "/channel-connections", body, key)
    again = await agency.call(CHANNEL_SYNC, "POST", "/channel-connections", body, key)
    other = await agency.call(CHANNEL_SYNC, "POST", "/channel-connections", {**body, "name": "Other"}, key)
    assert (first.status, again.status, other.status) == (201, 201, 422)
    assert first.body == again.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.body["code"] == "idempotency_mismatch"

    path = f"/channel-connections/{first.body['id']}/listings"
    listing = {"property_id": await agency.new_property(), "ota_listing_id": "L1"}
    key = {"Idempotency-Key": "k2"}
    mapped = await asyncio.gather(*(agency.call(CHANNEL_SYNC, "POST", path, listing, key) for _ in range(5)))
    assert [answer.status for answer in mapped] == [201] * 5
    assert len({json.dumps(answer.body) for answer in mapped}) == 1
    without_key = await agency.call(CHANNEL_SYNC, "POST", path, listing)
    assert (without_key.status, without_key.body["code"]) == (409, "already_exists")


async def test_a_key_used_for_one_connection_is_not_replayed_for_another(agency: Agency, ota: OtaSimulator) -> None:
    listing = {"property_id": await agency.new_property(), "ota_listing_id": "L1"}
    paths = [f"/channel-connections/{(await agency.connect(ota))['id']}/listings" for _ in range(2)]
    key = {"Idempotency-Key": "k"}
    answers = [await agency.call(CHANNEL_SYNC, "POST", path, listing, key) for path in paths]
    assert [answer.status for answer in answers] == [201, 422]
    assert answers[1].body["code"] == "idempotency_mismatch"


async def test_text_that_cannot_be_stored_is_the_callers_error(agency: Agency, ota: OtaSimulator) -> None:
    body = {"name": "nul\x00", "adapter": "generic-json", "endpoint_url": ota.endpoint_url}
    for changed in (body, {**body, "name": "Channel", "settings": {"key": "nul\x00"}}):
        answer = await agency.call(CHANNEL_SYNC, "POST", "/channel-connections", changed)
        assert (answer.status, answer.body["code"]) == (422, "validation_error")


async def test_nothing_of_another_agency_can_be_read_or_mapped(agency: Agency, ota: OtaSimulator) -> None:
    connection = await agency.connect(ota)
    property_id = await agency.new_property()
    stranger = Agency(agency.suite, agency.session)
    path = f"/channel-connections/{connection['id']}"
    for tail in ("", "/listings", "/operations"):
        answer = await stranger.call(CHANNEL_SYNC, "GET", path + tail)
        assert (answer.status, answer.body["code"]) == (404, "not_found")
    listing = {"property_id": property_id, "ota_listing_id": "L1"}
    assert (await stranger.call(CHANNEL_SYNC, "POST", f"{path}/listings", listing)).status == 404
    own = await stranger.connect(ota)
    foreign = await stranger.call(CHANNEL_SYNC, "POST", f"/channel-connections/{own['id']}/listings", listing)
    assert (foreign.status, foreign.body["detail"]) == (404, "There is no such property.")
    revisions = await stranger.get(CHANNEL_SYNC, f"/inbound-revisions?connection_id={connection['id']}")
    assert revisions["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/channel-connections"),
        ("POST", "/channel-connections"),
        ("GET", f"/channel-connections/{UNKNOWN}"),
        ("POST", f"/channel-connections/{UNKNOWN}/listings"),
        ("GET", f"/channel-connections/{UNKNOWN}/operations"),
        ("GET", "/inbound-revisions"),
    ],
)
async def test_every_route_but_the_webhook_needs_a_token(agency: Agency, method: str, path: str) -> None:
    async with agency.session.request(method, agency.suite.url(CHANNEL_SYNC) + path) as response:
        assert response.status == 401


async def test_pages_of_connections_and_listings_are_whole(agency: Agency, ota: OtaSimulator) -> None:
    connections = [(await agency.connect(ota))["id"] for _ in range(3)]
    property_id = await agency.new_property()
    listings = [(await agency.map_listing(connections[0], property_id, f"L{n}"))["id"] for n in range(3)]
    for path, created in (
        ("/channel-connections", connections),
        (f"/channel-connections/{connections[0]}/listings", listings),
    ):
        first = await agency.get(CHANNEL_SYNC, f"{path}?limit=2")
        second = await agency.get(CHANNEL_SYNC, f"{path}?limit=2&cursor={first['next_cursor']}")
        assert [item["id"] for item in first["items"] + second["items"]] == created[::-1]
        assert "next_cursor" not in second
        bad = await agency.call(CHANNEL_SYNC, "GET", f"{path}?cursor=nonsense")
        assert (bad.status, bad.body["code"]) == (422, "validation_error")


@pytest.fixture
async def switched_off(suite: Suite, supervisor: Supervisor) -> AsyncIterator[str]:
    """The address of a channel-sync that is switched off."""
    port = free_port()
    env = {"CHANNEL_MANAGER_ENABLED": "false"}
    spec = suite.process(CHANNEL_SYNC, name="channel-sync switched off", port=port, env=env)
    await asyncio.to_thread(supervisor.start, spec)
    yield f"http://127.0.0.1:{port}"
    await asyncio.to_thread(supervisor.stop, spec.name)


async def test_switched_off_it_is_healthy_and_its_routes_answer_503(switched_off: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{switched_off}/health/ready") as response:
            assert response.status == 200
        for path in ("/channel-connections", "/inbound-revisions", f"/inbound/{uuid.uuid4()}"):
            method = "POST" if path.startswith("/inbound/") else "GET"
            async with session.request(method, switched_off + path) as response:
                problem = await response.json(content_type=None)
                assert (response.status, problem["code"]) == (503, "channel_manager_disabled")
                assert int(response.headers["Retry-After"]) > 0


async def test_guests_are_in_no_log_line_of_channel_sync(
    agency: Agency, ota: OtaSimulator, soon: date, supervisor: Supervisor
) -> None:
    connection = await agency.connect(ota)
    await agency.map_listing(connection["id"], await agency.new_property(), "L1")
    guest = {"name": "Xylophia Unmistakable", "email": "xylophia@unmistakable.example", "phone": "+999 123"}
    stay: dict[str, Any] = {"ota_listing_id": "L1", "guest": guest, "check_in": soon}
    good = await ota.send_revision(agency.inbound_url(connection), check_out=soon + timedelta(days=1), **stay)
    await ota.send_revision(agency.inbound_url(connection), check_out=soon, **stay)
    await ota.send_revision(agency.inbound_url(connection), check_out=soon, status="Xylophia Unmistakable", **stay)
    await agency.settled(good.body["log_id"])

    async def logged() -> str | None:
        log = await asyncio.to_thread(supervisor.log_path(f"{CHANNEL_SYNC} of channel-sync's tests").read_text)
        return log if good.body["log_id"] in log else None

    log = await eventually(logged, "a log line of the stored revision")
    assert not any(word in log.lower() for word in ("xylophia", "unmistakable", "+999"))
