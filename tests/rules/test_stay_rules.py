"""Selling conditions at the booking instant in the property's time zone: examples, and a model by the wall clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.stay_rules import RequestedStay, RuleViolation, SellingConditions, violations
from tests.rules.selling import DAY, conditions, stay


def codes(conditions_: SellingConditions, stay_: RequestedStay, now: datetime) -> list[str]:
    return [one.code for one in violations(conditions_, stay_, now)]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


NOW = utc(2026, 6, 10, 12)


def test_a_stay_within_all_conditions_breaks_none() -> None:
    assert violations(conditions(lead_time_hours=24), stay(date(2026, 6, 20), 5), NOW) == []


def test_all_broken_rules_are_told_at_once() -> None:
    strict = conditions(max_occupancy=2, booking_window_days=5, active=False)
    found = violations(strict, RequestedStay(date(2026, 6, 1), date(2026, 7, 1), 3), NOW)
    assert found == [
        RuleViolation("inactive", date(2026, 6, 1), "active", "inactive"),
        RuleViolation("max_occupancy", date(2026, 6, 1), 2, 3),
        RuleViolation("past", date(2026, 6, 1), "2026-06-10", "2026-06-01"),
        RuleViolation("booking_window", date(2026, 6, 30), 5, 20),
    ]


def test_as_many_persons_as_the_property_takes_are_allowed() -> None:
    assert codes(conditions(max_occupancy=3), stay(date(2026, 6, 20), persons=3), NOW) == []
    assert codes(conditions(max_occupancy=3), stay(date(2026, 6, 20), persons=4), NOW) == ["max_occupancy"]


def test_today_may_still_be_booked_and_yesterday_may_not() -> None:
    assert codes(conditions(), stay(date(2026, 6, 10)), utc(2026, 6, 10, 23, 59)) == []
    assert codes(conditions(), stay(date(2026, 6, 9)), utc(2026, 6, 10, 0, 0)) == ["past"]


def test_the_last_night_lies_before_today_plus_the_window() -> None:
    window = conditions(booking_window_days=30)
    assert codes(window, stay(date(2026, 7, 9)), NOW) == []
    assert codes(window, stay(date(2026, 7, 10)), NOW) == ["booking_window"]
    # The departure may lie beyond the window: only nights are sold.
    assert codes(window, stay(date(2026, 7, 7), 3), NOW) == []
    assert violations(window, stay(date(2026, 7, 7), 4), NOW) == [
        RuleViolation("booking_window", date(2026, 7, 10), 30, 30)
    ]


def test_lead_time_runs_to_check_in_at_the_local_time_to_the_second() -> None:
    lead = conditions(lead_time_hours=24, check_in_time=time(15))
    assert codes(lead, stay(date(2026, 6, 11)), utc(2026, 6, 10, 15)) == []
    assert violations(lead, stay(date(2026, 6, 11)), utc(2026, 6, 10, 15, 0, 1)) == [
        RuleViolation("lead_time", date(2026, 6, 11), 24, 23)
    ]


@pytest.mark.parametrize(
    ("zone", "check_in", "exactly", "why"),
    [
        # 2026-03-29: Lisbon's clocks go from 01:00 to 02:00, so the day before arrival has 23 hours.
        ("Europe/Lisbon", date(2026, 3, 29), utc(2026, 3, 28, 14), "spring forward"),
        # 2026-10-25: from 02:00 back to 01:00, 25 hours.
        ("Europe/Lisbon", date(2026, 10, 25), utc(2026, 10, 24, 15), "fall back"),
        # Lord Howe moves by half an hour: on 2026-10-04 from UTC+10:30 to +11.
        ("Australia/Lord_Howe", date(2026, 10, 4), utc(2026, 10, 3, 4), "half an hour"),
        ("Asia/Kathmandu", date(2026, 6, 11), utc(2026, 6, 10, 9, 15), "an offset of 5:45"),
    ],
)
def test_lead_time_counts_elapsed_hours_across_a_clock_change(
    zone: str, check_in: date, exactly: datetime, why: str
) -> None:
    lead = conditions(zone, lead_time_hours=24)
    assert codes(lead, stay(check_in), exactly) == [], why
    assert codes(lead, stay(check_in), exactly + timedelta(seconds=1)) == ["lead_time"], why


@pytest.mark.parametrize(
    ("zone", "new_day", "today", "why"),
    [
        ("America/Havana", utc(2026, 3, 8, 5), date(2026, 3, 8), "00:00 is skipped, the day begins at 01:00"),
        ("Africa/Cairo", utc(2026, 4, 23, 22), date(2026, 4, 24), "00:00 is skipped, the day begins at 01:00"),
        ("America/Havana", utc(2026, 11, 1, 4), date(2026, 11, 1), "01:00 becomes 00:00 again, on the same day"),
        ("Africa/Cairo", utc(2026, 10, 29, 22), date(2026, 10, 30), "24:00 becomes 23:00, so the 29th has 25 hours"),
    ],
)
def test_today_begins_when_it_does_even_where_clocks_change_at_midnight(
    zone: str, new_day: datetime, today: date, why: str
) -> None:
    moment = timedelta(microseconds=1)
    assert codes(conditions(zone), stay(today - DAY), new_day - moment) == [], why
    assert codes(conditions(zone), stay(today - DAY), new_day) == ["past"], why
    # Nothing goes back: an hour later it is still that day.
    assert codes(conditions(zone), stay(today - DAY), new_day + timedelta(hours=1)) == ["past"], why
    window = conditions(zone, booking_window_days=1)
    assert codes(window, stay(today), new_day - moment) == ["booking_window"], why
    assert codes(window, stay(today), new_day) == [], why


@pytest.mark.parametrize(
    ("zone", "check_in", "check_in_time", "arrival", "why"),
    [
        ("America/Havana", date(2026, 3, 8), time(0, 30), utc(2026, 3, 8, 5, 30), "skipped: half an hour into the day"),
        ("America/Havana", date(2026, 11, 1), time(0, 30), utc(2026, 11, 1, 4, 30), "shown twice: the first counts"),
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), utc(2026, 10, 3, 15, 45), "skipped by half an hour"),
        ("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45), utc(2026, 4, 4, 14, 45), "half an hour shown twice"),
    ],
)
def test_a_check_in_time_that_clocks_skip_or_repeat_is_one_instant(
    zone: str, check_in: date, check_in_time: time, arrival: datetime, why: str
) -> None:
    lead = conditions(zone, lead_time_hours=48, check_in_time=check_in_time)
    exactly = arrival - timedelta(hours=48)
    assert codes(lead, stay(check_in), exactly) == [], why
    assert codes(lead, stay(check_in), exactly + timedelta(microseconds=1)) == ["lead_time"], why


def test_a_check_in_time_that_has_passed_is_told_in_hours_below_zero() -> None:
    lead = conditions(lead_time_hours=1, check_in_time=time(15))
    assert violations(lead, stay(date(2026, 6, 10)), utc(2026, 6, 10, 15, 0, 1)) == [
        RuleViolation("lead_time", date(2026, 6, 10), 1, -1)
    ]


@pytest.mark.parametrize(
    ("zone", "now", "today"),
    [
        ("UTC", utc(2026, 6, 10, 23, 59, 59), date(2026, 6, 10)),
        ("UTC", utc(2026, 6, 11), date(2026, 6, 11)),
        # The date line: at one instant the world has three dates.
        ("Pacific/Kiritimati", utc(2026, 6, 10, 10, 30), date(2026, 6, 11)),
        ("Pacific/Pago_Pago", utc(2026, 6, 10, 10, 30), date(2026, 6, 9)),
        ("Europe/Lisbon", utc(2026, 6, 10, 10, 30), date(2026, 6, 10)),
        # Either side of local midnight, on either side of UTC's.
        ("America/New_York", utc(2026, 6, 11, 3, 59, 59), date(2026, 6, 10)),
        ("America/New_York", utc(2026, 6, 11, 4), date(2026, 6, 11)),
        ("Asia/Tokyo", utc(2026, 6, 10, 14, 59, 59), date(2026, 6, 10)),
        ("Asia/Tokyo", utc(2026, 6, 10, 15), date(2026, 6, 11)),
        # 29 February, and the day after it in a year without one.
        ("UTC", utc(2028, 2, 29, 12), date(2028, 2, 29)),
        ("Asia/Tokyo", utc(2027, 2, 28, 15), date(2027, 3, 1)),
    ],
)
def test_today_is_the_date_at_the_property(zone: str, now: datetime, today: date) -> None:
    assert codes(conditions(zone), stay(today), now) == []
    assert codes(conditions(zone), stay(today - DAY), now) == ["past"]
    window = conditions(zone, booking_window_days=1)
    assert codes(window, stay(today), now) == []
    assert codes(window, stay(today + DAY), now) == ["booking_window"]


def test_a_window_of_a_year_counts_the_leap_day() -> None:
    year = conditions(booking_window_days=366)
    assert codes(year, stay(date(2028, 2, 29)), utc(2027, 2, 28, 12)) == ["booking_window"]
    assert codes(year, stay(date(2028, 2, 28)), utc(2027, 2, 28, 12)) == []


ZONES = [
    "UTC",
    "Europe/Lisbon",
    "America/New_York",
    "America/Havana",  # clocks change at midnight
    "Africa/Cairo",  # and here
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Pacific/Chatham",
]
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))


def date_at(zone: str, now: datetime) -> date:
    """The slow way to a date: find the local midnights around the instant and see between which two it lies."""

    def midnight(of: date) -> datetime:
        return datetime.combine(of, time(0), ZoneInfo(zone)).astimezone(UTC)

    candidates = [now.date() + DAY * offset for offset in (-1, 0, 1)]
    (found,) = [candidate for candidate in candidates if midnight(candidate) <= now < midnight(candidate + DAY)]
    return found


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(ZONES),
    INSTANTS,
    st.integers(-2, 40),
    st.integers(1, 30),
    st.integers(0, 72),
    st.integers(1, 60),
    st.times(time(6), time(23)),
)
def test_dates_and_hours_agree_with_calendar_and_wall_clock_at_the_property(
    zone: str, now: datetime, ahead: int, nights: int, lead: int, window: int, check_in_time: time
) -> None:
    today = date_at(zone, now)
    wanted = stay(today + DAY * ahead, nights)
    expected = set()
    if ahead < 0:
        expected.add("past")
    else:
        # Clocks change before six in the morning, so after it a wall-clock time names one instant.
        wall_clock = (now + timedelta(hours=lead)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if lead and wall_clock > datetime.combine(wanted.check_in, check_in_time):
            expected.add("lead_time")
    if ahead + nights - 1 >= window:
        expected.add("booking_window")
    found = codes(
        conditions(zone, lead_time_hours=lead, booking_window_days=window, check_in_time=check_in_time), wanted, now
    )
    assert sorted(found) == sorted(expected)
