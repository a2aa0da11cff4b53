"""Proves idempotency keys: the effect once, the same answer again, and every other use refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI, Request, Response

from contracts.problems import ProblemCode
from runtime.http import CallerOf, create_app
from runtime.idempotency import (
    MAX_KEY_LENGTH,
    IdempotencyInProgress,
    IdempotencyKey,
    IdempotencyMismatch,
    StoredAnswer,
    idempotency_key,
    idempotency_problems,
    insert_idempotent_answer,
    select_idempotent_answer,
)
from runtime.inbox import insert_inbox_entry
from runtime.postgres import Pool, transaction
from runtime.tokens import issue_token
from tests.serving import serving

SECRET = "a-secret-of-the-runtime-tests-0123456789"
BODY = '{"total": 1.10, "name": "Ärger"}'


def new_key(**changes: Any) -> IdempotencyKey:
    return replace(IdempotencyKey(uuid4(), "someone", "key-1", "fingerprint"), **changes)


async def look_up(pool: Pool, key: IdempotencyKey) -> StoredAnswer | None:
    async with transaction(pool, key.agency_id) as connection:
        return await select_idempotent_answer(connection, key)


async def store(pool: Pool, key: IdempotencyKey, body: str = BODY) -> None:
    async with transaction(pool, key.agency_id) as connection:
        await insert_idempotent_answer(connection, key, StoredAnswer(201, body))


@pytest.mark.stack
async def test_a_stored_answer_comes_back_byte_for_byte_and_says_it_is_a_replay(app_pool: Pool) -> None:
    key = new_key()
    assert await look_up(app_pool, key) is None
    await store(app_pool, key)
    found = await look_up(app_pool, key)
    assert found == StoredAnswer(201, BODY, replayed=True)
    assert found is not None
    response = found.response()
    assert (response.status_code, response.body) == (201, BODY.encode())
    assert response.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in StoredAnswer(201, BODY).response().headers


@pytest.mark.stack
async def test_a_key_used_with_another_request_is_a_mismatch(app_pool: Pool) -> None:
    key = new_key()
    await store(app_pool, key)
    with pytest.raises(IdempotencyMismatch):
        await look_up(app_pool, replace(key, fingerprint="another"))


@pytest.mark.stack
async def test_a_key_belongs_to_its_caller_and_agency(app_pool: Pool, system_pool: Pool) -> None:
    key = new_key()
    await store(app_pool, key)
    for other in (replace(key, caller="somebody-else"), replace(key, key="key-2"), replace(key, agency_id=uuid4())):
        assert await look_up(app_pool, other) is None
        assert await look_up(system_pool, other) is None


@pytest.mark.stack
async def test_row_security_hides_another_agencys_answer_even_from_wrong_sql(app_pool: Pool) -> None:
    key = new_key()
    await store(app_pool, key)
    async with transaction(app_pool, uuid4()) as connection:
        assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0
        assert await select_idempotent_answer(connection, key) is None


@pytest.mark.stack
async def test_an_answer_of_a_transaction_that_failed_is_not_stored(app_pool: Pool) -> None:
    key = new_key()

    async def fail() -> None:
        async with transaction(app_pool, key.agency_id) as connection:
            await insert_idempotent_answer(connection, key, StoredAnswer(201, BODY))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await look_up(app_pool, key) is None


@pytest.mark.stack
async def test_a_second_request_waits_for_the_first_and_then_gives_way(app_pool: Pool) -> None:
    key = new_key()
    first_inserted, let_go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with transaction(app_pool, key.agency_id) as connection:
            await insert_idempotent_answer(connection, key, StoredAnswer(201, BODY))
            first_inserted.set()
            await let_go.wait()

    running = asyncio.create_task(first())
    await first_inserted.wait()
    second = asyncio.create_task(store(app_pool, key, "another answer"))
    await asyncio.sleep(0.05)
    assert not second.done()
    let_go.set()
    await running
    with pytest.raises(IdempotencyInProgress):
        await second
    assert await look_up(app_pool, key) == StoredAnswer(201, BODY, replayed=True)


@pytest.mark.stack
async def test_a_second_request_goes_on_when_the_first_rolls_back(app_pool: Pool) -> None:
    key = new_key()
    async with app_pool.acquire() as connection:
        first = connection.transaction()
        await first.start()
        await connection.execute("SELECT set_config('app.agency_id', $1, true)", str(key.agency_id))
        await insert_idempotent_answer(connection, key, StoredAnswer(201, "lost"))
        second = asyncio.create_task(store(app_pool, key))
        await asyncio.sleep(0.05)
        await first.rollback()
    await second
    assert await look_up(app_pool, key) == StoredAnswer(201, BODY, replayed=True)


@pytest.mark.stack
async def test_a_key_is_forgotten_after_48_hours(app_pool: Pool, system_pool: Pool) -> None:
    key = new_key()
    await store(app_pool, key)
    lives = await system_pool.fetchval(
        "SELECT expires_at - now() FROM idempotency_keys WHERE agency_id = $1", key.agency_id
    )
    assert 47 * 3600 < lives.total_seconds() <= 48 * 3600
    await system_pool.execute("UPDATE idempotency_keys SET expires_at = now() WHERE agency_id = $1", key.agency_id)
    assert await look_up(app_pool, key) is None


@pytest.mark.stack
async def test_an_event_is_noted_once_per_consumer(system_pool: Pool) -> None:
    event_id = uuid4()
    async with transaction(system_pool, None) as connection:
        assert await insert_inbox_entry(connection, "one", event_id)
        assert not await insert_inbox_entry(connection, "one", event_id)
    async with transaction(system_pool, None) as connection:
        assert not await insert_inbox_entry(connection, "one", event_id)
        assert await insert_inbox_entry(connection, "two", event_id)


@pytest.mark.stack
async def test_an_event_is_noted_only_with_its_effect(system_pool: Pool) -> None:
    event_id = uuid4()

    async def fail() -> None:
        async with transaction(system_pool, None) as connection:
            assert await insert_inbox_entry(connection, "one", event_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with transaction(system_pool, None) as connection:
        assert await insert_inbox_entry(connection, "one", event_id)


@pytest.mark.stack
async def test_of_two_deliveries_at_once_one_applies_the_event(system_pool: Pool) -> None:
    event_id = uuid4()

    async def deliver() -> bool:
        async with transaction(system_pool, None) as connection:
            is_new = await insert_inbox_entry(connection, "one", event_id)
            await asyncio.sleep(0.02)
            return is_new

    assert sorted(await asyncio.gather(*(deliver() for _ in range(4)))) == [False, False, False, True]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a service that answers with the key it took from the request."""
    router = APIRouter()

    @router.post("/things")
    @router.post("/things/{thing_id}/parts")
    async def create(request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        return Response("none" if key is None else "|".join((str(key.agency_id), key.caller, key.key, key.fingerprint)))

    @router.post("/fail/{how}")
    async def fail(how: str) -> None:
        error = IdempotencyMismatch if how == "mismatch" else IdempotencyInProgress
        raise error(error.__doc__)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app(
        "tests",
        jwt_secret=SECRET,
        lifespan=lifespan,
        routers=[router],
        readiness={},
        domain_errors=idempotency_problems(),
    )
    async with serving(app) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


AGENCY = UUID("0192f1c4-0000-7000-8000-000000000001")


async def key_of(
    client: aiohttp.ClientSession, path: str, body: bytes, key: str | None = "key-1", subject: str = "someone"
) -> list[str]:
    token = issue_token(SECRET, subject=subject, agency_id=AGENCY, roles=[])
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key is not None else {})
    async with client.post(path, data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.text()).split("|")


