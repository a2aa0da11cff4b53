"""Proves when a version that booking told of must have arrived: when a later watermark of its partition has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from availability.domain.awaited import Awaited

NOON = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_nothing_is_due_before_a_watermark_is_as_late_as_the_page_and_then_once() -> None:
    awaited = Awaited()
    awaited.put(0, ONE, 7, at(0))
    awaited.put(0, TWO, 9, at(10))
    assert list(awaited.due(0, at(-0.001))) == []
    assert list(awaited.due(0, at(0))) == [(ONE, 7)]
    assert list(awaited.due(0, at(9))) == []
    assert list(awaited.due(0, at(11))) == [(TWO, 9)]
    assert list(awaited.due(0, at(99))) == []


def test_a_watermark_tells_of_its_own_partition_only() -> None:
    awaited = Awaited()
    awaited.put(0, ONE, 7, at(0))
    assert list(awaited.due(1, at(99))) == []
    assert list(awaited.due(0, at(99))) == [(ONE, 7)]


def test_a_property_that_lags_for_rounds_keeps_its_turn_and_is_not_there_twice() -> None:
    awaited = Awaited()
    for round_number in range(5):
        awaited.put(0, ONE, 7 + round_number, at(30 * round_number))
        awaited.put(0, TWO, 7, at(30 * round_number))
    assert len(awaited) == 2
    assert list(awaited.due(0, at(1))) == [(ONE, 7), (TWO, 7)]
