"""What stands against a stay: nights, rules and holds together, and the nights against a model that goes one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from rules.calendar import StoredRange, is_open
from rules.checks import Sellable, check
from rules.stay_rules import RequestedStay, RuleViolation, SellingTerms, StayRule
from tests.rules.selling import MON, NOW, THU, TUE, WED, conditions, rates, rules, stay, terms

HOLD = UUID(int=7)


def taken(
    start: date,
    nights: int = 1,
    *,
    kind: str = "reservation",
    preparation: int = 0,
    source: UUID = HOLD,
    expires_at: datetime | None = None,
) -> StoredRange:
    end = start + timedelta(days=nights)
    occupied_end = end + timedelta(days=preparation)
    return StoredRange(UUID(int=start.toordinal()), kind, source, start, end, start, occupied_end, expires_at)


def sellable(*ranges: StoredRange, preparation_days: int = 0, sold_by: SellingTerms | None = None) -> Sellable:
    return Sellable(sold_by or terms(), preparation_days, ranges)


def found(place: Sellable, wanted: RequestedStay, hold_id: UUID | None = None) -> list[tuple[str, date]]:
    return [(violation.code, violation.date) for violation in check(place, wanted, NOW, hold_id)]


def test_nothing_stands_against_a_stay_of_free_nights() -> None:
    assert check(sellable(taken(MON), taken(THU)), stay(TUE, 2), NOW) == []


def test_a_taken_night_is_told_with_the_kind_that_holds_it_on_its_first_night() -> None:
    place = sellable(taken(WED, kind="block"))
    assert check(place, stay(MON, 4), NOW) == [RuleViolation("inventory_overlap", WED, "open", "block")]


def test_every_range_in_the_way_is_told_once() -> None:
    assert found(sellable(taken(TUE, 3), taken(MON)), stay(MON, 3)) == [
        ("inventory_overlap", MON),
        ("inventory_overlap", TUE),
    ]


def test_preparation_keeps_stays_apart_on_both_sides() -> None:
    before, behind = taken(MON, preparation=1), taken(THU)
    place = sellable(before, behind, preparation_days=1)
    assert found(place, stay(TUE)) == [("inventory_overlap", TUE)], "the night after a departure is for preparation"
    assert found(place, stay(WED)) == [("inventory_overlap", WED)], "no time to prepare for the next arrival"
    assert found(sellable(before, preparation_days=1), stay(WED)) == []


def test_rules_rates_and_nights_are_told_together_by_date() -> None:
    sold_by = terms(rules(dated={TUE: StayRule(stop_sell=True)}), rates(dated={MON: 100, TUE: 100}))
    place = sellable(taken(WED), sold_by=sold_by)
    assert found(place, stay(MON, 3)) == [("stop_sell", TUE), ("inventory_overlap", WED), ("no_rate", WED)]


def test_the_callers_own_hold_is_no_obstacle_and_nobody_elses_is_one() -> None:
    place = sellable(taken(MON, kind="hold", expires_at=NOW + timedelta(minutes=5)))
    assert found(place, stay(MON)) == [("inventory_overlap", MON)]
    assert found(place, stay(MON), HOLD) == []
    assert found(place, stay(MON), UUID(int=8)) == [("hold_not_active", MON), ("inventory_overlap", MON)]


def test_a_hold_whose_time_is_over_holds_nothing_and_is_worth_nothing() -> None:
    place = sellable(taken(MON, kind="hold", expires_at=NOW))
    assert found(place, stay(MON)) == []
    assert found(place, stay(MON), HOLD) == [("hold_not_active", MON)]


def test_a_pending_stay_is_not_a_hold_of_its_own_id() -> None:
    place = sellable(taken(MON, expires_at=NOW + timedelta(minutes=5)))
    assert found(place, stay(MON), HOLD) == [("hold_not_active", MON), ("inventory_overlap", MON)]


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4), st.integers(0, 3)), max_size=5),
    st.integers(0, 3),
    st.integers(0, 20),
    st.integers(1, 6),
)
def test_nights_are_in_the_way_exactly_when_the_calendar_says_that_one_is_closed(
    spans: Sequence[tuple[int, int, int]], preparation_days: int, first: int, nights: int
) -> None:
    ranges = [
        taken(MON + timedelta(days=start), length, preparation=preparation) for start, length, preparation in spans
    ]
    wanted = stay(MON + timedelta(days=first), nights)
    place = sellable(*ranges, preparation_days=preparation_days)
    free = is_open(ranges, preparation_days, wanted.check_in, wanted.check_out, NOW)
    assert (found(place, wanted) == []) is free
    assert all(wanted.check_in <= day < wanted.check_out for _, day in found(place, wanted))


def test_a_property_that_is_not_sold_at_all_says_so() -> None:
    place = sellable(sold_by=replace(terms(), conditions=conditions(active=False)))
    assert found(place, stay(MON)) == [("inactive", MON)]
