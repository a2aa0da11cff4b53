"""What may happen on each date: examples of every reason, and no stay that may be booked contradicts its dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.checks import Sellable, check
from rules.days import DayStatus, day_statuses
from rules.stay_rules import RequestedStay, StayRule
from tests.rules.selling import DAY, FRI, MON, NOW, SUN, THU, TUE, WED, conditions, rates, rules, terms
from tests.rules.test_checks import sellable, taken

TODAY = NOW.date()


def days(place: Sellable, start: date = MON, end: date = SUN) -> dict[date, DayStatus]:
    return {status.date: status for status in day_statuses(place, start, end, NOW)}


def reasons(place: Sellable, start: date = MON, end: date = SUN) -> Mapping[date, tuple[str, ...]]:
    return {day: status.reasons for day, status in days(place, start, end).items() if status.reasons}


def test_a_free_date_without_rules_is_open_for_everything() -> None:
    for status in days(sellable()).values():
        assert (status.is_open, status.can_arrive, status.can_depart, status.reasons) == (True, True, True, ())


def test_each_kind_of_range_closes_its_nights_and_says_so() -> None:
    place = sellable(
        taken(MON, kind="reservation"), taken(TUE, kind="block"), taken(WED, kind="hold"), taken(THU, kind="conflict")
    )
    assert reasons(place) == {MON: ("reservation",), TUE: ("block",), WED: ("hold",), THU: ("conflict",)}
    assert not any(days(place)[day].is_open for day in (MON, TUE, WED, THU))


def test_a_night_kept_for_preparation_is_closed_and_named() -> None:
    assert reasons(sellable(taken(TUE, preparation=1), preparation_days=1)) == {
        MON: ("preparation",),
        TUE: ("reservation",),
        WED: ("preparation",),
    }


def test_one_may_arrive_on_the_day_another_departs_and_depart_on_the_day_another_arrives() -> None:
    status = days(sellable(taken(TUE), taken(FRI)))
    assert [status[day].can_arrive for day in (TUE, WED, FRI)] == [False, True, False]
    assert [status[day].can_depart for day in (TUE, WED, FRI)] == [True, False, True]


def test_stop_sell_and_a_missing_rate_close_a_night() -> None:
    sold_by = terms(rules(dated={TUE: StayRule(stop_sell=True)}), rates(dated={MON: 100, TUE: 100, WED: 0}))
    place = sellable(sold_by=sold_by)
    found = days(place, MON, FRI)
    assert reasons(place, MON, FRI) == {TUE: ("stop_sell",), THU: ("no_rate",)}
    assert [found[day].is_open for day in (MON, TUE, WED, THU)] == [True, False, True, False]
    assert [found[day].rate_minor for day in (MON, TUE, WED, THU)] == [100, 100, 0, None]


def test_arrival_and_departure_are_closed_each_by_itself() -> None:
    sold_by = terms(rules(dated={TUE: StayRule(closed_to_arrival=True), WED: StayRule(closed_to_departure=True)}))
    found = days(sellable(sold_by=sold_by))
    assert (found[TUE].is_open, found[TUE].can_arrive, found[TUE].can_depart) == (True, False, True)
    assert (found[WED].is_open, found[WED].can_arrive, found[WED].can_depart) == (True, True, False)
    assert (found[TUE].reasons, found[WED].reasons) == (("closed_to_arrival",), ("closed_to_departure",))


def test_a_gap_shorter_than_the_stay_it_asks_for_is_closed_by_min_stay() -> None:
    place = sellable(taken(MON), taken(THU), sold_by=terms(rules(StayRule(min_stay_through=3))))
    found = days(place)
    assert [found[day].reasons for day in (TUE, WED)] == [("min_stay",), ("min_stay",)]
    assert not found[TUE].is_open
    assert found[FRI].is_open
    assert found[FRI].min_stay_through == 3


def test_nobody_can_arrive_where_the_shortest_stay_does_not_fit() -> None:
    place = sellable(taken(THU), sold_by=terms(rules(StayRule(min_stay_arrival=2))))
    found = days(place)
    assert [found[day].can_arrive for day in (MON, TUE, WED)] == [True, True, False]
    assert found[WED].is_open
    assert found[WED].reasons == ("min_stay",)


def test_a_run_that_reaches_out_of_the_window_counts_whole() -> None:
    place = sellable(sold_by=terms(rules(StayRule(min_stay_arrival=5, min_stay_through=5))))
    (status,) = day_statuses(place, MON, TUE, NOW)
    assert (status.is_open, status.can_arrive) == (True, True)


def test_the_past_and_what_lies_beyond_the_booking_window_are_closed() -> None:
    place = sellable(sold_by=terms(sold_under=conditions(booking_window_days=2)))
    found = days(place, TODAY - DAY, TODAY + DAY * 3)
    assert [found[TODAY + DAY * offset].reasons for offset in (-1, 0, 1, 2)] == [
        ("past",),
        (),
        (),
        ("booking_window",),
    ]
    assert [found[TODAY + DAY * offset].is_open for offset in (-1, 0, 1, 2)] == [False, True, True, False]
    assert [found[TODAY + DAY * offset].can_depart for offset in (0, 1, 2)] == [False, True, True]


def test_lead_time_closes_arrival_only() -> None:
    place = sellable(sold_by=terms(sold_under=conditions(lead_time_hours=24)))
    found = days(place, TODAY, TODAY + DAY * 2)
    assert (found[TODAY].is_open, found[TODAY].can_arrive, found[TODAY].reasons) == (True, False, ("lead_time",))
    assert found[TODAY + DAY].can_arrive


def test_a_property_that_is_not_sold_is_closed_on_every_date() -> None:
    found = days(sellable(sold_by=terms(sold_under=conditions(active=False))))
    assert {status.reasons for status in found.values()} == {("inactive",)}
    assert not any(status.is_open or status.can_arrive or status.can_depart for status in found.values())


stay_rule = st.builds(
    StayRule,
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
)
places = st.builds(
    lambda default, dated, priced, spans, preparation, window, lead: sellable(
        *(taken(TODAY + DAY * start, length, preparation=preparation) for start, length in spans),
        preparation_days=preparation,
        sold_by=terms(
            rules(default, dated={TODAY + DAY * offset: rule for offset, rule in sorted(dated.items())}),
            rates(dated={TODAY + DAY * offset: 100 for offset in sorted(priced)}),
            sold_under=conditions(booking_window_days=window, lead_time_hours=lead),
        ),
    ),
    stay_rule,
    st.dictionaries(st.integers(0, 12), stay_rule, max_size=4),
    st.sets(st.integers(0, 14), max_size=15),
    st.lists(st.tuples(st.integers(-2, 12), st.integers(1, 3)), max_size=3),
    st.integers(0, 2),
    st.integers(1, 14),
    st.sampled_from((0, 3, 30)),
)


@settings(max_examples=300)
@given(places)
def test_no_stay_that_may_be_booked_contradicts_what_is_said_of_its_dates(place: Sellable) -> None:
    found = days(place, TODAY - DAY * 2, TODAY + DAY * 20)
    for first in range(-2, 14):
        for nights in range(1, 6):
            check_in = TODAY + DAY * first
            wanted = RequestedStay(check_in, check_in + DAY * nights, persons=2)
            if check(place, wanted, NOW):
                continue
            assert found[check_in].can_arrive
            assert found[wanted.check_out].can_depart
            assert all(found[night].is_open for night in wanted.dates)


@settings(max_examples=200)
@given(places)
def test_one_night_at_a_time_a_date_is_open_for_arrival_exactly_when_that_night_may_be_booked(place: Sellable) -> None:
    """Where no rule asks for a length, what is said of a date is not only necessary."""
    free = Sellable(
        terms(nightly=place.terms.rates, sold_under=place.terms.conditions), place.preparation_days, place.ranges
    )
    for day, status in days(free, TODAY - DAY * 2, TODAY + DAY * 16).items():
        is_bookable = not check(free, RequestedStay(day, day + timedelta(days=1), persons=1), NOW)
        assert status.can_arrive is is_bookable
        assert (status.reasons == ()) is is_bookable
