"""Owns what every route of channel-sync shares: the use cases' world, pages and cursors; used by all routes."""

from typing import Annotated

from fastapi import Depends, Query, Request

from channel_sync.domain.paging import Position, Slice
from channel_sync.service.deps import Deps
from contracts.problems import ProblemCode
from runtime.pages import decode_cursor, encode_cursor
from runtime.problems import ProblemError

Offset = Annotated[int, Query(ge=0, le=1_000_000)]
DEFAULT_LIMIT = 50


def deps_of(request: Request) -> Deps:
    """What the use cases stand on, put there by main; refuses everything while channel-sync is switched off."""
    if not request.app.state.enabled:
        detail = "The channel manager is switched off (CHANNEL_MANAGER_ENABLED)."
        raise ProblemError(503, ProblemCode.CHANNEL_MANAGER_DISABLED, detail, headers={"Retry-After": "60"})
    deps: Deps = request.app.state.deps
    return deps


DepsOf = Annotated[Deps, Depends(deps_of)]


def slice_of(limit: int, cursor: str | None) -> Slice:
    """The part of a list that a request asks for."""
    found = decode_cursor(cursor)
    return Slice(limit, Position(found.at, found.id) if found is not None else None)


def cursor_of(last: Position | None) -> str | None:
    """Where the next part begins, None after the last."""
    return encode_cursor(last.at, last.id) if last is not None else None
