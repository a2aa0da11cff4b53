"""What each stay rule binds on, which level of rules is in force, and what a refusal lists: examples."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from rules.dated import MAX_DATED
from rules.quotes import DatedRate, Rates, quote
from rules.stay_rules import DatedStayRule, RuleViolation, StayRule, StayRules, judge
from tests.rules.selling import DAY, FRI, MON, NOW, SAT, SUN, THU, TUE, WED, conditions, rates, rules, stay, terms


def broken(stay_rules: StayRules, check_in: date, nights: int = 1) -> list[tuple[str, date]]:
    return [(one.code, one.date) for one in judge(terms(stay_rules), stay(check_in, nights), NOW)]


def on(day: date, rule: StayRule) -> StayRules:
    return rules(dated={day: rule})


def test_a_stay_under_no_rules_breaks_none() -> None:
    assert judge(terms(), stay(MON, 300), NOW) == []


def test_min_stay_arrival_binds_on_the_arrival_date_only() -> None:
    three_from_wednesday = on(WED, StayRule(min_stay_arrival=3))
    assert judge(terms(three_from_wednesday), stay(WED, 2), NOW) == [RuleViolation("min_stay_arrival", WED, 3, 2)]
    assert broken(three_from_wednesday, WED, 3) == []
    # A stay that only runs across the date does not arrive on it.
    assert broken(three_from_wednesday, TUE, 2) == []


def test_min_stay_arrival_does_not_look_at_the_check_out_date() -> None:
    assert broken(on(WED, StayRule(min_stay_arrival=3)), TUE, 1) == []


def test_min_stay_through_binds_on_every_night_of_the_stay() -> None:
    three_across_wednesday = on(WED, StayRule(min_stay_through=3))
    for check_in in (TUE, WED):
        assert judge(terms(three_across_wednesday), stay(check_in, 2), NOW) == [
            RuleViolation("min_stay_through", WED, 3, 2)
        ]
    for check_in in (MON, TUE, WED):
        assert broken(three_across_wednesday, check_in, 3) == []


def test_min_stay_through_does_not_look_at_the_check_out_date() -> None:
    assert broken(on(WED, StayRule(min_stay_through=3)), MON, 2) == []


def test_min_stay_through_is_told_for_each_night_it_binds_on_with_the_limit_of_that_night() -> None:
    rising = rules(dated={TUE: StayRule(min_stay_through=3), WED: StayRule(min_stay_through=4)})
    assert judge(terms(rising), stay(MON, 3), NOW) == [RuleViolation("min_stay_through", WED, 4, 3)]
    assert judge(terms(rising), stay(TUE, 2), NOW) == [
        RuleViolation("min_stay_through", TUE, 3, 2),
        RuleViolation("min_stay_through", WED, 4, 2),
    ]


def test_max_stay_binds_on_arrival() -> None:
    two_from_wednesday = on(WED, StayRule(max_stay=2))
    assert judge(terms(two_from_wednesday), stay(WED, 3), NOW) == [RuleViolation("max_stay", WED, 2, 3)]
    assert broken(two_from_wednesday, WED, 2) == []
    assert broken(two_from_wednesday, TUE, 5) == []


def test_closed_to_arrival_binds_on_the_check_in_date() -> None:
    no_arrival = on(WED, StayRule(closed_to_arrival=True))
    assert judge(terms(no_arrival), stay(WED, 2), NOW) == [RuleViolation("closed_to_arrival", WED, "open", "closed")]
    assert broken(no_arrival, TUE, 1) == []
    assert broken(no_arrival, TUE, 3) == []


def test_closed_to_departure_binds_on_the_check_out_date() -> None:
    no_departure = on(WED, StayRule(closed_to_departure=True))
    assert judge(terms(no_departure), stay(MON, 2), NOW) == [
        RuleViolation("closed_to_departure", WED, "open", "closed")
    ]
    assert broken(no_departure, WED, 1) == []
    assert broken(no_departure, TUE, 2) == []


def test_stop_sell_binds_on_each_night_and_not_on_the_check_out_date() -> None:
    stopped = rules(dated={WED: StayRule(stop_sell=True), FRI: StayRule(stop_sell=True)})
    assert broken(stopped, TUE, 4) == [("stop_sell", WED), ("stop_sell", FRI)]
    assert broken(stopped, MON, 2) == []
    assert broken(stopped, THU, 1) == []
    assert judge(terms(stopped), stay(WED), NOW) == [RuleViolation("stop_sell", WED, "open", "closed")]


def test_a_night_without_a_rate_is_told_once_the_property_has_any_rate() -> None:
    assert judge(terms(nightly=rates()), stay(MON, 3), NOW) == []
    priced = terms(nightly=rates(dated={TUE: 9000}))
    assert judge(priced, stay(MON, 3), NOW) == [
        RuleViolation("no_rate", MON, "rate", "none"),
        RuleViolation("no_rate", WED, "rate", "none"),
    ]
    # The night after departure is not sold and needs no rate.
    assert judge(priced, stay(TUE), NOW) == []


def test_a_rate_for_other_dates_makes_the_property_priced() -> None:
    assert [one.code for one in judge(terms(nightly=rates(dated={date(2020, 1, 1): 1})), stay(MON), NOW)] == ["no_rate"]
    assert [one.code for one in judge(terms(nightly=rates(weekday={5: 1})), stay(MON), NOW)] == ["no_rate"]


def test_a_rate_of_nothing_is_a_rate() -> None:
    assert judge(terms(nightly=rates(0)), stay(MON), NOW) == []
    assert judge(terms(nightly=rates(weekday={0: 0})), stay(MON), NOW) == []


def test_weekday_zero_is_monday() -> None:
    assert broken(rules(weekday={0: StayRule(stop_sell=True)}), MON, 7) == [("stop_sell", MON)]
    assert broken(rules(weekday={6: StayRule(stop_sell=True)}), MON, 7) == [("stop_sell", SUN)]


def test_a_dated_rule_wins_over_the_weekday_rule_which_wins_over_the_default() -> None:
    default, friday = StayRule(min_stay_arrival=2), {4: StayRule(min_stay_arrival=3)}
    layered = rules(default, friday, {FRI: StayRule(min_stay_arrival=1)})
    assert layered.rule_on(THU).min_stay_arrival == 2
    assert layered.rule_on(FRI).min_stay_arrival == 1
    assert layered.rule_on(FRI + 7 * DAY).min_stay_arrival == 3


def test_an_absent_field_leaves_the_level_below_in_force() -> None:
    layered = rules(
        StayRule(min_stay_arrival=2, max_stay=30, closed_to_departure=True),
        {4: StayRule(min_stay_through=3, max_stay=20)},
        {FRI: StayRule(stop_sell=True)},
    )
    assert layered.rule_on(FRI) == StayRule(2, 3, 20, None, True, True)
    assert layered.rule_on(SAT) == StayRule(2, None, 30, None, True, None)


@pytest.mark.parametrize("name", ["closed_to_arrival", "closed_to_departure", "stop_sell"])
def test_false_opens_what_a_level_below_closed(name: str) -> None:
    closed, opened = StayRule(**{name: True}), StayRule(**{name: False})
    check_in = TUE if name == "closed_to_departure" else WED
    assert broken(rules(closed, dated={WED: opened}), check_in) == []
    assert broken(rules(weekday={2: closed}, dated={WED: opened}), check_in) == []
    assert broken(rules(closed, {2: opened}), check_in) == []
    assert broken(rules(opened, {2: closed}), check_in) == [(name, WED)]


def test_a_dated_rule_holds_from_its_start_and_not_on_its_end() -> None:
    dated = StayRules(dated=(DatedStayRule(TUE, THU, StayRule(stop_sell=True)),))
    assert broken(dated, MON, 7) == [("stop_sell", TUE), ("stop_sell", WED)]


def test_a_refusal_lists_everything_that_is_broken_by_date_and_code() -> None:
    everything = terms(
        rules(
            StayRule(min_stay_arrival=5, min_stay_through=4, stop_sell=True, closed_to_departure=True),
            {0: StayRule(closed_to_arrival=True)},
        ),
        rates(weekday={1: 5000}),
        sold_under=conditions(max_occupancy=1, booking_window_days=10, lead_time_hours=999, active=False),
    )
    found = judge(everything, stay(MON, 2), NOW)
    assert [(one.date, one.code) for one in found] == [
        (MON, "closed_to_arrival"),
        (MON, "inactive"),
        (MON, "lead_time"),
        (MON, "max_occupancy"),
        (MON, "min_stay_arrival"),
        (MON, "min_stay_through"),
        (MON, "no_rate"),
        (MON, "stop_sell"),
        (TUE, "booking_window"),
        (TUE, "min_stay_through"),
        (TUE, "stop_sell"),
        (WED, "closed_to_departure"),
    ]


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Lisbon", date(2026, 3, 29)),
        ("Europe/Lisbon", date(2026, 10, 25)),
        ("Australia/Lord_Howe", date(2026, 10, 4)),
        ("Australia/Lord_Howe", date(2026, 4, 5)),
        ("America/Havana", date(2026, 3, 8)),
        ("Africa/Cairo", date(2026, 10, 29)),
        ("UTC", date(2026, 12, 31)),
        ("Pacific/Kiritimati", date(2026, 6, 10)),
        ("Pacific/Pago_Pago", date(2026, 6, 10)),
    ],
)
def test_nights_are_calendar_dates_whatever_the_clocks_do(zone: str, change: date) -> None:
    before = datetime.combine(change - 30 * DAY, time(12), UTC)
    for check_in in (change - DAY, change):
        for limit, expected in ((2, []), (3, ["min_stay_arrival"])):
            rule = rules(StayRule(min_stay_arrival=limit, max_stay=2))
            found = judge(terms(rule, sold_under=conditions(zone)), stay(check_in, 2), before)
            assert [one.code for one in found] == expected
        assert [one.actual for one in found] == [2]


def test_the_29th_of_february_is_a_night_in_the_years_that_have_one() -> None:
    two = terms(rules(StayRule(min_stay_arrival=2)))
    in_2028 = stay(date(2028, 2, 28), (date(2028, 3, 1) - date(2028, 2, 28)).days)
    assert judge(two, in_2028, NOW) == []
    in_2027 = stay(date(2027, 2, 28), (date(2027, 3, 1) - date(2027, 2, 28)).days)
    found = judge(two, in_2027, datetime(2027, 2, 1, tzinfo=UTC))
    assert found == [RuleViolation("min_stay_arrival", date(2027, 2, 28), 2, 1)]
    assert broken(on(date(2028, 2, 29), StayRule(stop_sell=True)), date(2028, 2, 27), 4) == [
        ("stop_sell", date(2028, 2, 29))
    ]


class Watched(tuple[Any, ...]):
    """A tuple that counts how often an entry of it is looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Any]:
        for entry in super().__iter__():
            self.looks += 1
            yield entry


def test_a_stay_looks_at_few_of_the_many_dated_entries_there_may_be() -> None:
    days = [MON + DAY * offset for offset in range(MAX_DATED)]
    of_rules = Watched(DatedStayRule(day, day + DAY, StayRule(max_stay=7)) for day in days)
    of_rates = Watched(DatedRate(day, day + DAY, number) for number, day in enumerate(days))
    full = terms(StayRules(dated=of_rules), Rates(dated=of_rates), sold_under=conditions(booking_window_days=900))
    wanted = stay(days[MAX_DATED // 2], 3)
    assert judge(full, wanted, NOW) == []
    assert quote(full, wanted) is not None
    # A bisection of 800 takes at most ten looks, and two to read what it found; rules are asked for five dates (the
    # arrival twice), rates for three nights, twice.
    assert 0 < of_rules.looks <= 5 * 12
    assert 0 < of_rates.looks <= 2 * 3 * 12
