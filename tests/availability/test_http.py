"""Proves what a caller may ask and what is refused; the process runs with neither Kafka nor booking there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import date, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from deploy.local.ports import HOST, free_port
from deploy.local.supervisor import Supervisor
from tests.availability.conftest import DIGESTS, Replica, replica_spec, started

PROPERTY = UUID("0192f1c4-0002-7000-8000-000000000001")
GOOD = {"property_id": str(PROPERTY), "from_date": "2031-05-01", "to_date": "2031-05-08"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alone(own_supervisor: Supervisor) -> AsyncIterator[Replica]:
    """A replica that can reach nothing."""
    spec = replica_spec("availability-alone", f"{HOST}:{free_port()}")
    async with started(own_supervisor, spec, until_ready=False) as running:
        yield running


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        pytest.param({"property_id": None}, "property_id", id="no property"),
        pytest.param({"property_id": "casa"}, "property_id", id="property is no id"),
        pytest.param({"from_date": None}, "from_date", id="no from_date"),
        pytest.param({"to_date": None}, "to_date", id="no to_date"),
        pytest.param({"from_date": "2031-02-30"}, "from_date", id="no such day"),
        pytest.param({"from_date": "01.05.2031"}, "from_date", id="another notation"),
        pytest.param({"from_date": "20310501"}, "from_date", id="no hyphens"),
        pytest.param({"from_date": "1935360000"}, "from_date", id="unix seconds"),
        pytest.param({"from_date": "2031-05-01T00:00:00"}, "from_date", id="an instant"),
        pytest.param({"from_date": "1999-12-31"}, "from_date", id="before 2000"),
        pytest.param({"to_date": "2101-01-01"}, "to_date", id="after 2100"),
        pytest.param({"to_date": "2031-05-01"}, "to_date", id="no night"),
        pytest.param({"to_date": "2031-04-30"}, "to_date", id="reversed"),
        pytest.param({"to_date": "2032-05-01"}, "to_date", id="366 days"),
        pytest.param({"min_version": "-1"}, "min_version", id="negative version"),
        pytest.param({"min_version": "newest"}, "min_version", id="version is no number"),
        pytest.param({"min_version": "9" * 5000}, "min_version", id="endless version"),
    ],
)
async def test_a_malformed_question_gets_422_naming_the_parameter(
    alone: Replica, changed: dict[str, str | None], field: str
) -> None:
    params = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    reply = await alone.public.request("GET", "/availability", params=params)
    problem = Problem.model_validate(reply.expect(422))
    assert reply.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert problem.code == "validation_error"
    assert problem.errors is not None
    assert [error.field for error in problem.errors] == [f"query.{field}"]
    assert problem.detail.startswith(f"query.{field}: ")


async def test_365_days_are_not_too_many(alone: Replica) -> None:
    """It fails later: there is nobody to answer it."""
    first = date(2031, 5, 1)
    params = {**GOOD, "from_date": str(first), "to_date": str(first + timedelta(days=365))}
    (await alone.public.request("GET", "/availability", params=params)).expect(503)


async def test_no_token_gets_401_before_the_question_is_looked_at(alone: Replica) -> None:
    for params in (GOOD, {}):
        reply = await alone.nobody.request("GET", "/availability", params=params)
        assert reply.expect(401)["code"] == "unauthenticated"
    assert (await alone.nobody.request("GET", DIGESTS)).expect(401)["code"] == "unauthenticated"


async def test_a_services_token_is_for_internal_routes_and_an_agencys_for_public_ones(alone: Replica) -> None:
    assert (await alone.internal.request("GET", "/availability", params=GOOD)).expect(403)["code"] == "forbidden"
    reply = await alone.public.request("GET", DIGESTS, params={"after": "2031-05-01"})
    assert reply.expect(403)["code"] == "forbidden"


async def test_what_neither_memory_nor_booking_can_answer_gets_503_and_is_never_free(alone: Replica) -> None:
    reply = await alone.ask(uuid.uuid4(), PROPERTY, date(2031, 5, 1), date(2031, 5, 8))
    assert reply.expect(503)["code"] == "unavailable"
    assert reply.headers["Retry-After"]
    assert reply.headers["Content-Type"] == PROBLEM_MEDIA_TYPE


async def test_without_kafka_it_is_alive_and_not_ready_and_says_why(alone: Replica) -> None:
    (await alone.nobody.request("GET", "/health")).expect(200)
    reason = await alone.unready_because()
    assert reason is not None
    assert "the topics are not read" in reason


async def test_digests_of_an_empty_memory_are_an_empty_page(alone: Replica) -> None:
    reply = await alone.internal.request("GET", DIGESTS, params={"after": "2031-05-01"})
    assert reply.expect(200) == {"after": "2031-05-01", "items": [], "next_cursor": None}
    for params in ({}, {"after": "2031-05-01", "limit": "0"}, {"after": "2031-05-01", "limit": "1001"}):
        (await alone.internal.request("GET", DIGESTS, params=params)).expect(422)


async def test_the_answers_are_described_for_the_docs(alone: Replica) -> None:
    document = (await alone.nobody.request("GET", "/openapi.json")).expect(200)
    answer = document["paths"]["/availability"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/AvailabilityAnswer"}
