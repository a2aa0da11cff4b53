"""Proves that no bad input gets past booking: each is a clear problem that names the field, and nothing is written.

Routes, bodies and parameters are enumerated from the application's own OpenAPI document, and every field is spoiled by
what its schema says, so a new route or field is covered or fails here. A JSON object that names a key twice is no
error: the last one counts, as nearly everywhere, and what counts is judged like any other.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from runtime.http import MAX_BODY_BYTES
from tests.booking.bad_values import NUL, fields_in, fields_of, spoiled
from tests.booking.conftest import Ledger
from tests.booking.good_bodies import AN_ID, ANOTHER_ID, GOOD, NIGHTS, STAY, WANTED
from tests.booking.served import (
    Operation,
    Served,
    contents,
    document_of_booking,
    operations_of,
    served_booking,
)
from tests.conftest import Provisioned
from tests.spoiling import UNREADABLE, assert_body_refused, assert_refused, deep, wrong_query_values

pytestmark = pytest.mark.stack

DOCUMENT = document_of_booking()
OPERATIONS = {operation.name: operation for operation in operations_of(DOCUMENT)}
WITH_BODY = {name: operation for name, operation in OPERATIONS.items() if operation.body_schema is not None}
WITH_QUERY = [operation for operation in OPERATIONS.values() if operation.parameters("query")]
WITH_IDS = [operation for operation in OPERATIONS.values() if operation.parameters("path")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    """Booking's application on its real database."""
    async with served_booking(ledger, provisioned) as running:
        yield running


def ids_of(operation: Operation, value: str = AN_ID) -> dict[str, str]:
    return {parameter["name"]: value for parameter in operation.parameters("path")}


def test_every_route_with_a_body_is_tested_with_every_field() -> None:
    assert set(GOOD) == set(WITH_BODY)
    for name, operation in WITH_BODY.items():
        schema = operation.body_schema
        assert schema is not None
        tested = set().union(*map(fields_in, GOOD[name]))
        assert tested == fields_of(DOCUMENT, schema), name


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_body_with_one_bad_value_is_422_that_names_it_and_writes_nothing(name: str, served: Served) -> None:
    operation = WITH_BODY[name]
    schema = operation.body_schema
    assert schema is not None
    agency, path = uuid4(), operation.url(ids_of(operation, ANOTHER_ID))
    for good in GOOD[name]:
        # Some good bodies are refused for what they name, none for how it is written.
        control = await served.call(operation.method, path, good, agency_id=agency)
        assert control.status in (200, 201, 204, 401, 404), f"{name}: {control.text}"
    before = await contents(served.ledger)
    tried = 0
    for bad in spoiled(DOCUMENT, schema, GOOD[name]):
        said = f"{name} {bad.path} = {bad.what}"
        data = json.dumps(bad.body).encode()
        answer = await served.call(operation.method, path, agency_id=agency, data=data)
        assert_body_refused(answer, bad, data, said)
        tried += 1
    assert await contents(served.ledger) == before, name
    assert tried > 10


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_body_that_is_no_json_object_is_refused_at_once_and_writes_nothing(name: str, served: Served) -> None:
    operation = WITH_BODY[name]
    agency, path = uuid4(), operation.url(ids_of(operation))
    before = await contents(served.ledger)
    for what, data in UNREADABLE.items():
        started = time.monotonic()
        answer = await served.call(operation.method, path, agency_id=agency, data=data)
        assert_refused(answer, f"{name}: {what}", (400, 422))
        assert "body" in answer.body["detail"], f"{name}: {what}: {answer.text[:300]}"
        assert time.monotonic() - started < 10, f"{name}: {what}"
    if operation.needs_body:
        for data in (b"", b"null"):
            assert_refused(await served.call(operation.method, path, agency_id=agency, data=data), name, (422,))
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"):
        data = json.dumps(GOOD[name][0]).encode()
        answer = await served.call(
            operation.method, path, agency_id=agency, data=data, headers={"Content-Type": media_type}
        )
        assert_refused(answer, f"{name}: {media_type}", (400, 415, 422))
    assert await contents(served.ledger) == before, name


