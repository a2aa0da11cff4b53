"""Proves the matrix of closed nights against a set of (row, night), through growth and the change of days."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from availability.domain.night_matrix import BLOCK_ROWS, FIRST_ROWS, RING, NightMatrix

FIRST = date(2031, 3, 1)
DAY = timedelta(days=1)
ROWS = (0, 1, 7, 8, 4095)


def bits_of(nights: set[int]) -> int:
    return sum(1 << night for night in nights)


def closed_rows(matrix: NightMatrix, first: date, nights: int) -> set[int]:
    found = set()
    for number, bits in enumerate(matrix.closed_in(first, nights)):
        (rows,) = np.nonzero(np.unpackbits(bits, bitorder="little"))
        found |= {number * BLOCK_ROWS + int(row) for row in rows}
    return found


nights = st.sets(st.integers(0, RING - 1), max_size=30)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(ROWS), nights),
        st.tuples(st.just("roll"), st.integers(0, 40), st.just(set[int]())),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 900), steps, st.integers(0, RING - 1), st.integers(1, 40))
def test_what_was_put_is_what_is_found_whatever_day_it_is(
    start: int, program: list[tuple[str, int, set[int]]], first: int, length: int
) -> None:
    matrix, today, model = NightMatrix(FIRST + DAY * start), FIRST + DAY * start, set[tuple[int, date]]()
    matrix.make_room(max(ROWS))
    for verb, number, offsets in program:
        if verb == "put":
            matrix.put(number, bits_of(offsets))
            model = {(row, night) for row, night in model if row != number}
            model |= {(number, today + DAY * offset) for offset in offsets}
        else:
            today += DAY * number
            matrix.roll(today)
            model = {(row, night) for row, night in model if night >= today}
    assert matrix.first == today
    for row in ROWS:
        assert matrix.get(row) == bits_of({(night - today).days for other, night in model if other == row})
    length = min(length, RING - first)
    asked = {today + DAY * (first + offset) for offset in range(length)}
    assert closed_rows(matrix, today + DAY * first, length) == {row for row, night in model if night in asked}


def test_growing_keeps_what_there_is_and_brings_open_nights() -> None:
    matrix = NightMatrix(FIRST)
    rows = (0, FIRST_ROWS - 1, FIRST_ROWS, 3 * FIRST_ROWS + 5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 9)
    for row in rows:
        matrix.make_room(row)
        assert matrix.get(row) == 0
        matrix.put(row, bits_of({row % RING}))
    assert [matrix.get(row) for row in rows] == [bits_of({row % RING}) for row in rows]
    assert closed_rows(matrix, FIRST, RING) == set(rows)


def test_a_full_block_takes_a_hundred_and_one_bytes_a_property() -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(BLOCK_ROWS - 1)
    assert matrix.nbytes / BLOCK_ROWS == RING / 8 == 101


@pytest.mark.parametrize(("first", "length"), [(-1, 1), (0, RING + 1), (RING - 1, 2)])
def test_nights_that_are_not_kept_are_no_answer(first: int, length: int) -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(0)
    with pytest.raises(ValueError, match="outside"):
        list(matrix.closed_in(FIRST + DAY * first, length))


def test_a_day_long_after_leaves_every_night_open() -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(0)
    matrix.put(0, (1 << RING) - 1)
    matrix.roll(FIRST + DAY * (3 * RING + 5))
    assert matrix.get(0) == 0
    matrix.roll(FIRST)
    assert matrix.first == FIRST + DAY * (3 * RING + 5)
