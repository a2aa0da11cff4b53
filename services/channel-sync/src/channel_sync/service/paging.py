"""Owns how a list that was asked for one item too many becomes a page; called by the other service modules."""

from collections.abc import Callable
from typing import TypeVar

from channel_sync.domain.paging import Page, Position

Item = TypeVar("Item")


def page_of(found: list[Item], limit: int, position: Callable[[Item], Position]) -> Page[Item]:
    """The page of at most `limit` items; there is a next one when more were found."""
    items = found[:limit]
    return Page(items, position(items[-1]) if len(found) > limit else None)