async def test_a_body_with_thousands_of_errors_gets_an_answer_that_is_not_larger_than_it(served: Served) -> None:
    data = b"{" + b",".join(b'"%d":1' % number for number in range(6_000)) + b"}"
    answer = await served.call("POST", "/guests", agency_id=uuid4(), data=data)
    assert_refused(answer, "many unknown fields", (422,), "validation_error")
    assert len(answer.text) < len(data)


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_body_over_64_kib_is_413_whether_or_not_its_length_is_declared(name: str, served: Served) -> None:
    operation = WITH_BODY[name]
    agency, path = uuid4(), operation.url(ids_of(operation))
    good = json.dumps(GOOD[name][0]).encode()
    whole = good + b" " * (MAX_BODY_BYTES + 1 - len(good))

    async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 8192):
            yield data[start : start + 8192]

    before = await contents(served.ledger)
    for data in (whole, deep("[", "]", 100_000), deep('{"a":', "}", 100_000)):
        for sent in (data, in_pieces(data)):
            answer = await served.call(operation.method, path, agency_id=agency, data=sent)
            assert_refused(answer, name, (413,), "payload_too_large")
    assert await contents(served.ledger) == before, name


def forged_cursor(at: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"at": at, "id": AN_ID}).encode()).decode().rstrip("=")


CURSORS = [
    "x", "=", "\u00e9", "AAAA", "e30", NUL, forged_cursor("0001-01-01T00:00:00+14:00"),
    forged_cursor("9999-12-31T23:59:59.999999-14:00"), forged_cursor("soon"),
]  # fmt: skip


@pytest.mark.parametrize("operation", WITH_QUERY, ids=lambda operation: operation.name)
async def test_a_bad_query_parameter_is_422_that_names_it(operation: Operation, served: Served) -> None:
    agency, path = uuid4(), operation.url(ids_of(operation))
    required = {p["name"]: "2027-01-01" for p in operation.parameters("query") if p.get("required")}
    control = await served.call(operation.method, path, agency_id=agency, params=required)
    assert control.status in (200, 404), control.text
    before = await contents(served.ledger)
    for parameter in operation.parameters("query"):
        name = parameter["name"]
        values = wrong_query_values(parameter["schema"])
        if name == "cursor" and "maxLength" in str(parameter["schema"]):
            values += CURSORS
        for value in values:
            said = f"{operation.name} {name}={ascii(value)[:60]}"
            answer = await served.call(operation.method, path, agency_id=agency, params={**required, name: value})
            assert_refused(answer, said, (422,), "validation_error")
            assert name in answer.body["detail"].partition(":")[0], f"{said}: {answer.text[:300]}"
    assert await contents(served.ledger) == before


@pytest.mark.parametrize("operation", [o for o in WITH_QUERY if "to_date" in str(o.spec)], ids=lambda o: o.name)
async def test_a_window_that_ends_before_it_begins_is_empty_or_refused(operation: Operation, served: Served) -> None:
    window = {"from_date": "2027-03-04", "to_date": "2027-03-01"}
    answer = await served.call("GET", operation.path, agency_id=uuid4(), params=window)
    assert (answer.status, answer.body.get("items", [])) in ((200, []), (422, [])), answer.text


@pytest.mark.parametrize("operation", WITH_IDS, ids=lambda operation: operation.name)
async def test_a_malformed_id_in_the_path_is_422_that_names_it_or_404(operation: Operation, served: Served) -> None:
    before = await contents(served.ledger)
    body = GOOD[operation.name][0] if operation.name in GOOD else None
    for parameter in operation.parameters("path"):
        for bad in ("1", "no-uuid", AN_ID[:-1], AN_ID + "0", "%00", "%FF", "'%20OR%201=1", "..", "%2e%2e", "x" * 4000):
            said = f"{operation.name}: {bad[:60]}"
            path = operation.url({**ids_of(operation), parameter["name"]: bad})
            answer = await served.call(operation.method, path, body, agency_id=uuid4())
            # Two dots lead to another path, which is not there or takes other methods.
            assert_refused(answer, said, (404, 405, 422) if bad in ("..", "%2e%2e") else (422,))
            if answer.status == 422:
                assert parameter["name"] in answer.body["detail"], said
    assert await contents(served.ledger) == before


