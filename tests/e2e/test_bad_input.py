"""Proves that bad input comes back through the gateway as booking itself refuses it, and that nothing is written.

tests/booking/test_bad_input.py spoils every field in every way against booking. Here a sample goes both ways, with one
trace id: past the gateway and through it, where bodies and queries must arrive, and refusals return, byte for byte.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency, NotYet, Reply, new_trace_id, until
from deploy.local.journey_scene import new_code, open_scene
from deploy.local.services import BOOKING
from gateway.api.table import ROUTES, PublicRoute
from runtime.http import MAX_BODY_BYTES
from tests.booking.bad_values import NUL, SURROGATE, UNKNOWN, Path, Spoiled, fields_of, spoiled
from tests.booking.good_bodies import GOOD
from tests.booking.served import Answer, document_of_booking, operations_of
from tests.e2e.infra.running import Running, days
from tests.spoiling import UNREADABLE, assert_body_refused, assert_names, assert_refused, deep, wrong_query_values

pytestmark = pytest.mark.e2e

# Of these every field is spoiled once, each in another way; of the others an unknown field is sent.
CENTRAL = (
    "POST /bookings",
    "PATCH /bookings/{booking_id}",
    "POST /properties",
    "POST /blocks",
    "POST /guests",
    "POST /holds",
    "POST /quotes",
    "PUT /properties/{property_id}/rates",
    "PUT /properties/{property_id}/stay-rules",
)
MOST_REQUESTS = 150
DOCUMENT = document_of_booking()
OPERATIONS = {operation.name: operation for operation in operations_of(DOCUMENT)}
AGENCY_TABLES = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'agency_id' ORDER BY 1"""
# Written by the auditor whenever it runs, and noted by the relay when it has sent something.
AUDITORS = {"audit_findings", "audit_positions"}
RELAYS = "'{sent_at, published_version, published_at}'::text[]"

Written = dict[str, tuple[int, int]]


def _shape(method: str, path: str) -> tuple[str, str]:
    """A route whatever its parameters are called."""
    return method, re.sub(r"\{\w+\}", "{}", path)


def public_names() -> dict[str, PublicRoute]:
    """The routes the gateway leads to booking on, by what booking calls them."""
    names = {_shape(operation.method, operation.path): operation.name for operation in OPERATIONS.values()}
    return {names[_shape(route.method, route.inside)]: route for route in ROUTES if route.service == BOOKING}


PUBLIC = public_names()
WITH_BODY = [name for name, route in PUBLIC.items() if route.body is not None]
WITH_QUERY = ("GET /bookings", "GET /guests", "GET /channel-conflicts")


@dataclass(frozen=True)
class Target:
    """An agency with one of everything, as the gateway and as booking serve it; `ids` by the name of what takes them.

    Every record stands where a bad request that is let through would change it.
    """

    running: Running
    public: Agency
    inner: Agency
    ids: Mapping[str, str]

    async def refused(
        self,
        name: str,
        body: bytes | None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """What the gateway answers, once it is seen that booking's own answer is the same."""
        operation, route, trace_id = OPERATIONS[name], PUBLIC[name], new_trace_id()
        ids = {found["name"]: self.ids[found["name"]] for found in operation.parameters("path")}
        public_path = re.sub(r"\{\w+\}", "".join(ids.values()), route.path)  # one id at most, by another name
        through, past = [
            await agency.request(operation.method, path, body, params=params, headers=headers, trace_id=trace_id)
            for agency, path in ((self.public, public_path), (self.inner, operation.url(ids)))
        ]
        sent = f"{name} {params or ''} {(body or b'')[:300]!r}"
        assert through.status >= 400, f"accepted: {sent}"
        assert (through.status, through.content) == (past.status, past.content), sent
        assert through.headers["Content-Type"] == past.headers["Content-Type"]
        assert json.loads(through.content)["trace_id"] == trace_id
        return _answer(through)

    async def written(self) -> Written:
        """How many rows of the agency each table has, and a sum over what they hold."""
        tables = {row["table_name"] for row in await self.running.ledger.fetch(AGENCY_TABLES)} - AUDITORS
        each = (
            f"SELECT '{table}', count(*), coalesce(sum(hashtextextended((to_jsonb(t) - {RELAYS})::text, 0)), 0) "
            f"FROM {table} AS t WHERE agency_id = $1"
            for table in sorted(tables)
        )
        rows = await self.running.ledger.fetch(" UNION ALL ".join(each), uuid.UUID(self.public.id))
        return {row[0]: (row[1], int(row[2])) for row in rows}

    async def assert_books(self) -> None:
        """A good booking goes through the same gateway, and the tables show it."""
        before = await self.written()
        booked = (await self.public.book(self.ids["property_id"], days(0, 1))).expect(201)
        assert (await self.public.booking(booked["id"]))["status"] == "confirmed"
        after = await self.written()
        grown = {table for table in after if after[table][0] > before[table][0]}
        assert {"reservations", "inventory_ranges", "outbox"} <= grown
        (await self.public.cancel(booked["id"])).expect(200)


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, reply.headers["Content-Type"], reply.content.decode(), dict(reply.headers))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(running: Running) -> AsyncIterator[Target]:
    """An agency with a record of every kind that a path can name."""
    async with running.agency() as public, running.agency(public.id, at=running.suite.url(BOOKING)) as inner:
        scene = await open_scene(public, running.ota)
        house = {"property_id": scene.property_id}
        booked = (await public.book(scene.property_id, days(10, 13))).expect(201)
        held = {**house, "check_in": str(days(20, 22)[0]), "check_out": str(days(20, 22)[1])}
        hold = (await public.request("POST", "/holds", held)).expect(201)
        await scene.sell(days(12, 15), new_code())

        async def conflict() -> str:
            items = (await public.request("GET", "/channel-conflicts")).expect(200)["items"]
            if not items:
                raise NotYet("none")
            return str(items[0]["id"])

        ids = {
            **house,
            "booking_id": booked["id"],
            "reservation_id": booked["id"],
            "guest_id": booked["guest_id"],
            "hold_id": hold["id"],
            "conflict_id": await until(conflict, "a conflict"),
        }
        yield Target(running, public, inner, ids)


