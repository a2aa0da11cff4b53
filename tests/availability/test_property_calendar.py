"""Proves that a calendar shows committed states only, whatever order, duplicates and gaps its changes arrive in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from availability.domain.packed_ranges import NO_RANGES
from availability.domain.property_calendar import MAX_WAITING, CalendarState, Delta, Profile, PropertyCalendar
from rules.calendar import StoredRange
from rules.stay_rules import SellingConditions
from tests.availability.packing import packed

AGENCY = UUID(int=1)
DAY = date(2031, 5, 1)
PROFILE = Profile(0, SellingConditions("UTC", 4, 0, 365, time(15)), "EUR")
NEW = PropertyCalendar(partition=0)


def night(number: int) -> StoredRange:
    start = DAY + timedelta(days=number)
    end = start + timedelta(days=1)
    return StoredRange(UUID(int=number), "reservation", UUID(int=10_000 + number), start, end, start, end)


def created(commit_version: int = 1) -> Delta:
    return Delta(AGENCY, 1, commit_version, profile=PROFILE, rules_version=1)


def change(version: int, commit_version: int | None = None, *, released: int | None = None) -> Delta:
    """Version v takes night v; `released` gives a night back."""
    return Delta(
        AGENCY,
        version,
        commit_version or version,
        occupied=packed([night(version)]),
        released=NO_RANGES if released is None else packed([night(released)]),
    )


def state(version: int, nights: range | set[int]) -> CalendarState:
    return CalendarState(AGENCY, version, 1, PROFILE, ranges=packed(map(night, nights)))


def shown_nights(calendar: PropertyCalendar) -> set[int]:
    assert calendar.shown is not None
    return {(stored.stay_start - DAY).days for stored in calendar.shown.ranges.stored}


def test_a_property_begins_with_the_sections_of_its_creation() -> None:
    calendar = NEW.with_delta(created())
    assert calendar.shown == CalendarState(AGENCY, 1, 1, PROFILE)
    assert not calendar.is_parked


def test_the_next_version_is_shown_at_once() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(2)).with_delta(change(3, released=2))
    assert shown_nights(calendar) == {3}


def test_lower_and_equal_versions_are_dropped() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(2)).with_delta(change(3, released=2))
    assert calendar.with_delta(change(3)) is calendar
    assert calendar.with_delta(change(2)) is calendar
    assert calendar.with_state(state(2, {2})) is calendar


def test_versions_of_one_commit_are_shown_together_and_not_before() -> None:
    calendar = NEW.with_delta(created())
    for version in (2, 3):
        calendar = calendar.with_delta(change(version, commit_version=4))
        assert calendar.shown is not None
        assert calendar.shown.version == 1
        assert not calendar.is_parked
    assert shown_nights(calendar.with_delta(change(4, commit_version=4))) == {2, 3, 4}


def test_a_creation_in_a_longer_commit_is_not_shown_before_the_commit_is_complete() -> None:
    calendar = NEW.with_delta(created(commit_version=2))
    assert calendar.shown is None
    assert shown_nights(calendar.with_delta(change(2))) == {2}


def test_a_gap_parks_the_property_until_a_state_reaches_it() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(3)).with_delta(change(4))
    assert calendar.is_parked
    assert calendar.with_state(state(1, set())).is_parked
    healed = calendar.with_state(state(2, {2}))
    assert not healed.is_parked
    assert shown_nights(healed) == {2, 3, 4}


def test_a_loss_in_the_middle_of_a_commit_parks_the_property() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(2, commit_version=4)).with_delta(change(4))
    assert calendar.is_parked
    assert shown_nights(calendar.with_state(state(4, {2, 3, 4}))) == {2, 3, 4}


def test_an_incomplete_commit_behind_a_repaired_gap_goes_on_waiting() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(3)).with_delta(change(4, commit_version=5))
    healed = calendar.with_state(state(2, {2}))
    assert shown_nights(healed) == {2, 3}
    assert shown_nights(healed.with_delta(change(5))) == {2, 3, 4, 5}


def test_a_change_of_a_profile_does_not_create_an_unknown_property() -> None:
    calendar = NEW.with_delta(Delta(AGENCY, 5, 5, profile=replace(PROFILE, preparation_days=1), rules_version=5))
    assert calendar.shown is None
    assert calendar.is_parked


def test_an_unknown_property_beyond_version_1_is_parked() -> None:
    calendar = NEW.with_delta(change(7))
    assert calendar.is_parked
    assert shown_nights(calendar.with_state(state(8, {7, 8}))) == {7, 8}


def test_a_jump_of_versions_after_a_restore_replaces_what_was_held() -> None:
    jump = 1_900_000_000_000_000
    calendar = NEW.with_delta(created()).with_delta(change(2)).with_delta(Delta(AGENCY, jump, jump))
    assert calendar.is_parked
    restored = calendar.with_state(state(jump, {77}))
    assert shown_nights(restored) == {77}
    assert not restored.with_delta(Delta(AGENCY, jump + 1, jump + 1)).is_parked


def test_a_state_from_the_ledger_ends_the_wait_for_a_version_that_never_was_committed() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(999))
    healed = calendar.with_state(state(3, {2, 3}), heard_before=calendar.heard)
    assert not healed.is_parked
    assert shown_nights(healed.with_delta(change(4))) == {2, 3, 4}


def test_a_change_that_came_while_the_ledger_was_read_still_waits() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(3))
    heard = calendar.heard
    calendar = calendar.with_delta(change(4)).with_delta(change(6))
    assert calendar.with_state(state(4, {2, 3, 4}), heard).is_parked


def test_a_distrusted_property_shows_nothing_until_a_state_arrives() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(2)).distrusted()
    assert calendar.shown is None
    assert calendar.is_parked
    assert shown_nights(calendar.with_state(state(3, {2, 3}))) == {2, 3}


def test_a_removed_property_stays_gone_when_old_changes_come_again() -> None:
    calendar = NEW.with_delta(created()).with_delta(Delta(AGENCY, 2, 2, removes=True))
    assert calendar.shown is not None
    assert calendar.shown.is_gone
    assert calendar.with_delta(created()) is calendar
    # Erasing a guest of its past takes a version of it.
    later = calendar.with_delta(Delta(AGENCY, 3, 3)).shown
    assert later is not None
    assert later.is_gone


def test_a_new_profile_and_rules_version_replace_the_old_ones() -> None:
    calendar = NEW.with_delta(created()).with_delta(change(2))
    slower = replace(PROFILE, preparation_days=2)
    calendar = calendar.with_delta(Delta(AGENCY, 3, 3, profile=slower, rules_version=3)).with_delta(change(4))
    assert calendar.shown is not None
    assert (calendar.shown.profile, calendar.shown.rules_version) == (slower, 3)


def test_a_parked_property_waits_with_a_bounded_number_of_changes() -> None:
    calendar = NEW
    for version in range(2, MAX_WAITING * 2 + 100):
        calendar = calendar.with_delta(change(version))
        assert len(calendar.waiting) <= MAX_WAITING
    assert calendar.is_parked
    assert not calendar.with_state(state(calendar.heard, set())).is_parked


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Delta], dict[int, CalendarState]]:
    """A property's life as commits of one to three versions, and the state after each commit."""
    deltas, committed = [created()], {1: CalendarState(AGENCY, 1, 1, PROFILE)}
    for length in draw(st.lists(st.integers(1, 3), min_size=1, max_size=6)):
        reached = committed[max(committed)]
        last = reached.version + length
        for version in range(reached.version + 1, last + 1):
            released = draw(st.none() | st.integers(2, version))
            deltas.append(change(version, last, released=released))
            reached = reached.after(deltas[-1])
        committed[last] = reached
    return deltas, committed