CREATING = [name for name, operation in WITH_BODY.items() if "201" in operation.spec["responses"]]


@pytest.mark.parametrize("name", CREATING)
async def test_a_bad_idempotency_key_is_422_and_nothing_is_made(name: str, served: Served) -> None:
    before = await contents(served.ledger)
    for key in ("", " ", "k" * 201):
        answer = await served.call(
            "POST", WITH_BODY[name].path, GOOD[name][0], agency_id=uuid4(), headers={"Idempotency-Key": key}
        )
        assert_refused(answer, f"{name}: {key[:20]!r}", (422,), "validation_error")
        assert "Idempotency-Key" in answer.body["detail"]
    assert await contents(served.ledger) == before


TOO_LONG = {"check_in": "2027-01-01", "check_out": "2029-01-01"}  # 731 nights


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("POST /bookings", TOO_LONG),
        ("POST /bookings", {"check_out": STAY["check_in"]}),
        ("POST /bookings", {"check_out": "2027-02-01"}),
        ("POST /bookings", {"guest_id": AN_ID}),
        ("POST /bookings", {"guest": None}),
        ("POST /bookings", {"status": "inquiry"}),
        ("POST /holds", TOO_LONG),
        ("POST /holds", {"check_out": STAY["check_in"]}),
        ("POST /quotes", TOO_LONG),
        ("POST /quotes", {"check_out": STAY["check_in"]}),
        ("POST /blocks", {"start_date": "2027-01-01", "end_date": "2029-01-01"}),
        ("POST /blocks", {"end_date": NIGHTS["start_date"]}),
        ("POST /bookings/groups", {"stays": [{**WANTED, **TOO_LONG}]}),
        ("POST /bookings/groups", {"guest_id": AN_ID}),
        ("POST /channel-conflicts/{conflict_id}/resolve", {"action": "cancel"}),
        ("PATCH /users/{user_id}", {"roles": None}),
        ("PATCH /properties/{property_id}", {"name": None}),
        ("PATCH /guests/{guest_id}", {"name": None}),
    ],
    ids=str,
)
async def test_fields_that_do_not_go_together_are_422_and_nothing_is_written(
    name: str, bad: dict[str, Any], served: Served
) -> None:
    operation = WITH_BODY[name]
    before = await contents(served.ledger)
    body = {**GOOD[name][0], **bad}
    answer = await served.call(operation.method, operation.url(ids_of(operation)), body, agency_id=uuid4())
    assert_refused(answer, name, (422,), "validation_error")
    assert answer.body["detail"].startswith("body"), answer.text
    assert await contents(served.ledger) == before


async def test_a_change_that_makes_a_real_stay_too_long_or_backwards_is_422_and_nothing_is_written(
    served: Served, ledger: Ledger
) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    booked = json.loads((await ledger.book(agency, house, 0, 3)).body)
    before = await contents(ledger)
    for change in ({"check_out": "2100-12-31"}, {"check_in": "2000-01-01"}, {"check_out": "2027-05-01"}):
        answer = await served.call("PATCH", f"/bookings/{booked['id']}", change, agency_id=agency)
        assert_refused(answer, str(change), (422,), "validation_error")
        assert "check_" in answer.body["detail"], answer.text
    assert await contents(ledger) == before


async def test_of_a_key_that_is_named_twice_the_last_counts_and_is_judged(served: Served) -> None:
    for data, status in ((b'{"name": "A", "name": 5}', 422), (b'{"name": 5, "name": "A"}', 201)):
        answer = await served.call("POST", "/guests", agency_id=uuid4(), data=data)
        assert answer.status == status, answer.text


async def test_half_a_request_leaves_the_service_well(served: Served) -> None:
    host, port = served.address.removeprefix("http://").split(":")
    for data in (b"POST /bookings HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", b"\x00\xff\r\n\r\n"):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        await writer.drain()
        writer.transport.abort()
    answer = await served.call("GET", "/bookings", agency_id=UUID(AN_ID))
    assert answer.status == 200
