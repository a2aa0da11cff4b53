"""Dated entries: laying one over others, by example and against a calendar with one cell per day."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.dated import EmptyDateRange, entry_on, put_over
from rules.quotes import DatedRate
from rules.stay_rules import DatedStayRule, StayRule

ORIGIN = date(2028, 2, 20)
Put = tuple[int, int, int | None]


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


def entries(*spans: tuple[int, int, int]) -> tuple[DatedRate, ...]:
    return tuple(DatedRate(day(start), day(end), rate) for start, end, rate in spans)


def put(existing: tuple[DatedRate, ...], start: int, end: int, rate: int | None) -> tuple[DatedRate, ...]:
    return put_over(existing, day(start), day(end), rate, DatedRate)


@pytest.mark.parametrize(
    ("existing", "put_", "expected"),
    [
        ([], (0, 5, 1), [(0, 5, 1)]),
        ([(0, 9, 1)], (3, 5, 2), [(0, 3, 1), (3, 5, 2), (5, 9, 1)]),
        ([(0, 9, 1)], (3, 5, 1), [(0, 9, 1)]),
        ([(0, 9, 1)], (0, 9, 2), [(0, 9, 2)]),
        ([(0, 3, 1), (6, 9, 1)], (3, 6, 1), [(0, 9, 1)]),
        ([(0, 3, 1), (6, 9, 2)], (3, 6, 1), [(0, 6, 1), (6, 9, 2)]),
        ([(0, 3, 1), (4, 6, 2), (7, 9, 3)], (2, 8, 4), [(0, 2, 1), (2, 8, 4), (8, 9, 3)]),
        ([(0, 3, 1), (5, 9, 1)], (3, 4, 1), [(0, 4, 1), (5, 9, 1)]),
        ([(0, 9, 1)], (3, 5, None), [(0, 3, 1), (5, 9, 1)]),
        ([(0, 3, 1), (3, 6, 2), (6, 9, 1)], (3, 6, None), [(0, 3, 1), (6, 9, 1)]),
        ([(0, 9, 1)], (-5, 20, None), []),
        ([(0, 3, 1)], (3, 9, None), [(0, 3, 1)]),
        ([(0, 3, 1)], (3, 9, 0), [(0, 3, 1), (3, 9, 0)]),
    ],
)
def test_a_value_laid_over_a_range_splits_replaces_and_merges(
    existing: list[tuple[int, int, int]], put_: Put, expected: list[tuple[int, int, int]]
) -> None:
    assert put(entries(*existing), *put_) == entries(*expected)


@pytest.mark.parametrize("end", [3, 2])
def test_a_range_that_ends_where_it_starts_or_before_is_refused(end: int) -> None:
    with pytest.raises(EmptyDateRange, match=r"^The end date must lie after the start date\.$"):
        put(entries((0, 9, 1)), 3, end, 2)


def test_stay_rules_are_laid_over_whole_and_merge_when_they_say_the_same() -> None:
    two, stopped = StayRule(min_stay_arrival=2), StayRule(stop_sell=True)
    laid = put_over((), day(0), day(9), two, DatedStayRule)
    laid = put_over(laid, day(3), day(5), stopped, DatedStayRule)
    assert laid == (
        DatedStayRule(day(0), day(3), two),
        DatedStayRule(day(3), day(5), stopped),
        DatedStayRule(day(5), day(9), two),
    )
    assert put_over(laid, day(3), day(5), StayRule(min_stay_arrival=2), DatedStayRule) == (
        DatedStayRule(day(0), day(9), two),
    )


def test_an_entry_holds_its_start_and_not_its_end() -> None:
    listed = entries((0, 3, 1), (5, 6, 2))
    found = [entry_on(listed, day(number)) for number in range(-1, 8)]
    first, second = listed
    assert found == [None, first, first, first, None, None, second, None, None]
    assert entry_on((), day(0)) is None


PUTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12), st.none() | st.integers(0, 3)).map(
        lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(PUTS)
def test_any_sequence_of_puts_leaves_what_a_calendar_with_a_cell_per_day_would_show(puts: list[Put]) -> None:
    cells: dict[int, int] = {}
    listed: tuple[DatedRate, ...] = ()
    for start, end, rate in puts:
        for number in range(start, end):
            cells.pop(number, None)
            if rate is not None:
                cells[number] = rate
        before = len(listed)
        listed = put(listed, start, end, rate)
        assert len(listed) <= before + 2
        # Equal runs of cells, read from left to right: there is exactly one such list for a calendar.
        runs = [
            (rate_of_run, [number for number, _ in group])
            for rate_of_run, group in groupby(((n, cells.get(n)) for n in range(50)), key=lambda cell: cell[1])
        ]
        expected = [(numbers[0], numbers[-1] + 1, run) for run, numbers in runs if run is not None]
        assert listed == entries(*expected)
        for number in range(-1, 50):
            found = entry_on(listed, day(number))
            assert (None if found is None else found.rate_minor) == cells.get(number)


@settings(max_examples=100, deadline=None)
@given(PUTS)
def test_entries_stay_sorted_apart_and_unequal_where_they_touch(puts: list[Put]) -> None:
    listed: tuple[DatedRate, ...] = ()
    for one in puts:
        listed = put(listed, *one)
    assert all(entry.start_date < entry.end_date for entry in listed)
    for left, right in pairwise(listed):
        assert left.end_date < right.start_date or (
            left.end_date == right.start_date and left.rate_minor != right.rate_minor
        )
