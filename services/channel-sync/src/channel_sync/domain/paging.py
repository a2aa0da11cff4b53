"""Owns positions and pages of lists that are newest first; called by api, service and repository."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Position:
    """The last item of a page: its instant, and its id among those of the same instant."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is asked for: at most `limit` items after a position, from the start without one."""

    limit: int
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page, and the position of its last item when there is a next page."""

    items: list[Item]
    last: Position | None
