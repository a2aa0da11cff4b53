"""Proves what can be done with connections and listings once they are there: change, test, switch off, delete."""

import uuid
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from channel_sync.domain.channels import NewConnection
from channel_sync.service import connections
from channel_sync.service.deps import Cipher, Deps
from deploy.local.services import BOOKING, CHANNEL_SYNC
from tests.channel_sync.conftest import Agency, Answer, Listed
from tests.conftest import Provisioned
from tests.e2e.infra.ota_simulator import Misbehaviour, OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack


async def change(listed: Listed, **changes: Any) -> Answer:
    """Change the connection."""
    return await listed.agency.call(CHANNEL_SYNC, "PATCH", f"/channel-connections/{listed.connection_id}", changes)


async def override(listed: Listed, **changes: Any) -> Answer:
    """Change the listing's overrides."""
    listing = await listed.listing()
    path = f"/channel-connections/{listed.connection_id}/listings/{listing['id']}"
    return await listed.agency.call(CHANNEL_SYNC, "PATCH", path, changes)


async def tested(listed: Listed) -> Any:
    """A real call to the channel."""
    path = f"/channel-connections/{listed.connection_id}/test"
    return (await listed.agency.call(CHANNEL_SYNC, "POST", path)).body


async def test_a_disabled_connection_is_told_nothing_until_it_is_enabled(listed: Listed, soon: date) -> None:
    assert (await change(listed, enabled=False)).body["enabled"] is False
    before = len(listed.ota.pushes)
    await listed.book(soon)

    async def stale() -> Any:
        found = await listed.listing()
        return found if found["dirty"] else None

    await eventually(stale, "a stale listing")
    sync = await listed.agency.call(
        CHANNEL_SYNC, "POST", f"/channel-connections/{listed.connection_id}/sync", {"sync_type": "full"}
    )
    assert sync.status == 409
    assert len(listed.ota.pushes) == before
    await change(listed, enabled=True)
    await listed.ota.wait_until("L1", soon, "closed")


async def test_a_changed_secret_signs_what_comes_next(listed: Listed, soon: date) -> None:
    listed.ota.secret = "another secret of the channel"
    assert (await change(listed, secret=listed.ota.secret)).status == 200
    await listed.book(soon)
    await listed.ota.wait_until("L1", soon, "closed")


async def test_what_is_not_named_stays(listed: Listed) -> None:
    changed = (await change(listed, name="Renamed")).body
    assert (changed["name"], changed["endpoint_url"]) == ("Renamed", listed.ota.endpoint_url)
    assert "secret" not in changed


async def test_the_test_of_a_connection_is_a_real_call(listed: Listed) -> None:
    assert (await tested(listed))["ok"] is True
    listed.ota.secret = "not the one we have"
    wrong = await tested(listed)
    assert (wrong["ok"], wrong["status"]) == (False, 401)
    await change(listed, endpoint_url="http://127.0.0.1:9/push")
    gone = await tested(listed)
    assert (gone["ok"], "status" in gone) == (False, False)
    assert "cannot be reached" in gone["error"]


