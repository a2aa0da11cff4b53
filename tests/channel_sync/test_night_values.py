"""Proves what channels are told of a property's state, night by night, and what a listing's overrides change."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from channel_sync.domain.ari import NightValues, ValueRun
from channel_sync.domain.night_values import (
    ListingOverrides,
    PropertyCalendar,
    listing_runs,
    local_today,
    property_runs,
)
from rules.calendar import StoredRange
from rules.quotes import DatedRate, Rates
from rules.stay_rules import DatedStayRule, StayRule, StayRules

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TODAY = date(2026, 5, 1)
EMPTY = PropertyCalendar(
    property_id=UUID(int=1),
    agency_id=UUID(int=2),
    inventory_version=3,
    gone=False,
    active=True,
    time_zone="Europe/Lisbon",
    currency="EUR",
    preparation_days=0,
    booking_window_days=730,
    rules=StayRules(),
    rates=Rates(),
    ranges=(),
    as_of=NOW,
)


def stay(start: date, end: date, preparation_days: int = 0, expires_at: datetime | None = None) -> StoredRange:
    """An active range of the ledger."""
    occupied_end = end + timedelta(days=preparation_days)
    return StoredRange(uuid4(), "reservation", uuid4(), start, end, start, occupied_end, expires_at)


def nights(runs: tuple[ValueRun, ...]) -> dict[date, NightValues]:
    """Each night's values."""
    return {
        run.start + timedelta(days=offset): run.values for run in runs for offset in range((run.end - run.start).days)
    }


def closed(runs: tuple[ValueRun, ...]) -> set[date]:
    """The nights that are not available."""
    return {night for night, values in nights(runs).items() if not values.available}


def on(month: int, day: int) -> date:
    return date(2026, month, day)


def test_a_free_property_is_open_from_its_local_today_to_the_horizon() -> None:
    assert property_runs(EMPTY, 365) == (ValueRun(TODAY, TODAY + timedelta(days=365), NightValues(1)),)


def test_a_stay_is_closed_and_the_day_of_departure_is_open() -> None:
    runs = property_runs(replace(EMPTY, ranges=(stay(on(5, 10), on(5, 12)),)), 30)
    assert closed(runs) == {on(5, 10), on(5, 11)}


def test_a_gap_shorter_than_the_preparation_is_told_closed() -> None:
    ranges = (stay(on(5, 10), on(5, 12), 2), stay(on(5, 16), on(5, 18), 2))
    runs = property_runs(replace(EMPTY, ranges=ranges, preparation_days=2), 30)
    assert {on(5, 14), on(5, 15)} <= closed(runs)


def test_an_overdue_hold_is_told_open_and_a_live_one_closed() -> None:
    overdue = replace(EMPTY, ranges=(stay(on(5, 10), on(5, 11), expires_at=NOW - timedelta(seconds=1)),))
    alive = replace(EMPTY, ranges=(stay(on(5, 10), on(5, 11), expires_at=NOW + timedelta(seconds=1)),))
    assert closed(property_runs(overdue, 30)) == set()
    assert closed(property_runs(alive, 30)) == {on(5, 10)}


def test_a_property_that_is_gone_is_closed_throughout() -> None:
    assert property_runs(replace(EMPTY, gone=True), 10) == (ValueRun(TODAY, on(5, 11), NightValues(0)),)


@pytest.mark.parametrize(
    ("time_zone", "expected"),
    [
        ("Pacific/Kiritimati", date(2026, 5, 2)),
        ("UTC", date(2026, 5, 1)),
        ("Pacific/Pago_Pago", date(2026, 4, 30)),
    ],
)
def test_today_is_the_propertys(time_zone: str, expected: date) -> None:
    as_of = NOW.replace(hour=10, minute=30)
    assert local_today(replace(EMPTY, time_zone=time_zone, as_of=as_of)) == expected


def test_rules_and_rates_of_every_level_are_told() -> None:
    dated = StayRule(min_stay_arrival=3, min_stay_through=2, max_stay=9, closed_to_arrival=True, stop_sell=True)
    priced = replace(
        EMPTY,
        rules=StayRules(
            StayRule(closed_to_departure=True), {4: StayRule(max_stay=5)}, (DatedStayRule(on(5, 3), on(5, 4), dated),)
        ),
        rates=Rates(8000, {4: 9500}, (DatedRate(on(5, 2), on(5, 3), 12_000),)),
    )
    told = nights(property_runs(priced, 3))
    assert told[on(5, 1)] == NightValues(1, 9500, max_stay=5, closed_to_departure=True), "a Friday"
    assert told[on(5, 2)] == NightValues(1, 12_000, closed_to_departure=True)
    assert told[on(5, 3)] == NightValues(
        1, 8000, 3, 2, 9, closed_to_arrival=True, closed_to_departure=True, stop_sell=True
    )


def test_what_is_open_and_must_not_be_sold_is_stop_sell() -> None:
    unpriced = replace(EMPTY, rates=Rates(None, {}, (DatedRate(on(5, 1), on(5, 2), 9000),)))
    assert [values.stop_sell for values in nights(property_runs(unpriced, 2)).values()] == [False, True]
    windowed = replace(EMPTY, booking_window_days=2)
    assert [values.stop_sell for values in nights(property_runs(windowed, 4)).values()] == [False, False, True, True]
    asleep = replace(EMPTY, active=False)
    assert {values.stop_sell for values in nights(property_runs(asleep, 4)).values()} == {True}
    assert closed(property_runs(asleep, 4)) == set()


RUNS = (
    ValueRun(on(12, 30), date(2027, 1, 2), NightValues(1, 9050, min_stay_arrival=2)),
    ValueRun(date(2027, 1, 2), date(2027, 1, 3), NightValues(0, 9050, min_stay_arrival=4)),
)


@pytest.mark.parametrize(
    ("percent", "expected"), [("10", 9955), ("-50", 4525), ("0.5", 9095), ("0.01", 9051), ("-99.99", 1)]
)
def test_a_markup_is_in_percent_and_rounds_halves_up(percent: str, expected: int) -> None:
    told = listing_runs(RUNS, ListingOverrides(markup_percent=Decimal(percent)))
    assert {run.values.rate_minor for run in told} == {expected}


def test_a_markup_gives_no_price_to_what_has_none() -> None:
    runs = (ValueRun(on(5, 1), on(5, 2), NightValues(1)),)
    assert listing_runs(runs, ListingOverrides(markup_percent=Decimal(10))) == runs


def test_a_listing_that_is_closed_out_has_no_open_night() -> None:
    told = listing_runs(RUNS, ListingOverrides(close_out=True))
    assert {run.values.available for run in told} == {0}


def test_the_longer_of_two_minimum_stays_holds() -> None:
    told = listing_runs(RUNS, ListingOverrides(min_stay=3))
    assert [run.values.min_stay_arrival for run in told] == [3, 4]


def test_a_year_in_which_a_listing_sold_enough_is_closed_and_the_next_is_not() -> None:
    told = nights(listing_runs(RUNS, ListingOverrides(max_nights_sold=90), {2026}))
    assert [told[night].available for night in sorted(told)] == [0, 0, 1, 0]


def test_no_override_changes_nothing() -> None:
    assert listing_runs(RUNS, ListingOverrides()) == RUNS
