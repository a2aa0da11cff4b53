"""HTTP in: one property's availability for agencies, digests for services of the suite; routers for `main`."""

import re
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator

from availability.service.answers import (
    Answers,
    Availability,
    Fingerprint,
    LedgerUnavailable,
    PropertyUnknown,
    Question,
    VersionUnknown,
)
from contracts.availability_http_v1 import AvailabilityAnswer
from contracts.booking_http_v1 import PropertyDigests
from contracts.problems import Problem, ProblemCode
from contracts.values import CalendarDate
from runtime.http import CallerOf, ServiceCaller, agency_of, json_bytes
from runtime.problems import ProblemError

MAX_DAYS = 365
MAX_PAGE = 1000
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _iso_date(value: Any) -> Any:
    """Only `YYYY-MM-DD`: pydantic would take a number of seconds, too."""
    if isinstance(value, str) and _ISO_DATE.fullmatch(value) is None:
        raise ValueError("must be a date such as 2031-05-01")
    return value


QueryDate = Annotated[CalendarDate, BeforeValidator(_iso_date)]
Version = Annotated[int, Query(ge=0, lt=2**63)]
PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (401, 404, 422, 503)}

DOMAIN_ERRORS = {
    PropertyUnknown: lambda error: ProblemError(404, ProblemCode.NOT_FOUND, str(error)),
    LedgerUnavailable: lambda error: ProblemError(503, ProblemCode.UNAVAILABLE, str(error)),
}

public = APIRouter(tags=["availability"])
internal = APIRouter(tags=["internal"])


@public.get(
    "/availability",
    response_model=AvailabilityAnswer,
    responses=PROBLEMS,
    summary="Which nights of a property are closed, why, and how fresh the answer is.",
)
async def availability(
    request: Request,
    caller: CallerOf,
    property_id: UUID,
    from_date: QueryDate,
    to_date: QueryDate,
    min_version: Version | None = None,
) -> Response:
    """Nights `[from_date, to_date)`, at most 365; never older than `min_version`, the version a write answered."""
    if to_date <= from_date:
        raise _refused("to_date", to_date, "must be after from_date")
    if (to_date - from_date).days > MAX_DAYS:
        raise _refused("to_date", to_date, f"must be at most {MAX_DAYS} days after from_date")
    question = Question(property_id, from_date, to_date, min_version)
    try:
        answer = await _answers(request).availability(agency_of(caller), question)
    except VersionUnknown as error:
        raise _refused("min_version", min_version, str(error)) from error
    return json_bytes(_answer_body(answer))


@internal.get(
    "/internal/properties/digests",
    response_model=PropertyDigests,
    responses=PROBLEMS,
    summary="Digests of the stored ranges this replica holds, over those that end after a date.",
)
async def digests(
    request: Request,
    _caller: ServiceCaller,
    after: QueryDate,
    cursor: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 200,
) -> Response:
    """One page in property order, parked properties left out; compare with booking's at equal versions only."""
    found = await _answers(request).digests(after, cursor, limit)
    return json_bytes(_digests_body(after, found, limit))


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


def _refused(name: str, value: Any, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", name), "type": "value_error", "msg": message, "input": value}])


def _answer_body(answer: Availability) -> bytes:
    question = answer.question
    return orjson.dumps(
        {
            "property_id": question.property_id,
            "from_date": question.from_date,
            "to_date": question.to_date,
            "ranges": [
                {"start_date": closed.start, "end_date": closed.end, "kind": closed.kind} for closed in answer.closed
            ],
            "as_of": answer.as_of,
            "inventory_version": answer.version,
            "lag_ms": answer.lag_ms,
            "source": answer.source,
        },
        option=orjson.OPT_UTC_Z,
    )


def _digests_body(after: date, found: list[Fingerprint], limit: int) -> bytes:
    items = [
        {"property_id": item.property_id, "inventory_version": item.version, "digest": item.digest} for item in found
    ]
    next_cursor = found[-1].property_id if len(found) == limit else None
    return orjson.dumps({"after": after, "items": items, "next_cursor": next_cursor})
