"""Cursors of lists ordered by an instant and an id; used by `api` modules."""

import base64
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BaseModel

from contracts.problems import ProblemCode
from runtime.problems import ProblemError

MAX_LIMIT = 200

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=200)]


class Position(BaseModel):
    """The last record of a page: its instant and id."""

    at: AwareDatetime
    id: UUID


def encode_cursor(at: datetime, record_id: UUID) -> str:
    """An opaque cursor that continues after a record."""
    return base64.urlsafe_b64encode(Position(at=at, id=record_id).model_dump_json().encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> Position | None:
    """The position a cursor names; raises a 422 problem for one that is not ours."""
    if cursor is None:
        return None
    try:
        return Position.model_validate_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        detail = "cursor: take it unchanged from next_cursor of the page before"
        raise ProblemError(422, ProblemCode.VALIDATION_ERROR, detail) from error
