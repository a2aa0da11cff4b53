"""Open nights, closed ranges, digests: examples, and the bit tricks against a slow model that goes night by night."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.calendar import (
    PREPARATION,
    ClosedRange,
    NightRun,
    StoredRange,
    closed_ranges,
    digest,
    digest_line,
    digest_of,
    is_open,
    night_runs,
    occupied_bits,
    open_bits,
)

NOW = datetime(2028, 2, 20, 12, tzinfo=UTC)
ORIGIN = date(2028, 2, 20)  # 2028 has a 29 February, nine nights on
NIGHT = timedelta(days=1)


def days(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += NIGHT


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


def stored(
    start: int,
    end: int,
    preparation: int = 0,
    kind: str = "reservation",
    expires_at: datetime | None = None,
    n: int = 1,
) -> StoredRange:
    """A range of nights counted from ORIGIN, occupying its preparation days too."""
    return StoredRange(
        UUID(int=n), kind, UUID(int=n + 1000), day(start), day(end), day(start), day(end + preparation), expires_at
    )


class SlowModel:
    """One night at a time, straight from the sentence: open when `[n, n + 1 + preparation)` meets no active range."""

    def __init__(self, ranges: Sequence[StoredRange], preparation_days: int, now: datetime) -> None:
        self._active = [one for one in ranges if one.expires_at is None or one.expires_at > now]
        self._preparation_days = preparation_days
        self._occupied = {night for one in self._active for night in days(one.occupied_start, one.occupied_end)}

    def occupied(self, night: date) -> bool:
        return night in self._occupied

    def is_open(self, night: date) -> bool:
        return not any(self.occupied(one) for one in days(night, night + NIGHT * (1 + self._preparation_days)))

    def kinds(self, night: date) -> set[str]:
        """What an answer must say of a night: the stays on it, else preparation when it is closed all the same."""
        kinds = {one.kind for one in self._active if one.stay_start <= night < one.stay_end}
        return kinds or (set() if self.is_open(night) else {PREPARATION})


@st.composite
def stored_ranges(draw: st.DrawFn) -> StoredRange:
    start = draw(st.integers(-15, 35))
    length = draw(st.integers(1, 9))
    before, after = draw(st.integers(0, 1)), draw(st.integers(0, 4))
    offset_s = draw(st.none() | st.sampled_from([-86400, -1, 0, 1, 86400]))
    return StoredRange(
        range_id=UUID(int=draw(st.integers(1, 2**64))),
        kind=draw(st.sampled_from(["reservation", "block", "hold", "conflict"])),
        source_id=UUID(int=draw(st.integers(1, 9))),
        stay_start=day(start),
        stay_end=day(start + length),
        occupied_start=day(start - before),
        occupied_end=day(start + length + after),
        expires_at=None if offset_s is None else NOW + timedelta(seconds=offset_s),
    )


RANGES = st.lists(stored_ranges(), max_size=6)
PREPARATIONS = st.integers(0, 4)
WINDOWS = st.tuples(st.integers(-20, 40), st.integers(0, 45))
THOROUGH = settings(max_examples=100, deadline=None)


@THOROUGH
@given(RANGES, PREPARATIONS, WINDOWS)
def test_each_bit_says_whether_that_night_is_open(
    ranges: list[StoredRange], preparation: int, window: tuple[int, int]
) -> None:
    model = SlowModel(ranges, preparation, NOW)
    first, nights = window
    bits = open_bits(ranges, preparation, day(first), nights, NOW)
    assert bits >> nights == 0
    for number in range(nights):
        assert bool(bits >> number & 1) is model.is_open(day(first + number))
    occupied = occupied_bits(ranges, day(first), nights, NOW)
    assert occupied >> nights == 0
    for number in range(nights):
        assert bool(occupied >> number & 1) is model.occupied(day(first + number))


@THOROUGH
@given(RANGES, PREPARATIONS, st.integers(-5, 30), st.integers(1, 12))
def test_a_stay_is_open_exactly_when_what_it_would_occupy_meets_nothing(
    ranges: list[StoredRange], preparation: int, first: int, nights: int
) -> None:
    model = SlowModel(ranges, preparation, NOW)
    wanted = days(day(first), day(first + nights + preparation))
    wins = not any(model.occupied(night) for night in wanted)
    assert is_open(ranges, preparation, day(first), day(first + nights), NOW) is wins


@THOROUGH
@given(RANGES, PREPARATIONS, WINDOWS)
def test_night_runs_cover_the_window_and_alternate(
    ranges: list[StoredRange], preparation: int, window: tuple[int, int]
) -> None:
    model = SlowModel(ranges, preparation, NOW)
    start, end = day(window[0]), day(window[0] + window[1])
    runs = night_runs(ranges, preparation, start, end, NOW)
    assert [night for run in runs for night in days(run.start, run.end)] == list(days(start, end))
    assert all(run.start < run.end for run in runs)
    assert all(left.is_open is not right.is_open for left, right in pairwise(runs))
    for run in runs:
        assert {model.is_open(night) for night in days(run.start, run.end)} == {run.is_open}


@THOROUGH
@given(RANGES, PREPARATIONS, WINDOWS)
def test_the_nights_in_no_closed_range_are_exactly_the_open_nights(
    ranges: list[StoredRange], preparation: int, window: tuple[int, int]
) -> None:
    model = SlowModel(ranges, preparation, NOW)
    start, end = day(window[0]), day(window[0] + window[1])
    closed = closed_ranges(ranges, preparation, start, end, NOW)
    said: dict[date, set[str]] = {night: set() for night in days(start, end)}
    for one in closed:
        assert start <= one.start < one.end <= end
        for night in days(one.start, one.end):
            said[night].add(one.kind)
    assert said == {night: model.kinds(night) for night in days(start, end)}
    assert [night for night, kinds in said.items() if not kinds] == [
        night for night in days(start, end) if model.is_open(night)
    ]
    assert [(one.start, one.end) for one in closed] == sorted((one.start, one.end) for one in closed)


@THOROUGH
@given(RANGES, st.randoms(use_true_random=False), st.integers(-20, 50))
def test_a_digest_does_not_depend_on_the_order_of_the_ranges(
    ranges: list[StoredRange], random: Random, after: int
) -> None:
    shuffled = list(ranges)
    random.shuffle(shuffled)
    assert digest(shuffled, day(after)) == digest(ranges, day(after))
    assert digest(iter(ranges), day(after)) == digest(ranges, day(after))


@THOROUGH
@given(RANGES, st.integers(-20, 50), st.data())
def test_a_digest_changes_with_any_field_of_a_range_that_counts_and_with_none_that_does_not(
    ranges: list[StoredRange], after: int, data: st.DataObject
) -> None:
    counted = [one for one in ranges if one.occupied_end > day(after)]
    assert digest(counted, day(after)) == digest(ranges, day(after))
    if not ranges:
        return
    index = data.draw(st.integers(0, len(ranges) - 1))
    one = ranges[index]
    held_by_another = replace(one, source_id=UUID(int=one.source_id.int ^ 2**100))

    def is_same_with(changed: StoredRange) -> bool:
        return digest([*ranges[:index], changed, *ranges[index + 1 :]], day(after)) == digest(ranges, day(after))

    changes: list[StoredRange] = [
        replace(one, kind=one.kind + "x"),
        replace(one, stay_start=one.stay_start - NIGHT),
        replace(one, stay_end=one.stay_end + NIGHT),
        replace(one, occupied_start=one.occupied_start - NIGHT),
        replace(one, expires_at=(one.expires_at or NOW) + timedelta(milliseconds=1)),
    ]
    for changed in changes:
        assert is_same_with(changed) is (one.occupied_end <= day(after))
    assert is_same_with(held_by_another) is (one.kind != "hold" or one.occupied_end <= day(after))
    assert is_same_with(replace(one, range_id=UUID(int=one.range_id.int ^ 2**100)))


def test_back_to_back_stays_share_a_date() -> None:
    first = stored(0, 3)
    assert is_open([first], 0, day(3), day(5), NOW)
    assert is_open([first], 0, day(-2), day(0), NOW)
    assert not is_open([first], 0, day(2), day(5), NOW)


def test_a_gap_shorter_than_its_preparation_is_closed_and_named_preparation() -> None:
    ranges = [stored(0, 3, preparation=2, n=1), stored(7, 9, preparation=2, n=2)]
    # Nights 5 and 6 are free of stays, but a stay on either would need its two days after it.
    assert closed_ranges(ranges, 2, day(0), day(12), NOW) == [
        ClosedRange(day(0), day(3), "reservation"),
        ClosedRange(day(3), day(7), PREPARATION),
        ClosedRange(day(7), day(9), "reservation"),
        ClosedRange(day(9), day(11), PREPARATION),
    ]
    # One day more and a stay of one night fits, and is advertised.
    wider = [ranges[0], stored(8, 10, preparation=2, n=2)]
    assert is_open(wider, 2, day(5), day(6), NOW)
    assert not is_open(wider, 2, day(5), day(7), NOW)


def test_ranges_keep_the_preparation_of_their_time_when_the_property_changes_it() -> None:
    old = stored(0, 3, preparation=2)
    assert open_bits([old], 0, day(3), 3, NOW) == 0b100
    assert open_bits([stored(0, 3)], 2, day(-3), 7, NOW) == 0b1000001


def test_a_hold_holds_until_its_time_and_not_a_moment_longer() -> None:
    expires_at = NOW + timedelta(minutes=15)
    hold = stored(0, 2, kind="hold", expires_at=expires_at)
    assert closed_ranges([hold], 0, day(0), day(3), expires_at - timedelta(microseconds=1)) == [
        ClosedRange(day(0), day(2), "hold")
    ]
    assert closed_ranges([hold], 0, day(0), day(3), expires_at) == []
    assert night_runs([hold], 1, day(-2), day(3), expires_at) == [NightRun(day(-2), day(3), True)]


def test_an_overdue_hold_counts_in_the_digest_because_it_is_still_stored() -> None:
    hold = stored(0, 2, kind="hold", expires_at=NOW - timedelta(days=1))
    assert digest([hold], day(0)) != digest([], day(0))


def test_a_range_counts_in_the_digest_until_its_preparation_is_over() -> None:
    one = stored(0, 3, preparation=2)
    assert digest([one], day(4)) != digest([], day(4))
    assert digest([one], day(5)) == digest([], day(5))


def test_the_digest_is_the_same_for_the_same_instant_in_any_time_zone() -> None:
    utc = stored(0, 2, kind="hold", expires_at=NOW)
    local = replace(utc, expires_at=NOW.astimezone(ZoneInfo("Asia/Tokyo")))
    assert digest([utc], day(0)) == digest([local], day(0))


def test_the_digest_rounds_the_end_of_a_hold_down_to_milliseconds() -> None:
    hold = stored(0, 2, kind="hold", expires_at=NOW)
    same, other = (replace(hold, expires_at=NOW + timedelta(microseconds=each)) for each in (999, 1000))
    before_1970 = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert digest([same], day(0)) == digest([hold], day(0)) != digest([other], day(0))
    assert digest([replace(hold, expires_at=before_1970)], day(0)) == digest_of(
        [digest_line("hold", 10642, 10644, 10642, 10644, -1, hold.source_id)]
    )


def test_a_range_kept_as_numbers_has_the_same_digest() -> None:
    ranges = [stored(0, 3, preparation=1, n=1), stored(-20_000, -19_990, n=2)]
    lines = [
        digest_line("reservation", -9358, -9348, -9358, -9348),
        digest_line("reservation", 10642, 10645, 10642, 10646),
    ]
    assert digest(ranges, day(-30_000)) == digest_of(lines) == digest_of(reversed(lines))


def test_the_digest_is_pinned_so_that_two_versions_of_a_service_agree() -> None:
    ranges = [stored(0, 3, preparation=1, n=1), stored(5, 6, kind="hold", expires_at=NOW, n=2)]
    lines = f"reservation 10642 10645 10642 10646 - -\nhold 10647 10648 10647 10648 1834660800000 {UUID(int=1002)}"
    assert digest(ranges, day(0)) == hashlib.md5(lines.encode()).hexdigest()
    assert digest([], day(0)) == "d41d8cd98f00b204e9800998ecf8427e"
