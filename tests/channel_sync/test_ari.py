"""Proves the arithmetic of what channels are told: runs, differences, and outcomes of several calls together."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from channel_sync.domain.ari import ItemOutcome, NightValues, ValueRun, differences, together, value_runs
from channel_sync.domain.pushes import OutcomeKind

FIRST = date(2026, 5, 1)
LISTING = UUID(int=1)
VALUES = st.builds(
    NightValues,
    available=st.integers(0, 1),
    rate_minor=st.sampled_from([None, 9000]),
    min_stay_arrival=st.sampled_from([None, 2]),
    stop_sell=st.booleans(),
)
NIGHTS = st.lists(VALUES, max_size=30)


def nights_of(runs: Sequence[ValueRun]) -> dict[date, NightValues]:
    """One value a night; fails on runs that overlap."""
    nights: dict[date, NightValues] = {}
    for run in runs:
        for offset in range((run.end - run.start).days):
            assert run.start + timedelta(days=offset) not in nights
            nights[run.start + timedelta(days=offset)] = run.values
    return nights


def assert_as_few_as_possible(runs: Sequence[ValueRun]) -> None:
    for left, right in pairwise(runs):
        assert left.end < right.start or (left.end == right.start and left.values != right.values)


@given(NIGHTS)
def test_runs_say_of_each_night_what_the_nights_said_in_as_few_runs_as_possible(nights: list[NightValues]) -> None:
    runs = value_runs(nights, FIRST)
    assert nights_of(runs) == {FIRST + timedelta(days=n): values for n, values in enumerate(nights)}
    assert_as_few_as_possible(runs)


@given(NIGHTS, NIGHTS, st.integers(-5, 5))
def test_differences_applied_to_what_was_accepted_give_what_is_wanted(
    before: list[NightValues], after: list[NightValues], moved: int
) -> None:
    accepted, wanted = value_runs(before, FIRST), value_runs(after, FIRST + timedelta(days=moved))
    told = differences(accepted, wanted)
    applied = {**nights_of(accepted), **nights_of(told)}
    assert {night: applied.get(night) for night in nights_of(wanted)} == nights_of(wanted)


@given(NIGHTS, NIGHTS, st.integers(-5, 5))
def test_differences_tell_no_night_the_channel_knows_and_none_that_is_not_wanted(
    before: list[NightValues], after: list[NightValues], moved: int
) -> None:
    accepted, wanted = value_runs(before, FIRST), value_runs(after, FIRST + timedelta(days=moved))
    told, known = differences(accepted, wanted), nights_of(accepted)
    for night, values in nights_of(told).items():
        assert nights_of(wanted)[night] == values
        assert known.get(night) != values
    assert_as_few_as_possible(told)


@given(NIGHTS)
def test_nothing_is_told_when_the_channel_holds_what_is_wanted(nights: list[NightValues]) -> None:
    one_run_a_night = [
        ValueRun(FIRST + timedelta(days=n), FIRST + timedelta(days=n + 1), values) for n, values in enumerate(nights)
    ]
    assert differences(one_run_a_night[::-1], value_runs(nights, FIRST)) == ()


def test_calls_that_cover_one_listing_accept_together_only_what_each_accepted() -> None:
    run = ValueRun(FIRST, FIRST + timedelta(days=3), NightValues(1))
    part = ValueRun(FIRST, FIRST + timedelta(days=1), NightValues(1))
    taken = ItemOutcome(LISTING, OutcomeKind.ACCEPTED, (run,))
    refused = ItemOutcome(LISTING, OutcomeKind.REFUSED, (part,), "no", "values_refused", 60.0)
    lost = ItemOutcome(LISTING, OutcomeKind.UNKNOWN, (), "timed out", "timeout")
    assert together([taken]) == taken
    assert together([taken, refused]) == refused
    assert together([refused, lost, taken]) == ItemOutcome(
        LISTING, OutcomeKind.UNKNOWN, (), "timed out", "timeout", 60.0
    )
