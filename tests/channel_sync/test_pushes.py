"""Proves what is pushed of a property's state, and when a failed push is tried again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_sync.domain.pushes import Outcome, OutcomeKind, PropertyCalendar, calendar_runs, local_today, pause_s
from rules.calendar import NightRun, StoredRange

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EMPTY = PropertyCalendar(UUID(int=1), UUID(int=2), 3, False, "Europe/Lisbon", 0, (), NOW)


def stay(start: date, end: date, preparation_days: int = 0, expires_at: datetime | None = None) -> StoredRange:
    """An active range of the ledger."""
    occupied_end = end + timedelta(days=preparation_days)
    return StoredRange(uuid4(), "reservation", uuid4(), start, end, start, occupied_end, expires_at)


def closed(runs: tuple[NightRun, ...]) -> set[date]:
    """The nights of closed runs."""
    return {
        run.start + timedelta(days=offset)
        for run in runs
        if not run.is_open
        for offset in range((run.end - run.start).days)
    }


def test_a_free_property_is_open_from_its_local_today_to_the_horizon() -> None:
    today = date(2026, 5, 1)
    assert calendar_runs(EMPTY, 365) == (NightRun(today, today + timedelta(days=365), is_open=True),)


def test_a_stay_is_closed_and_the_day_of_departure_is_open() -> None:
    runs = calendar_runs(replace(EMPTY, ranges=(stay(date(2026, 5, 10), date(2026, 5, 12)),)), 30)
    assert closed(runs) == {date(2026, 5, 10), date(2026, 5, 11)}


def test_a_gap_shorter_than_the_preparation_is_pushed_closed() -> None:
    ranges = (stay(date(2026, 5, 10), date(2026, 5, 12), 2), stay(date(2026, 5, 16), date(2026, 5, 18), 2))
    runs = calendar_runs(replace(EMPTY, ranges=ranges, preparation_days=2), 30)
    assert {date(2026, 5, 14), date(2026, 5, 15)} <= closed(runs)


def test_an_overdue_hold_is_pushed_open_and_a_live_one_closed() -> None:
    nights = (date(2026, 5, 10), date(2026, 5, 11))
    overdue = replace(EMPTY, ranges=(stay(*nights, expires_at=NOW - timedelta(seconds=1)),))
    alive = replace(EMPTY, ranges=(stay(*nights, expires_at=NOW + timedelta(seconds=1)),))
    assert closed(calendar_runs(overdue, 30)) == set()
    assert closed(calendar_runs(alive, 30)) == {nights[0]}


def test_a_property_that_is_gone_is_closed_throughout() -> None:
    runs = calendar_runs(replace(EMPTY, gone=True), 10)
    assert runs == (NightRun(date(2026, 5, 1), date(2026, 5, 11), is_open=False),)


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


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.sampled_from(OutcomeKind))
def test_a_pause_is_never_zero_and_never_longer_than_a_minute(attempts: int, jitter: float, kind: OutcomeKind) -> None:
    pause = pause_s(Outcome(kind), attempts, jitter)
    assert 0.1 <= pause <= (10 if kind is OutcomeKind.NOT_SENT else 60)


def test_pauses_grow_with_the_attempts() -> None:
    pauses = [pause_s(Outcome(OutcomeKind.REFUSED), attempts, 0.5) for attempts in range(1, 9)]
    assert pauses == sorted(set(pauses))


def test_retry_after_is_honoured_up_to_an_hour() -> None:
    assert pause_s(Outcome(OutcomeKind.REFUSED, retry_after_s=30), 1, 0.5) == 30
    assert pause_s(Outcome(OutcomeKind.REFUSED, retry_after_s=10**9), 1, 0.5) == 3600
    assert pause_s(Outcome(OutcomeKind.REFUSED, retry_after_s=0), 1, 0.5) > 0
