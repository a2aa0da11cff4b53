"""HTTP in: availability, calendars and checks for agencies, digests for services of the suite; routers for `main`."""

import asyncio
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
    CalendarQuestion,
    Fingerprint,
    PropertyDays,
    Question,
)
from availability.service.checks import Checked, Checks, Price, StayQuestion
from availability.service.reading import LedgerUnavailable, PropertyUnknown, Reading, VersionUnknown
from contracts.availability_http_v1 import AvailabilityAnswer, CalendarAnswer, StayCheck, StayChecked
from contracts.booking_http_v1 import PropertyDigests
from contracts.problems import Problem, ProblemCode
from contracts.values import CalendarDate
from rules.days import DayStatus
from rules.stay_rules import RequestedStay
from runtime.http import CallerOf, ServiceCaller, agency_of, json_bytes
from runtime.problems import ProblemError

MAX_DAYS = 365
MAX_PROPERTIES = 50
MAX_PAGE = 1000
_MIN_VERSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d{1,19}", re.ASCII | re.IGNORECASE)
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
    _require_window(from_date, to_date)
    question = Question(property_id, from_date, to_date, min_version)
    try:
        answer = await _answers(request).availability(agency_of(caller), question)
    except VersionUnknown as error:
        raise _refused("min_version", min_version, str(error)) from error
    return json_bytes(_answer_body(answer))


@public.get(
    "/availability/calendar",
    response_model=CalendarAnswer,
    responses=PROBLEMS,
    summary="What may happen on each date at several properties, and everything that limits it.",
)
async def calendar(
    request: Request,
    caller: CallerOf,
    property_id: Annotated[list[UUID], Query(min_length=1, max_length=MAX_PROPERTIES)],
    from_date: QueryDate,
    to_date: QueryDate,
    min_version: Annotated[list[str] | None, Query(max_length=MAX_PROPERTIES)] = None,
) -> Response:
    """Dates `[from_date, to_date)`, at most 365, of up to 50 properties; `min_version` is `property_id:version`, once
    for each property that was written to.
    """
    _require_window(from_date, to_date)
    property_ids = list(dict.fromkeys(property_id))
    question = CalendarQuestion(property_ids, from_date, to_date, _min_versions(min_version or [], property_ids))
    try:
        found = await _answers(request).calendar(agency_of(caller), question)
    except VersionUnknown as error:
        raise _refused("min_version", min_version, str(error)) from error
    return json_bytes(await _calendar_body(question, found))


@public.post(
    "/availability/check",
    response_model=StayChecked,
    responses=PROBLEMS,
    summary="May this stay be booked? If not: everything against it, and what may be booked instead.",
)
async def check(request: Request, caller: CallerOf, body: StayCheck) -> Response:
    """Agrees with what `POST /bookings` would decide at the version it answers."""
    persons = body.occupancy.adults + body.occupancy.children
    stay = RequestedStay(body.check_in, body.check_out, persons)
    question = StayQuestion(body.property_id, stay, body.hold_id, body.min_version)
    checks: Checks = request.app.state.checks
    try:
        found = await checks.check(agency_of(caller), question)
    except VersionUnknown as error:
        raise _refused("min_version", body.min_version, str(error), where="body") from error
    return json_bytes(_checked_body(question, found))


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


def _require_window(from_date: date, to_date: date) -> None:
    if to_date <= from_date:
        raise _refused("to_date", to_date, "must be after from_date")
    if (to_date - from_date).days > MAX_DAYS:
        raise _refused("to_date", to_date, f"must be at most {MAX_DAYS} days after from_date")


def _min_versions(texts: list[str], property_ids: list[UUID]) -> dict[UUID, int]:
    """What `property_id:version` says, for properties that are asked for."""
    versions = {}
    for text in texts:
        name, _, number = text.partition(":")
        if _MIN_VERSION.fullmatch(text) is None or int(number) >= 2**63:
            raise _refused("min_version", text, "must be a property's id and a version, such as <property_id>:17")
        if UUID(name) not in property_ids:
            raise _refused("min_version", text, "names a property that is not asked for")
        versions[UUID(name)] = int(number)
    return versions


def _refused(name: str, value: Any, message: str, where: str = "query") -> RequestValidationError:
    return RequestValidationError([{"loc": (where, name), "type": "value_error", "msg": message, "input": value}])


def _freshness(reading: Reading) -> dict[str, Any]:
    return {
        "as_of": reading.as_of,
        "inventory_version": reading.state.version,
        "lag_ms": reading.lag_ms,
        "source": reading.source,
    }


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
            **_freshness(answer.reading),
        },
        option=orjson.OPT_UTC_Z,
    )


async def _calendar_body(question: CalendarQuestion, found: list[PropertyDays]) -> bytes:
    """One property at a time: fifty of them for a year would keep others waiting."""
    items = []
    for item in found:
        items.append(orjson.Fragment(orjson.dumps(_property_days(item), option=orjson.OPT_UTC_Z)))
        await asyncio.sleep(0)
    return orjson.dumps(
        {
            "from_date": question.from_date,
            "to_date": question.to_date,
            "items": items,
            "as_of": min(item.reading.as_of for item in found),
            "lag_ms": max(item.reading.lag_ms for item in found),
        },
        option=orjson.OPT_UTC_Z,
    )


def _property_days(item: PropertyDays) -> dict[str, Any]:
    return {
        "property_id": item.property_id,
        "currency": item.reading.state.profile.currency,
        "days": [_day(status) for status in item.days],
        **_freshness(item.reading),
    }


def _day(status: DayStatus) -> dict[str, Any]:
    limits = {
        "rate_minor": status.rate_minor,
        "min_stay_arrival": status.min_stay_arrival,
        "min_stay_through": status.min_stay_through,
        "max_stay": status.max_stay,
    }
    return {
        "date": status.date,
        "status": "open" if status.is_open else "closed",
        "can_arrive": status.can_arrive,
        "can_depart": status.can_depart,
        "reasons": status.reasons,
        **{name: value for name, value in limits.items() if value is not None},
    }


def _checked_body(question: StayQuestion, found: Checked) -> bytes:
    return orjson.dumps(
        {
            "property_id": question.property_id,
            "bookable": not found.violations,
            "violations": found.violations,
            "alternatives": [
                {
                    "property_id": other.property_id,
                    **_stay(other.stay, other.price),
                    "inventory_version": other.version,
                    **({} if other.distance_km is None else {"distance_km": other.distance_km}),
                }
                for other in found.alternatives
            ],
            **_stay(question.stay, found.price),
            **_freshness(found.reading),
        },
        option=orjson.OPT_UTC_Z,
    )


def _stay(stay: RequestedStay, price: Price) -> dict[str, Any]:
    total = {} if price.total_minor is None else {"total_amount_minor": price.total_minor}
    return {"check_in": stay.check_in, "check_out": stay.check_out, **total, "currency": price.currency}


def _digests_body(after: date, found: list[Fingerprint], limit: int) -> bytes:
    items = [
        {"property_id": item.property_id, "inventory_version": item.version, "digest": item.digest} for item in found
    ]
    next_cursor = found[-1].property_id if len(found) == limit else None
    return orjson.dumps({"after": after, "items": items, "next_cursor": next_cursor})