@settings(deadline=None)
@given(history=histories(), data=st.data())
def test_any_interleaving_with_duplicates_gaps_and_snapshots_shows_committed_states_only_and_converges(
    history: tuple[list[Delta], dict[int, CalendarState]], data: st.DataObject
) -> None:
    deltas, committed = history
    versions = sorted(committed)
    calendar, reading_since, before = NEW, 0, 0
    for _ in range(data.draw(st.integers(0, 25))):
        kind = data.draw(st.sampled_from(["delta", "delta", "snapshot", "begin reading", "answer"]))
        if kind == "delta":
            calendar = calendar.with_delta(data.draw(st.sampled_from(deltas)))
        elif kind == "snapshot":
            calendar = calendar.with_state(committed[data.draw(st.sampled_from(versions))])
        elif kind == "begin reading":
            reading_since = calendar.heard
        else:  # the ledger answers at least what was on the topic when it was asked
            answers = [version for version in versions if version >= reading_since]
            calendar = calendar.with_state(committed[data.draw(st.sampled_from(answers))], reading_since)
        if calendar.shown is not None:
            assert calendar.shown == committed[calendar.shown.version]
            assert calendar.shown.version >= before
            before = calendar.shown.version
    calendar = calendar.with_delta(deltas[-1])
    if calendar.is_parked:
        calendar = calendar.with_state(committed[versions[-1]], calendar.heard)
    assert calendar.shown == committed[versions[-1]]
    assert calendar.waiting == ()
