"""Proves the order of a reservation's revisions."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from channel_sync.domain.revisions import EPOCH, microseconds, next_revision_no

AT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_the_number_is_the_microsecond_of_publication_exactly() -> None:
    assert next_revision_no(AT, AT + timedelta(days=1), []) == 1_777_636_800_123_456


def test_the_time_zone_of_publication_does_not_matter() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7)))
    assert next_revision_no(elsewhere, AT, []) == next_revision_no(AT, AT, [])


def test_of_two_revisions_of_one_instant_the_later_arrival_is_newer() -> None:
    first = next_revision_no(AT, AT, [])
    second = next_revision_no(AT, AT, [first])
    third = next_revision_no(AT, AT, [first, second])
    assert first < second < third


def test_a_revision_published_earlier_stays_older_although_it_arrives_later() -> None:
    newer = next_revision_no(AT, AT, [])
    assert next_revision_no(AT - timedelta(microseconds=1), AT + timedelta(hours=1), [newer]) == newer - 1


def test_without_an_instant_the_arrival_decides() -> None:
    assert next_revision_no(None, AT, []) == microseconds(AT)
    taken = [microseconds(AT + timedelta(hours=2))]
    assert next_revision_no(None, AT, taken) == taken[0] + 1


@given(st.lists(st.tuples(st.none() | instants, instants), max_size=30))
def test_numbers_are_never_given_twice(arrivals: list[tuple[datetime | None, datetime]]) -> None:
    taken: list[int] = []
    for published_at, received_at in arrivals:
        taken.append(next_revision_no(published_at, received_at, taken))
    assert len(set(taken)) == len(taken)


@given(instants, instants)
def test_numbers_follow_publication(one: datetime, other: datetime) -> None:
    numbers = next_revision_no(one, EPOCH, []), next_revision_no(other, EPOCH, [])
    assert (numbers[0] < numbers[1]) == (one < other)