def named(body: Any, ids: Mapping[str, str]) -> Any:
    """A body that names records which are there."""
    if isinstance(body, dict):
        return {key: ids.get(key) or named(value, ids) for key, value in body.items()}
    return [named(item, ids) for item in body] if isinstance(body, list) else body


def sample(name: str, ids: Mapping[str, str]) -> list[Spoiled]:
    """One way to spoil each field of a central route, an unknown field alone for the others."""
    schema = OPERATIONS[name].body_schema
    assert schema is not None
    goods = [named(good, ids) for good in GOOD[name]]
    # First without a hold and a quote, which are not there: then nothing but the spoiled field is in the way.
    lean = [
        {key: good[key] for key in good if key not in ("hold_id", "quote_id", "expected_total_minor")} for good in goods
    ]
    ways: dict[Path, list[Spoiled]] = {}
    for bad in spoiled(DOCUMENT, schema, [*lean, *goods]):
        if bad.path[-1:] not in ((NUL,), (SURROGATE,)):
            ways.setdefault(bad.path, []).append(bad)
    if name not in CENTRAL:
        return ways[(UNKNOWN,)][:1]
    return [found[number % len(found)] for number, found in enumerate(ways.values())]


def test_every_field_of_the_central_routes_and_every_route_with_a_body_is_in_the_sample() -> None:
    assert set(WITH_BODY) <= set(GOOD)
    assert set(CENTRAL) <= set(WITH_BODY)
    chosen = {name: sample(name, {}) for name in WITH_BODY}
    assert sum(map(len, chosen.values())) <= MOST_REQUESTS
    for name in CENTRAL:
        schema = OPERATIONS[name].body_schema
        assert schema is not None
        # By their names: a model that a body holds in several places is spoiled in one of them.
        assert {bad.path[-1] for bad in chosen[name] if bad.path} >= {path[-1] for path in fields_of(DOCUMENT, schema)}
    for name, found in chosen.items():
        assert (UNKNOWN,) in {bad.path for bad in found}, name


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_spoiled_body_gets_bookings_own_refusal_through_the_gateway_and_writes_nothing(
    name: str, target: Target
) -> None:
    before = await target.written()
    for bad in sample(name, target.ids):
        said, data = f"{name} {bad.path} = {bad.what}", json.dumps(bad.body).encode()
        answer = await target.refused(name, data)
        assert_body_refused(answer, bad, data, said)
        assert answer.body["detail"], said
    assert await target.written() == before
    await target.assert_books()


async def test_a_body_that_is_no_json_object_gets_bookings_own_refusal_through_the_gateway(target: Target) -> None:
    before = await target.written()
    for what, data in UNREADABLE.items():
        answer = await target.refused("POST /bookings", data)
        assert_refused(answer, what, (400, 422))
        assert "body" in answer.body["detail"], what
        if answer.status == 422:
            assert all(item["field"].startswith("body") for item in answer.body["errors"]), what
            assert answer.body["errors"], what
    for nothing in (b"", b"null"):
        assert_names(await target.refused("POST /bookings", nothing), "body", (), repr(nothing))
    assert await target.written() == before
    await target.assert_books()


@pytest.mark.parametrize("name", ["POST /bookings", "POST /guests", "PATCH /properties/{property_id}"])
async def test_a_body_over_64_kib_gets_413_through_the_gateway_and_writes_nothing(name: str, target: Target) -> None:
    good = json.dumps(named(GOOD[name][-1], target.ids)).encode()
    before = await target.written()
    for data in (good.ljust(MAX_BODY_BYTES + 1), deep("[", "]", 100_000), deep('{"a":', "}", 100_000)):
        assert_refused(await target.refused(name, data), name, (413,), "payload_too_large")
    assert await target.written() == before
    await target.assert_books()


@pytest.mark.parametrize("name", WITH_QUERY)
async def test_a_bad_query_gets_bookings_own_refusal_through_the_gateway(name: str, target: Target) -> None:
    for number, parameter in enumerate(OPERATIONS[name].parameters("query")):
        values = wrong_query_values(parameter["schema"])
        for value in {values[number % len(values)], values[-1]}:
            said = f"{name} {parameter['name']}={ascii(value)[:60]}"
            answer = await target.refused(name, None, params={parameter["name"]: value})
            assert_refused(answer, said, (422,), "validation_error")
            assert parameter["name"] in answer.body["detail"].partition(":")[0], said
            if "errors" in answer.body:  # a cursor that can be no position is named in the sentence alone
                assert_names(answer, "query", (parameter["name"],), said)


async def test_a_bad_idempotency_key_gets_bookings_own_refusal_through_the_gateway(target: Target) -> None:
    body = json.dumps({"name": "Ada", "email": "a-key-that-is-no-key@example.com"}).encode()
    before = await target.written()
    for key in ("", " ", "k" * 201):
        answer = await target.refused("POST /guests", body, headers={"Idempotency-Key": key})
        assert_refused(answer, repr(key[:20]), (422,), "validation_error")
        assert "Idempotency-Key" in answer.body["detail"]
    assert await target.written() == before
    await target.assert_books()
