"""Proves the backstop: a deadlock or serialization failure is tried three times, then answered 503."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio

from booking.main import build
from booking.service import blocks, transitions
from booking.settings import Settings
from runtime.idempotency import IdempotencyKey
from runtime.postgres import DeadlockPersists
from runtime.tokens import issue_token
from tests.booking.own_database import OwnLedger, own_ledger
from tests.conftest import Provisioned
from tests.serving import serving

pytestmark = pytest.mark.stack

SENTENCE = "Database deadlock detected. Please retry your request."
SECRET = "s" * 32
BACKOFF_S = 0.3
# A sequence, because its numbers survive the rollback of each attempt.
TROUBLE = """
CREATE SEQUENCE attempts;
CREATE TABLE trouble (state text NOT NULL, times bigint NOT NULL);
CREATE FUNCTION make_trouble() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    planned trouble;
BEGIN
    SELECT * INTO planned FROM trouble;
    IF FOUND AND nextval('attempts') <= planned.times THEN
        RAISE EXCEPTION 'injected' USING ERRCODE = planned.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER make_trouble BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION make_trouble()"""

Write = Callable[[], Awaitable[object]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        await made.as_admin(TROUBLE)
        yield made


async def plan(own: OwnLedger, state: str, times: int) -> None:
    await own.as_admin(
        "TRUNCATE trouble", "ALTER SEQUENCE attempts RESTART", f"INSERT INTO trouble VALUES ('{state}', {times})"
    )


async def attempts(own: OwnLedger) -> int:
    return int(await own.admin_value("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM attempts"))


async def writers(own: OwnLedger, key_text: str = "key") -> dict[str, tuple[UUID, Write]]:
    """A property and one writer of it, by name: server-side call alone, and the frame under the lock."""
    agency = uuid4()
    api = own.ledger.api
    houses = [await own.ledger.new_property(agency) for _ in range(3)]
    stay = UUID(json.loads((await own.ledger.book(agency, houses[1], 0, 2)).body)["id"])
    block = UUID(json.loads((await own.ledger.block(agency, houses[2], 0, 2)).body)["id"])
    key = IdempotencyKey(agency, "caller", key_text, "fingerprint")
    return {
        "book": (houses[0], lambda: own.ledger.book(agency, houses[0], 0, 2, key=key)),
        "cancel": (houses[1], lambda: transitions.cancel(api, agency, stay, None)),
        "delete a block": (houses[2], lambda: blocks.delete(api, agency, block)),
    }


async def events(own: OwnLedger, house: UUID) -> int:
    return int(await own.ledger.system.pool.fetchval("SELECT count(*) FROM outbox WHERE key = $1", str(house)))


@pytest.mark.parametrize("state", ["40P01", "40001"])
@pytest.mark.parametrize("name", ["book", "cancel", "delete a block"])
async def test_what_fails_twice_succeeds_the_third_time_with_one_effect(own: OwnLedger, name: str, state: str) -> None:
    house, write = (await writers(own))[name]
    before = await events(own, house)
    await plan(own, state, 2)
    began = asyncio.get_running_loop().time()
    await write()
    assert asyncio.get_running_loop().time() - began >= BACKOFF_S
    assert await attempts(own) == 3
    assert await events(own, house) == before + 1


@pytest.mark.parametrize("name", ["book", "cancel", "delete a block"])
async def test_what_fails_three_times_is_given_up_with_nothing_written(own: OwnLedger, name: str) -> None:
    house, write = (await writers(own, "given up"))[name]
    before = await events(own, house)
    await plan(own, "40P01", 3)
    with pytest.raises(DeadlockPersists, match="^" + SENTENCE.replace(".", r"\.") + "$"):
        await write()
    assert await attempts(own) == 3
    assert await events(own, house) == before
    assert await own.admin_value("SELECT count(*) FROM idempotency_keys WHERE key = 'given up'") == 0


async def test_another_error_is_not_tried_again(own: OwnLedger) -> None:
    _, write = (await writers(own))["book"]
    await plan(own, "22012", 1)
    with pytest.raises(Exception, match="injected"):
        await write()
    assert await attempts(own) == 1


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def base_url(own: OwnLedger) -> AsyncIterator[str]:
    """Booking's own application over the database that makes trouble."""
    settings = Settings.model_validate(
        {
            "port": 8081,
            "jwt_secret": SECRET,
            "database_url": own.urls.app,
            "system_database_url": own.urls.system,
            "kafka_bootstrap_servers": own.kafka.kafka_bootstrap_servers,
            "database_pool_size": 2,
        }
    )
    async with serving(build(settings, frozenset({"api"}))) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_client_gets_503_with_the_sentence_and_its_retry_succeeds(own: OwnLedger, base_url: str) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    body = {
        "property_id": str(house),
        "check_in": "2027-05-01",
        "check_out": "2027-05-03",
        "occupancy": {"adults": 2},
        "guest": {"name": "Guest", "email": "guest@example.com"},
    }
    headers = {
        "Authorization": f"Bearer {issue_token(SECRET, subject='test', agency_id=agency, roles=['admin'])}",
        "Idempotency-Key": "k",
    }
    async with aiohttp.ClientSession(headers=headers) as client:
        await plan(own, "40P01", 3)
        async with client.post(f"{base_url}/bookings", json=body) as response:
            problem = await response.json(content_type="application/problem+json")
            assert (response.status, problem["detail"]) == (503, SENTENCE)
            assert (problem["code"], response.headers["Retry-After"]) == ("deadlock", "1")
        async with client.post(f"{base_url}/bookings", json=body) as response:
            made = await response.json()
            assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
        await plan(own, "40001", 3)
        async with client.post(f"{base_url}/bookings/{made['id']}/cancel") as response:
            assert (response.status, (await response.json(content_type=None))["detail"]) == (503, SENTENCE)
        async with client.post(f"{base_url}/bookings/{made['id']}/cancel") as response:
            assert (response.status, (await response.json())["status"]) == (200, "cancelled")
