"""Proves that packed ranges are the ranges: nights, kinds, windows and removal, against plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from availability.domain.packed_ranges import (
    KINDS,
    NO_ID,
    RECORD,
    closed_nights,
    is_packable,
    meeting,
    pack,
    unpack,
    without_past,
)
from rules.calendar import StoredRange, open_bits

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


def spans(found: Sequence[StoredRange]) -> list[tuple[date, date, date, str]]:
    return sorted((one.stay_start, one.stay_end, one.occupied_end, one.kind) for one in found)


@given(ranges)
def test_what_was_packed_comes_out_again(given_ranges: list[StoredRange]) -> None:
    assert unpack(pack(given_ranges)) == given_ranges


def test_a_range_takes_six_bytes_from_2000_to_2100() -> None:
    assert RECORD.itemsize == 6
    for first, last in ((date(2000, 1, 1), date(2000, 1, 2)), (date(2100, 12, 1), date(2100, 12, 31))):
        one = StoredRange(NO_ID, "block", NO_ID, first, last, first, last)
        assert is_packable(one)
        assert unpack(pack([one])) == [one]


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
def test_what_does_not_fit_is_not_packed(changed: dict[str, object]) -> None:
    assert is_packable(stored(0, 3))
    assert not is_packable(replace(stored(0, 3), **changed))  # type: ignore[arg-type]


@given(ranges, st.integers(-50, 60), st.integers(1, 60))
def test_a_window_finds_the_ranges_that_meet_it(given_ranges: list[StoredRange], first: int, nights: int) -> None:
    start, end = night(first), night(first + nights)
    wanted = [one for one in given_ranges if one.occupied_start < end and start < one.occupied_end]
    assert unpack(meeting(pack(given_ranges), start, end)) == wanted
    assert unpack(without_past(pack(given_ranges), start)) == [one for one in given_ranges if one.occupied_end > start]


@given(ranges, ranges, st.integers(0, 4), st.integers(-50, 60), st.integers(1, 100))
def test_closed_nights_are_those_the_rules_close(
    packed: list[StoredRange], whole: list[StoredRange], preparation_days: int, first: int, nights: int
) -> None:
    held = [replace(one, kind="hold", source_id=UUID(int=7)) for one in whole]
    closed = closed_nights(pack(packed), held, preparation_days, night(first), nights)
    is_open = open_bits([*packed, *held], preparation_days, night(first), nights, NOW)
    assert closed == ~is_open & ((1 << nights) - 1)
