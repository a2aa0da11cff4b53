"""Proves the matrix of closed nights against a set of (row, night), through growth and the change of days."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from availability.domain.store.night_matrix import BLOCK_ROWS, STEP_ROWS, WINDOW_NIGHTS, NightMatrix

FIRST = date(2031, 3, 1).toordinal()
ROWS = (0, 1, 7, 8, 4095)


def bits_of(nights: set[int]) -> int:
    return sum(1 << night for night in nights)


def closed_rows(matrix: NightMatrix, first: int, nights: int) -> set[int]:
    found = set()
    for number in range(matrix.blocks):
        (rows,) = np.nonzero(np.unpackbits(matrix.closed_in(number, first, first + nights), bitorder="little"))
        found |= {number * BLOCK_ROWS + int(row) for row in rows}
    return found


nights = st.sets(st.integers(0, WINDOW_NIGHTS - 1), max_size=30)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(ROWS), st.integers(-30, 30), nights),
        st.tuples(st.just("close"), st.sampled_from(ROWS), st.integers(-30, WINDOW_NIGHTS + 30), nights),
        st.tuples(st.just("roll"), st.just(0), st.integers(-40, 40), st.just(set[int]())),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 900), steps, st.integers(0, WINDOW_NIGHTS - 1), st.integers(1, 40))
def test_what_was_put_is_what_is_found_whatever_day_it_is(
    start: int, program: list[tuple[str, int, int, set[int]]], first: int, length: int
) -> None:
    matrix, today, model = NightMatrix(FIRST + start), FIRST + start, set[tuple[int, int]]()
    matrix.make_room(max(ROWS))
    for verb, row, shift, offsets in program:
        if verb == "put":
            matrix.put(row, bits_of(offsets), today + shift, today + shift + WINDOW_NIGHTS)
            put = {today + (shift + offset) for offset in range(WINDOW_NIGHTS)}
            model = {(other, night) for other, night in model if other != row or night not in put}
            model |= {(row, today + (shift + offset)) for offset in offsets}
        elif verb == "close":
            matrix.close(row, today + shift, today + (shift + len(offsets)))
            model |= {(row, today + (shift + offset)) for offset in range(len(offsets))}
        else:
            today += shift
            matrix.roll(today)
        model = {(other, night) for other, night in model if 0 <= night - today < WINDOW_NIGHTS}
    assert matrix.first == today
    for row in ROWS:
        assert matrix.get(row) == bits_of({night - today for other, night in model if other == row})
    length = min(length, WINDOW_NIGHTS - first)
    asked = {today + (first + offset) for offset in range(length)}
    assert closed_rows(matrix, today + first, length) == {row for row, night in model if night in asked}


def test_growing_keeps_what_there_is_and_brings_open_nights() -> None:
    matrix = NightMatrix(FIRST)
    rows = (0, STEP_ROWS - 1, STEP_ROWS, 3 * STEP_ROWS + 5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 9)
    for row in rows:
        matrix.make_room(row)
        assert matrix.get(row) == 0
        matrix.put(row, bits_of({row % WINDOW_NIGHTS}), FIRST, FIRST + WINDOW_NIGHTS)
    assert [matrix.get(row) for row in rows] == [bits_of({row % WINDOW_NIGHTS}) for row in rows]
    assert closed_rows(matrix, FIRST, WINDOW_NIGHTS) == set(rows)


def test_a_full_block_takes_a_hundred_bytes_a_property() -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(BLOCK_ROWS - 1)
    assert matrix.nbytes / BLOCK_ROWS == WINDOW_NIGHTS / 8 == 100


@pytest.mark.parametrize(("first", "length"), [(-1, 1), (0, WINDOW_NIGHTS + 1), (WINDOW_NIGHTS - 1, 2)])
def test_nights_that_are_not_kept_are_no_answer(first: int, length: int) -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(0)
    with pytest.raises(ValueError, match="outside"):
        matrix.closed_in(0, FIRST + first, FIRST + first + length)


def test_a_day_long_after_leaves_every_night_open() -> None:
    matrix = NightMatrix(FIRST)
    matrix.make_room(0)
    matrix.put(0, (1 << WINDOW_NIGHTS) - 1, FIRST, FIRST + WINDOW_NIGHTS)
    matrix.roll(FIRST + (3 * WINDOW_NIGHTS + 5))
    assert matrix.get(0) == 0
    matrix.put(0, 1, matrix.first, matrix.end)
    matrix.roll(FIRST)
    assert (matrix.first, matrix.get(0)) == (FIRST, 0)
