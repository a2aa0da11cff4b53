"""Answers of the routes: ready JSON, pages of lists, and the dependencies they are made with."""

from typing import Any
from uuid import UUID

import orjson
from fastapi import Response

from booking.domain.model import Page
from booking.service.writing import Deps
from runtime.http import json_bytes
from runtime.pages import decode_cursor, encode_cursor
from runtime.tokens import Caller

DEFAULT_LIMIT = 50


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
    return Page(limit, position.at, position.id) if position else Page(limit)


def answer(body: dict[str, Any]) -> Response:
    """A ready JSON answer."""
    return json_bytes(orjson.dumps(body))


def list_answer(items: list[dict[str, Any]], limit: int, instant: str, total: int | None = None) -> Response:
    """One page of a list ordered by the field `instant` and the id."""
    next_cursor = encode_cursor(items[-1][instant], UUID(items[-1]["id"])) if len(items) == limit else None
    counted = {} if total is None else {"total": total}
    return answer({"items": items, "next_cursor": next_cursor, **counted})