async def test_a_deleted_connection_is_gone_and_takes_nothing_any_more(listed: Listed, soon: date) -> None:
    path = f"/channel-connections/{listed.connection_id}"
    assert (await listed.agency.call(CHANNEL_SYNC, "DELETE", path)).status == 200
    before = len(listed.ota.pushes)
    await listed.book(soon)
    for method, where in [("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("GET", f"{path}/listings")]:
        assert (await listed.agency.call(CHANNEL_SYNC, method, where)).status == 404
    url = f"{listed.agency.suite.url(CHANNEL_SYNC)}/inbound/{listed.connection_id}"
    reply = await listed.ota.send_revision(url, ota_listing_id="L1", check_in=soon, check_out=soon + timedelta(days=1))
    assert reply.status == 401
    assert len(listed.ota.pushes) == before


async def test_an_unmapped_listing_is_told_nothing_and_may_be_mapped_again(listed: Listed, soon: date) -> None:
    listing = await listed.listing()
    path = f"/channel-connections/{listed.connection_id}/listings/{listing['id']}"
    assert (await listed.agency.call(CHANNEL_SYNC, "DELETE", path)).status == 200
    assert (await listed.agency.call(CHANNEL_SYNC, "DELETE", path)).status == 404
    url = f"{listed.agency.suite.url(CHANNEL_SYNC)}/inbound/{listed.connection_id}"
    reply = await listed.ota.send_revision(url, ota_listing_id="L1", check_in=soon, check_out=soon + timedelta(days=1))
    kept = await listed.agency.get(CHANNEL_SYNC, f"/inbound-revisions?connection_id={listed.connection_id}")
    assert [(one["log_id"], one["state"]) for one in kept["items"]] == [(reply.body["log_id"], "unmapped")]
    await listed.agency.map_listing(listed.connection_id, listed.property_id, "L1")
    await listed.ota.wait_until("L1", soon, "closed")


async def test_a_listing_that_is_closed_out_closes_and_opens_again(listed: Listed, soon: date) -> None:
    assert (await override(listed, close_out=True)).body["close_out"] is True
    await listed.ota.wait_until("L1", soon, "closed")
    await listed.clean()
    assert len(listed.ota.closed_nights("L1")) == 365
    await override(listed, close_out=None)
    await listed.ota.wait_until("L1", soon, "open")


async def test_markup_and_minimum_stay_are_told_of_this_listing_alone(listed: Listed, soon: date) -> None:
    answer = await listed.agency.call(
        BOOKING, "PUT", f"/properties/{listed.property_id}/rates", {"default_minor": 10_000}
    )
    assert answer.status == 200, answer
    changed = (await override(listed, markup_percent="12.5", min_stay=3)).body
    assert (changed["markup_percent"], changed["min_stay"]) == ("12.50", 3)

    def told() -> bool | None:
        found = listed.ota.details.get("L1", {}).get(soon, {})
        return (found.get("rate_minor"), found.get("min_stay_arrival")) == (11_250, 3) or None

    await listed.ota.wait_for(told, 10, "price and minimum stay of the listing")


async def test_an_override_made_while_the_listing_is_being_told_is_told_after_it(listed: Listed, soon: date) -> None:
    listed.ota.slow_next(0.4)
    await listed.book(soon)
    await listed.ota.wait_until_under_way(10)
    await override(listed, min_stay=4)
    assert listed.ota.calendars["L1"][soon].value != "closed", "the push is still under way"

    def told() -> bool | None:
        return listed.ota.details.get("L1", {}).get(soon + timedelta(days=9), {}).get("min_stay_arrival") == 4 or None

    await listed.ota.wait_for(told, 10, "minimum stay of the listing")
    await listed.clean()


async def test_a_listing_that_sold_its_nights_of_a_year_is_closed_for_the_rest_of_it(
    listed: Listed, soon: date
) -> None:
    other = soon.replace(month=1, day=1, year=soon.year + 1)
    assert (await override(listed, max_nights_sold=2)).status == 200
    await listed.clean()
    assert listed.ota.closed_nights("L1") == set()
    url = f"{listed.agency.suite.url(CHANNEL_SYNC)}/inbound/{listed.connection_id}"
    sold: dict[str, Any] = {"check_in": other + timedelta(days=3), "check_out": other + timedelta(days=5)}
    reply = await listed.ota.send_revision(url, ota_listing_id="L1", ota_reservation_code="Y", **sold)
    assert (await listed.agency.settled(reply.body["log_id"]))["state"] == "applied"
    await listed.ota.wait_until("L1", other + timedelta(days=40), "closed")
    await listed.clean()
    told = listed.ota.calendars["L1"]
    assert all(night.value == "closed" for day, night in told.items() if day.year == other.year)
    assert any(night.value == "open" for day, night in told.items() if day.year != other.year)

    await listed.ota.send_revision(url, ota_listing_id="L1", ota_reservation_code="Y", status="cancelled")
    await listed.ota.wait_until("L1", other + timedelta(days=40), "open")


@pytest.mark.parametrize(
    "changes",
    [
        {"markup_percent": "-100"},
        {"markup_percent": "1.234"},
        {"markup_percent": "NaN"},
        {"min_stay": 0},
        {"max_nights_sold": -1},
        {"max_nights_sold": 1.5},
        {"unknown": 1},
    ],
)
async def test_an_override_that_makes_no_sense_is_refused(listed: Listed, changes: dict[str, Any]) -> None:
    answer = await override(listed, **changes)
    assert (answer.status, answer.body["code"]) == (422, "validation_error")


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"adapter": "carrier-pigeon"}, "adapter"), ({"endpoint_url": "http://[::1"}, "endpoint_url")],
)
async def test_a_connection_that_cannot_work_is_refused(agency: Agency, fields: dict[str, Any], field: str) -> None:
    body = {"name": "C", "adapter": "generic-json", "endpoint_url": "https://channel.example/push", **fields}
    answer = await agency.call(CHANNEL_SYNC, "POST", "/channel-connections", body)
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, field)


async def test_a_channel_that_works_again_is_told_at_once(listed: Listed, soon: date) -> None:
    """After five failures in a row the channel is left alone; the first call that works wakes the others."""
    listed.ota.answer_next(Misbehaviour(500), times=6)
    await listed.agency.map_listing(listed.connection_id, listed.property_id, "L2")
    await listed.book(soon)
    for listing in ("L1", "L2"):
        await listed.ota.wait_until(listing, soon, "closed", timeout_s=30)


async def test_another_agency_changes_nothing(listed: Listed) -> None:
    other = Agency(listed.agency.suite, listed.agency.session)
    listing = await listed.listing()
    base = f"/channel-connections/{listed.connection_id}"
    for method, path, body in [
        ("PATCH", base, {"enabled": False}),
        ("DELETE", base, None),
        ("POST", f"{base}/test", None),
        ("PATCH", f"{base}/listings/{listing['id']}", {"close_out": True}),
        ("DELETE", f"{base}/listings/{listing['id']}", None),
    ]:
        assert (await other.call(CHANNEL_SYNC, method, path, body)).status == 404, path
    assert (await listed.listing())["id"] == listing["id"]


async def test_secrets_are_sealed_anew_with_the_first_key(
    deps: Deps, ota: OtaSimulator, provisioned: Provisioned
) -> None:
    agency_id = uuid.uuid4()
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    connection = NewConnection("Channel", "generic-json", ota.endpoint_url, {}, "a secret of sixteen letters")
    made = await connections.create_connection(deps, agency_id, connection, None, lambda created, _: str(created.id))
    row_id = uuid.UUID(made.body)
    await deps.system_pool.execute(
        "UPDATE connections SET sealed_secret = $2 WHERE id = $1", row_id, Cipher(old).seal(str(connection.secret))
    )
    own = provisioned.secrets.credentials_key
    keys = f"{new},{old},{own}"
    assert await connections.rotate_secrets(deps.system_pool, Cipher(keys)) >= 1
    sealed = await deps.system_pool.fetchval("SELECT sealed_secret FROM connections WHERE id = $1", row_id)
    assert Cipher(new).open(sealed) == connection.secret
    # Others of this database are sealed as they were before.
    await connections.rotate_secrets(deps.system_pool, Cipher(f"{own},{new}"))