async def test_the_key_is_scoped_to_the_caller_of_the_token(client: aiohttp.ClientSession) -> None:
    assert (await key_of(client, "/things", b"{}"))[:3] == [str(AGENCY), "someone", "key-1"]
    assert (await key_of(client, "/things", b"{}", subject="other"))[:3] == [str(AGENCY), "other", "key-1"]
    assert await key_of(client, "/things", b"{}", None) == ["none"]


async def test_the_fingerprint_covers_path_and_body(client: aiohttp.ClientSession) -> None:
    requests = [("/things", b"{}"), ("/things", b"{ }"), (f"/things/{uuid4()}/parts", b"{}")]
    requests.append((f"/things/{uuid4()}/parts", b"{}"))
    fingerprints = [(await key_of(client, path, body))[3] for path, body in requests]
    assert len(set(fingerprints)) == len(requests)
    assert (await key_of(client, "/things", b"{}"))[3] == fingerprints[0]


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_LENGTH + 1)])
async def test_an_empty_or_overlong_key_is_refused(client: aiohttp.ClientSession, key: str) -> None:
    token = issue_token(SECRET, subject="s", agency_id=AGENCY, roles=[])
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    async with client.post("/things", data=b"{}", headers=headers) as answer:
        assert answer.status == 422
        assert (await answer.json(content_type=None))["code"] == ProblemCode.VALIDATION_ERROR


async def test_the_two_refusals_have_their_own_codes(client: aiohttp.ClientSession) -> None:
    async with client.post("/fail/mismatch") as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (422, "idempotency_mismatch")
    async with client.post("/fail/in-progress") as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (409, "idempotency_in_progress")
        assert answer.headers["Retry-After"]
