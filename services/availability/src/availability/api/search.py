"""HTTP in: the search for properties that may be booked; put together by `api`."""

import base64
from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from availability.api.questions import PROBLEMS, documented, question_of, refused, require_window, versions_of
from availability.domain.geography import Box
from availability.domain.search.search import Position, Search, Sort
from availability.service.reading import VersionUnknown
from availability.service.searching import CurrencyAmbiguous, Page, Searches, SearchPast
from contracts.availability_http_v1 import SearchAnswer, SearchQuery
from runtime.http import CallerOf, agency_of, json_bytes

STAY, WINDOW = ("check_in", "check_out"), ("from_date", "to_date")
POINT, BOX = ("latitude", "longitude"), ("south", "west", "north", "east")
# What may differ from page to page.
NOT_BOUND = {"limit", "cursor", "min_version"}

public = APIRouter(tags=["availability"])


class _Cursor(BaseModel):
    """Where a page ended, and of which question it was."""

    question: str
    group: str = Field(max_length=10)
    value: int = Field(ge=0, lt=2**63)
    property_id: UUID


@public.get(
    "/availability/search",
    response_model=SearchAnswer,
    responses=PROBLEMS,
    summary="Which of the agency's properties may be booked, at which price.",
    openapi_extra=documented(SearchQuery),
)
async def search(request: Request, caller: CallerOf) -> Response:
    """Every offer could be booked by `POST /bookings` at the version it carries."""
    query, agency_id = question_of(request, SearchQuery), agency_of(caller)
    fingerprint = _fingerprint(agency_id, query)
    question = _search(query, _position(query.cursor, fingerprint))
    searches: Searches = request.app.state.searches
    try:
        page = await searches.search(agency_id, question, versions_of(query.min_version))
    except VersionUnknown as error:
        raise refused("min_version", query.min_version, str(error)) from error
    except SearchPast as error:
        name = "check_in" if query.nights is None else "to_date"
        raise refused(name, str(question.last), str(error)) from error
    except CurrencyAmbiguous as error:
        raise refused("currency", None, str(error)) from error
    return json_bytes(_body(question, page, fingerprint))


def _search(query: SearchQuery, after: Position | None) -> Search:
    first, last, nights = _dates(query)
    place, box = _together(query, POINT), _together(query, BOX)
    if place is None and query.radius_km is not None:
        raise refused("radius_km", query.radius_km, "needs latitude and longitude")
    if place is None and query.sort == Sort.DISTANCE.value:
        raise refused("sort", query.sort, "needs latitude and longitude")
    if box is not None and box[2] < box[0]:
        raise refused("north", box[2], "must not be less than south")
    least, most = query.min_total_minor, query.max_total_minor
    if least is not None and most is not None and most < least:
        raise refused("max_total_minor", most, "must not be less than min_total_minor")
    return Search(
        first=first,
        last=last,
        nights=nights,
        persons=query.adults + query.children,
        place=(place[0], place[1]) if place is not None else None,
        radius_km=query.radius_km,
        box=Box(*box) if box is not None else None,
        amenities=frozenset(query.amenity),
        currency=query.currency,
        least_minor=least,
        most_minor=most,
        sort=Sort(query.sort),
        limit=query.limit,
        after=after,
    )


def _dates(query: SearchQuery) -> tuple[date, date, int]:
    """The first and the last arrival and the nights."""
    if query.nights is None:
        for name in WINDOW:
            if getattr(query, name) is not None:
                raise refused("nights", None, f"must be given with {name}")
        first, end = _required(query, STAY)
        require_window(first, end, STAY)
        return first, first, (end - first).days
    for name in STAY:
        if getattr(query, name) is not None:
            raise refused(name, str(getattr(query, name)), "must not be given with nights")
    first, end = _required(query, WINDOW)
    require_window(first, end, WINDOW)
    if (end - first).days < query.nights:
        raise refused("nights", query.nights, "must not be more than lie between from_date and to_date")
    return first, end - timedelta(days=query.nights), query.nights


def _required(query: SearchQuery, names: tuple[str, str]) -> tuple[date, date]:
    missing = [name for name in names if getattr(query, name) is None]
    if missing:
        errors = [
            {"loc": ("query", name), "type": "missing", "msg": "Field required", "input": None} for name in missing
        ]
        raise RequestValidationError(errors)
    return getattr(query, names[0]), getattr(query, names[1])


def _together(query: SearchQuery, names: Sequence[str]) -> list[float] | None:
    """Parameters of which all are given or none."""
    values = [getattr(query, name) for name in names]
    if all(value is None for value in values):
        return None
    if None in values:
        raise refused(names[values.index(None)], None, f"must be given with {', '.join(names)}")
    return values


def _fingerprint(agency_id: UUID, query: SearchQuery) -> str:
    """Tells questions apart, so that a cursor is used for its own alone."""
    asked = query.model_dump_json(exclude=NOT_BOUND)
    return blake2b(f"{agency_id} {asked}".encode(), digest_size=9).hexdigest()


def _position(cursor: str | None, fingerprint: str) -> Position | None:
    if cursor is None:
        return None
    try:
        found = _Cursor.model_validate_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise refused("cursor", cursor, "take it unchanged from next_cursor of the page before") from error
    if found.question != fingerprint:
        raise refused("cursor", cursor, "belongs to another question")
    return Position(found.group, found.value, found.property_id.int)


def _next(position: Position | None, fingerprint: str) -> str | None:
    if position is None:
        return None
    found = {
        "question": fingerprint,
        "group": position.group,
        "value": position.value,
        "property_id": UUID(int=position.number),
    }
    return base64.urlsafe_b64encode(orjson.dumps(found)).decode().rstrip("=")


def _body(question: Search, page: Page, fingerprint: str) -> bytes:
    dates: dict[int, dict[str, str]] = {}
    items = []
    for _, _, number, check_in, total_minor, currency, metres, version in page.offers:
        if check_in not in dates:
            stay = question.stay(date.fromordinal(check_in))
            dates[check_in] = {"check_in": str(stay.check_in), "check_out": str(stay.check_out)}
        name = f"{number:032x}"
        item: dict[str, Any] = {
            "property_id": f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}",
            **dates[check_in],
            "currency": currency,
            "inventory_version": version,
        }
        if total_minor is not None:
            item["total_amount_minor"] = total_minor
        if metres is not None:
            item["distance_km"] = metres / 1000
        items.append(item)
    return orjson.dumps(
        {
            "items": items,
            "next_cursor": _next(page.next_position, fingerprint),
            "unknown": page.unknown,
            "as_of": page.as_of,
            "lag_ms": page.lag_ms,
            "source": page.source,
        },
        option=orjson.OPT_UTC_Z,
    )
