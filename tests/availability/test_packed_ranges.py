"""Proves that packed ranges are the ranges: nights, kinds, windows and removal, against plain lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from availability.domain.packed_ranges import (
    KINDS,
    LAYOUT,
    NO_ID,
    RECORD,
    PackedRanges,
    closed_nights,
    meeting,
    whole_meeting,
    without_past,
)
from rules.calendar import StoredRange, digest, open_bits
from tests.availability.packing import packed

NOW = datetime(2028, 2, 1, tzinfo=UTC)
DAY = date(2028, 2, 20)


def night(number: int) -> date:
    return DAY + timedelta(days=number)


def stored(start: int, nights: int, extra: int = 0, kind: str = "reservation") -> StoredRange:
    end = night(start + nights)
    return StoredRange(NO_ID, kind, NO_ID, night(start), end, night(start), end + timedelta(days=extra))


ranges = st.lists(
    st.builds(stored, st.integers(-40, 60), st.integers(1, 30), st.integers(0, 5), st.sampled_from(KINDS)), max_size=12
)


ranges = st.lists(
    st.builds(stored, st.integers(-40, 60), st.integers(1, 30), st.integers(0, 5), st.sampled_from(KINDS)), max_size=12
)


@given(ranges)
def test_what_was_packed_comes_out_again(given_ranges: list[StoredRange]) -> None:
    found = packed(given_ranges)
    assert (list(found.stored), found.whole) == (given_ranges, ())
    assert b"".join(found.each) == found.records


def test_a_range_takes_six_bytes_from_2000_to_2100() -> None:
    for first, last in ((date(2000, 1, 1), date(2000, 1, 2)), (date(2100, 12, 1), date(2100, 12, 31))):
        one = StoredRange(NO_ID, "block", NO_ID, first, last, first, last)
        assert len(packed([one]).records) == LAYOUT.size == RECORD.itemsize == 6
        assert packed([one]).stored == (one,)


@pytest.mark.parametrize(
    "changed",
    [
        {"expires_at": NOW},
        {"kind": "hold"},
        {"kind": "something new"},
        {"occupied_start": night(-1)},
        {"occupied_end": night(400)},
        {"stay_start": date(1998, 12, 31), "occupied_start": date(1998, 12, 31)},
    ],
)
def test_what_does_not_fit_is_kept_whole(changed: dict[str, object]) -> None:
    one = replace(stored(0, 3), **changed)  # type: ignore[arg-type]
    assert packed([stored(0, 3)]).whole == ()
    assert packed([one]) == PackedRanges(whole=(one,))


@given(ranges, st.integers(-50, 60), st.integers(1, 60))
def test_a_window_finds_the_ranges_that_meet_it(given_ranges: list[StoredRange], first: int, nights: int) -> None:
    start, end = night(first), night(first + nights)
    wanted = [one for one in given_ranges if one.occupied_start < end and start < one.occupied_end]
    records, days = np.frombuffer(packed(given_ranges).records, RECORD), (start.toordinal(), end.toordinal())
    assert list(PackedRanges(meeting(records, *days).tobytes()).stored) == wanted
    assert list(whole_meeting(given_ranges, *days)) == wanted
    later = PackedRanges(without_past(records, start).tobytes())
    assert list(later.stored) == [one for one in given_ranges if one.occupied_end > start]


@given(ranges, ranges, ranges)
def test_a_change_takes_out_what_is_released_and_puts_in_what_is_occupied(
    kept: list[StoredRange], released: list[StoredRange], occupied: list[StoredRange]
) -> None:
    found = packed([*kept, *released]).changed(packed(released), packed(occupied))
    left = [one for one in packed(kept).each if one not in packed(released).each]
    assert sorted(found.each) == sorted([*left, *packed(occupied).each])


@given(ranges, ranges, st.integers(0, 4), st.integers(-50, 60), st.integers(1, 100))
def test_closed_nights_are_those_the_rules_close(
    given_ranges: list[StoredRange], whole: list[StoredRange], preparation_days: int, first: int, nights: int
) -> None:
    held = [replace(one, kind="hold", source_id=UUID(int=7)) for one in whole]
    records, start = np.frombuffer(packed(given_ranges).records, RECORD), night(first).toordinal()
    closed = closed_nights(records, held, preparation_days, start, start + nights)
    is_open = open_bits([*given_ranges, *held], preparation_days, night(first), nights, NOW)
    assert closed == ~is_open & ((1 << nights) - 1)


@given(ranges, ranges, st.integers(-40, 60))
def test_the_digest_is_that_of_the_plain_ranges(
    given_ranges: list[StoredRange], whole: list[StoredRange], first: int
) -> None:
    held = [replace(one, kind="hold", source_id=UUID(int=7), expires_at=NOW) for one in whole]
    together = [*given_ranges, *held]
    assert packed(together).digest(night(first)) == digest(together, night(first))
