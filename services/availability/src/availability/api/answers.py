"""HTTP in: which nights are closed, calendars, checks, digests; put together by `api`."""

import asyncio
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response

from availability.api.questions import (
    PROBLEMS,
    QueryDate,
    documented,
    question_of,
    refused,
    require_window,
    versions_of,
)
from availability.service.answers import (
    Answers,
    Availability,
    CalendarQuestion,
    Fingerprint,
    PropertyDays,
    Question,
)
from availability.service.checks import Checked, Checks, Price, StayQuestion
from availability.service.reading import Reading, VersionUnknown
from contracts.availability_http_v1 import (
    AvailabilityAnswer,
    AvailabilityQuery,
    CalendarAnswer,
    CalendarQuery,
    StayCheck,
    StayChecked,
)
from contracts.booking_http_v1 import PropertyDigests
from rules.days import DayStatus
from rules.stay_rules import RequestedStay
from runtime.http import CallerOf, ServiceCaller, agency_of, json_bytes

MAX_PAGE = 1000

public = APIRouter(tags=["availability"])
internal = APIRouter(tags=["internal"])


@public.get(
    "/availability",
    response_model=AvailabilityAnswer,
    responses=PROBLEMS,
    summary="Which nights of a property are closed, why, and how fresh the answer is.",
    openapi_extra=documented(AvailabilityQuery),
)
async def availability(request: Request, caller: CallerOf) -> Response:
    """Nights `[from_date, to_date)`, at most 365; never older than `min_version`, the version a write answered."""
    query = question_of(request, AvailabilityQuery)
    require_window(query.from_date, query.to_date)
    question = Question(query.property_id, query.from_date, query.to_date, query.min_version)
    try:
        answer = await _answers(request).availability(agency_of(caller), question)
    except VersionUnknown as error:
        raise refused("min_version", query.min_version, str(error)) from error
    return json_bytes(_answer_body(answer))


@public.get(
    "/availability/calendar",
    response_model=CalendarAnswer,
    responses=PROBLEMS,
    summary="What may happen on each date at several properties, and everything that limits it.",
    openapi_extra=documented(CalendarQuery),
)
async def calendar(request: Request, caller: CallerOf) -> Response:
    """Dates `[from_date, to_date)`, at most 365, of up to 50 properties; `min_version` is `property_id:version`, once
    for each property that was written to.
    """
    query = question_of(request, CalendarQuery)
    require_window(query.from_date, query.to_date)
    property_ids = list(dict.fromkeys(query.property_id))
    min_versions = versions_of(query.min_version)
    for property_id in min_versions:
        if property_id not in property_ids:
            raise refused("min_version", str(property_id), "names a property that is not asked for")
    question = CalendarQuestion(property_ids, query.from_date, query.to_date, min_versions)
    try:
        found = await _answers(request).calendar(agency_of(caller), question)
    except VersionUnknown as error:
        raise refused("min_version", query.min_version, str(error)) from error
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
        raise refused("min_version", body.min_version, str(error), where="body") from error
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
    found, next_cursor = await _answers(request).digests(after, cursor, limit)
    return json_bytes(_digests_body(after, found, next_cursor))


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


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


def _digests_body(after: date, found: list[Fingerprint], next_cursor: UUID | None) -> bytes:
    items = [
        {"property_id": item.property_id, "inventory_version": item.version, "digest": item.digest} for item in found
    ]
    return orjson.dumps({"after": after, "items": items, "next_cursor": next_cursor})
