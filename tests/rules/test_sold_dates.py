"""What breaks no condition, told for all stays at once: the same stays in which `violations` finds nothing."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rules.stay_rules import RequestedStay, SellingConditions, TimeZoneUnknown, judge, sold_dates, violations
from tests.rules.selling import DAY, conditions, stay, terms
from tests.rules.test_stay_rules import INSTANTS, ZONES, utc

SOLD_BY = st.builds(
    SellingConditions,
    st.sampled_from(ZONES),
    st.integers(1, 4),
    st.sampled_from([0, 1, 24, 60]),
    st.integers(1, 12),
    st.times(),
    st.sampled_from([True, True, True, False]),
)


def is_within(sold: SellingConditions, wanted: RequestedStay, now: datetime) -> bool:
    found = sold_dates(sold, now)
    is_in_time = found.first_arrival <= wanted.check_in and wanted.check_out - DAY <= found.last_night
    return is_in_time and wanted.persons <= found.most_persons


@settings(max_examples=400, deadline=None)
@given(SOLD_BY, INSTANTS, st.integers(-3, 14), st.integers(1, 4), st.integers(1, 5), st.floats(0, 1, exclude_max=True))
def test_they_are_the_stays_without_a_violation_until_the_instant_they_say(
    sold: SellingConditions, now: datetime, ahead: int, nights: int, persons: int, part: float
) -> None:
    until = sold_dates(sold, now).until
    # A part just below one rounds up to the instant itself, which is no longer promised.
    later = max(now, min(now + (until - now) * part, until - timedelta.resolution))
    wanted = stay(now.date() + DAY * ahead, nights, persons)
    is_sold = violations(sold, wanted, now) == []
    event(f"sold: {is_sold}")
    assert is_within(sold, wanted, now) is is_sold
    assert until >= now
    assert (violations(sold, wanted, later) == []) is is_sold


def test_they_hold_until_the_next_midnight_or_until_the_lead_time_runs_out() -> None:
    now = utc(2026, 6, 10, 12)
    assert sold_dates(conditions(), now).until == utc(2026, 6, 11)
    assert sold_dates(conditions("Asia/Tokyo"), now).until == utc(2026, 6, 10, 15)
    lead = conditions(lead_time_hours=24, check_in_time=time(15))
    assert sold_dates(lead, now).first_arrival == date(2026, 6, 11)
    assert sold_dates(lead, now).until == utc(2026, 6, 10, 15)
    assert sold_dates(lead, utc(2026, 6, 10, 15)).first_arrival == date(2026, 6, 11)
    assert sold_dates(lead, utc(2026, 6, 10, 15) + timedelta(microseconds=1)).first_arrival == date(2026, 6, 12)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/localtime", "a\0b", "é" * 300])
def test_a_time_zone_the_machine_does_not_know_is_told_and_nothing_else(name: str) -> None:
    strange, wanted = conditions(name), stay(date(2026, 6, 20))
    for ask in (lambda: violations(strange, wanted, utc(2026, 6, 10)), lambda: sold_dates(strange, utc(2026, 6, 10))):
        with pytest.raises(TimeZoneUnknown):
            ask()
    with pytest.raises(TimeZoneUnknown):
        judge(terms(sold_under=strange), wanted, utc(2026, 6, 10))
