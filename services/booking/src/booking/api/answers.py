"""Answers of the routes: ready JSON, pages of lists, and the dependencies they are made with."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Response
from pydantic import AfterValidator, AwareDatetime

from booking.domain.model import Page
from booking.service.writing import Deps
from contracts.problems import ProblemCode
from contracts.values import storable
from runtime.http import json_bytes
from runtime.pages import decode_cursor, encode_cursor
from runtime.problems import ProblemError
from runtime.tokens import Caller

DEFAULT_LIMIT = 50


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


# What a list is searched by.
Text = Annotated[str | None, Query(min_length=1, max_length=200), AfterValidator(lambda text: text and storable(text))]
Since = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class DepsOf:
    """Holds the dependencies of the routes, which exist only while the application runs."""

    api: Deps
    system: Deps

    def of(self, caller: Caller) -> Deps:
        """What a use case needs on behalf of a caller."""
        return self.api.by(caller.subject)


def page_of(limit: int, cursor: str | None) -> Page:
    """Where a list goes on; raises a 422 problem for a cursor that is not ours."""
    position = decode_cursor(cursor)
    if position is None:
        return Page(limit)
    try:
        return Page(limit, _in_utc(position.at), position.id)
    except ValueError as error:
        raise ProblemError(422, ProblemCode.VALIDATION_ERROR, f"cursor: {error}") from error


def answer(body: dict[str, Any]) -> Response:
    """A ready JSON answer."""
    return json_bytes(orjson.dumps(body))


def list_answer(items: list[dict[str, Any]], limit: int, instant: str, total: int | None = None) -> Response:
    """One page of a list ordered by the field `instant` and the id."""
    next_cursor = encode_cursor(items[-1][instant], UUID(items[-1]["id"])) if len(items) == limit else None
    counted = {} if total is None else {"total": total}
    return answer({"items": items, "next_cursor": next_cursor, **counted})
