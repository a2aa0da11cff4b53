"""Proves in which order properties are fetched, each once, and that none is forgotten meanwhile."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from availability.service.wanted import Cause, Wanted

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def taken(wanted: Wanted) -> list[tuple[UUID, Cause]]:
    """All that can be taken, in order."""
    found = []
    while (one := wanted.take()) is not None:
        found.append(one)
        wanted.done(one[0])
    return found


def test_what_could_be_answered_until_now_goes_before_what_comes_by_the_thousand() -> None:
    wanted = Wanted()
    wanted.add(ONE, Cause.STATELESS)
    wanted.add(TWO, Cause.GAP)
    wanted.add(THREE, Cause.UNREADABLE)
    assert taken(wanted) == [(TWO, Cause.GAP), (THREE, Cause.UNREADABLE), (ONE, Cause.STATELESS)]


def test_a_property_is_there_once_and_for_its_first_cause_unless_a_later_one_is_more_urgent() -> None:
    wanted = Wanted()
    wanted.add(ONE, Cause.BEHIND)
    wanted.add(ONE, Cause.DIFFERENT)
    wanted.add(TWO, Cause.BEHIND)
    wanted.add(TWO, Cause.GAP)
    wanted.add(TWO, Cause.BEHIND)
    assert len(wanted) == 2
    assert taken(wanted) == [(TWO, Cause.GAP), (ONE, Cause.BEHIND)]


def test_what_is_told_while_a_property_is_fetched_has_it_fetched_again() -> None:
    wanted = Wanted()
    wanted.add(ONE, Cause.GAP)
    assert wanted.take() == (ONE, Cause.GAP)
    assert set(wanted) == {ONE}, "it is not there yet"
    wanted.add(ONE, Cause.UNREADABLE)
    assert len(wanted) == 1
    wanted.done(ONE)
    assert taken(wanted) == [(ONE, Cause.UNREADABLE)]
    assert set(wanted) == set()


def test_what_was_repaired_by_other_means_is_not_fetched() -> None:
    wanted = Wanted()
    for place, cause in ((ONE, Cause.GAP), (TWO, Cause.STATELESS)):
        wanted.add(place, cause)
        wanted.drop(place)
    wanted.drop(THREE)
    assert taken(wanted) == []


async def test_who_waits_is_told_when_there_is_something_and_only_then() -> None:
    wanted = Wanted()
    waiting = asyncio.create_task(wanted.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wanted.add(ONE, Cause.GAP)
    await waiting
    wanted.take()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wanted.wait()
