"""Proves how the age of an answer is judged: by watermarks and a monotonic clock, never by a wall clock of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from availability.domain.watermarks import BUCKET_S, BUCKETS, Watermarks

NOON = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_nothing_is_known_before_the_first_watermark() -> None:
    assert Watermarks().database_now(5.0) is None
    assert Watermarks().lag_ms(0, 5.0) is None
    assert Watermarks().seen(1, NOON, 5.0).lag_ms(0, 5.0) is None


def test_the_lag_grows_with_the_monotonic_clock_while_no_watermark_arrives() -> None:
    seen = Watermarks().seen(0, NOON, 1000.0)
    assert seen.lag_ms(0, 1000.0) == 0
    assert seen.lag_ms(0, 1004.5) == 4500
    assert seen.as_of[0] == NOON


def test_a_replica_whose_wall_clock_is_off_by_years_sees_the_same_lag() -> None:
    for its_boot in (3.0, 10**9):
        seen = Watermarks().seen(0, NOON, its_boot)
        assert seen.lag_ms(0, its_boot + 2) == 2000


def test_a_replica_that_catches_up_does_not_look_fresh() -> None:
    """After ten minutes without Kafka the first old watermarks are ten minutes old, and the lag says so."""
    seen = Watermarks().seen(0, NOON, 0.0)
    seen = seen.seen(0, at(1), 600.0)
    assert seen.lag_ms(0, 600.0) == 599_000
    assert seen.seen(0, at(600), 600.0).lag_ms(0, 600.0) == 0


def test_hours_of_silence_do_not_make_old_watermarks_look_fresh() -> None:
    seen = Watermarks().seen(0, NOON, 0.0)
    assert seen.seen(0, at(1), 3 * 3600.0).lag_ms(0, 3 * 3600.0) == 3 * 3_600_000 - 1000


def test_a_replica_with_old_watermarks_only_learns_its_age_from_an_answer_of_booking() -> None:
    """It started while no relay runs: two hours ago the last watermark was written."""
    seen = Watermarks().seen(0, NOON, 50.0)
    assert seen.lag_ms(0, 50.0) == 0
    told = seen.told(at(7200), 51.0)
    assert told.lag_ms(0, 51.0) == 7_200_000
    assert told.as_of == seen.as_of


def test_the_fastest_delivery_of_the_last_hour_is_the_measure() -> None:
    seen = Watermarks().seen(0, at(-0.5), 0.0).seen(0, at(0.99), 1.0).seen(0, at(1.2), 2.0)
    assert seen.database_now(2.0) == at(1.99)
    assert seen.lag_ms(0, 2.0) == 790


def test_a_database_clock_that_was_ahead_is_forgotten_after_an_hour_of_watermarks() -> None:
    seen = Watermarks().seen(0, at(30), 0.0)
    for minute in range(1, BUCKETS + 1):
        assert seen.database_now(minute * BUCKET_S) == at(minute * BUCKET_S + 30)
        seen = seen.seen(0, at(minute * BUCKET_S), minute * BUCKET_S)
    assert seen.database_now(BUCKETS * BUCKET_S) == at(BUCKETS * BUCKET_S)
    assert len(seen.ahead_s) == BUCKETS


def test_a_watermark_that_comes_again_does_not_turn_as_of_back() -> None:
    seen = Watermarks().seen(0, at(5), 5.0).seen(0, NOON, 6.0)
    assert seen.as_of[0] == at(5)


def test_a_property_is_held_back_until_a_later_watermark_of_its_partition_does_not_say_so() -> None:
    held, other = UUID(int=1), UUID(int=2)
    seen = Watermarks().seen(0, NOON, 0.0, [held])
    assert seen.holds_back(0, held)
    assert not seen.holds_back(0, other)
    assert not seen.holds_back(1, held)
    assert seen.told(at(1), 1.0).holds_back(0, held)
    assert seen.seen(1, at(1), 1.0).holds_back(0, held)
    # One that comes late, of a relay that slept, says nothing about later changes.
    assert seen.seen(0, at(-1), 1.0).holds_back(0, held)
    assert not seen.seen(0, at(1), 1.0).holds_back(0, held)


def test_each_partition_has_its_own_age() -> None:
    seen = Watermarks().seen(0, NOON, 0.0).seen(1, at(10), 10.0)
    assert seen.lag_ms(0, 10.0) == 10_000
    assert seen.lag_ms(1, 10.0) == 0
