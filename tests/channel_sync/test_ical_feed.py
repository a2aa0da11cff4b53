"""Proves what a calendar's state means: modifications, cancellations after a grace, echoes, mistrust of silence."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from channel_sync.adapters.ical import ICal
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.ical_feed import (
    OWN_UID_SUFFIX,
    Changes,
    EventState,
    Feed,
    KnownEvent,
    RefusedEvent,
    SeenEvent,
    changes,
    event_key,
)

ADAPTER = ICal()
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=6)
FIRST, LAST = date(2026, 6, 1), date(2026, 6, 4)
OTHER = SeenEvent("other", date(2026, 8, 1), date(2026, 8, 2))
STAY = SeenEvent("zoe@guest.example", FIRST, LAST)


def feed(*events: SeenEvent) -> Feed:
    return Feed("L", events)


def told(found: Changes) -> list[tuple[str, date | None, date | None]]:
    parsed = [ADAPTER.parse(item.raw) for item in found.items]
    return [(revision.status, revision.check_in, revision.check_out) for revision in parsed]


def known() -> Mapping[str, KnownEvent]:
    return changes({}, feed(STAY, OTHER), NOW, GRACE).known


def test_a_new_event_is_read_back_as_a_new_revision_without_its_uid() -> None:
    found = changes({}, feed(STAY), NOW, GRACE)
    revision = ADAPTER.parse(found.items[0].raw)
    assert told(found) == [("new", FIRST, LAST)]
    assert (revision.ota_listing_id, revision.published_at, revision.kind) == ("L", NOW, "block")
    assert revision.revision_id == found.items[0].revision_id
    assert b"zoe" not in found.items[0].raw
    assert ADAPTER.without_guest(found.items[0].raw) == found.items[0].raw


def test_the_same_state_again_says_nothing() -> None:
    found = changes(known(), feed(STAY, OTHER), NOW, GRACE)
    assert (found.items, found.known, found.is_fresh) == ((), known(), True)


def test_changed_dates_are_a_modification_of_the_same_reservation() -> None:
    moved = SeenEvent(STAY.uid, FIRST, date(2026, 6, 6))
    found = changes(known(), feed(moved, OTHER), NOW, GRACE)
    assert told(found) == [("modified", FIRST, date(2026, 6, 6))]
    first = ADAPTER.parse(changes({}, feed(STAY), NOW, GRACE).items[0].raw)
    assert ADAPTER.parse(found.items[0].raw).ota_reservation_code == first.ota_reservation_code


def test_a_vanished_event_is_cancelled_once_and_after_the_grace() -> None:
    first = changes(known(), feed(OTHER), NOW, GRACE)
    early = changes(first.known, feed(OTHER), NOW + GRACE - timedelta(seconds=1), GRACE)
    late = changes(early.known, feed(OTHER), NOW + GRACE, GRACE)
    assert (first.items, early.items) == ((), ())
    assert told(late) == [("cancelled", FIRST, LAST)]
    assert changes(late.known, feed(OTHER), NOW + 2 * GRACE, GRACE).items == ()


def test_the_grace_ends_also_while_the_calendar_does_not_change() -> None:
    first = changes(known(), feed(OTHER), NOW, GRACE)
    unchanged = Feed("L", is_unchanged=True)
    assert told(changes(first.known, unchanged, NOW + GRACE, GRACE)) == [("cancelled", FIRST, LAST)]
    assert changes(known(), unchanged, NOW + 9 * GRACE, GRACE).items == ()


def test_an_event_that_comes_back_within_the_grace_was_never_gone() -> None:
    first = changes(known(), feed(OTHER), NOW, GRACE)
    back = changes(first.known, feed(STAY, OTHER), NOW + GRACE, GRACE)
    assert back.items == ()
    assert changes(back.known, feed(OTHER), NOW + GRACE, GRACE).items == ()


def test_an_event_that_comes_back_after_its_cancellation_is_another_reservation() -> None:
    gone = changes(known(), feed(OTHER), NOW, timedelta(0))
    back = changes(gone.known, feed(STAY, OTHER), NOW, GRACE)
    codes = {ADAPTER.parse(item.raw).ota_reservation_code for item in (*gone.items, *back.items)}
    assert told(back) == [("new", FIRST, LAST)]
    assert len(codes) == 2


def test_a_calendar_without_events_is_not_believed_while_some_are_known() -> None:
    found = changes(known(), feed(), NOW, timedelta(0))
    assert (found.items, found.known, found.is_fresh) == ((), known(), False)
    assert changes({}, feed(), NOW, GRACE).is_fresh


def test_past_events_are_forgotten_without_a_cancellation() -> None:
    later = datetime(2026, 6, 20, tzinfo=UTC)
    found = changes(known(), feed(OTHER), later, timedelta(0))
    assert found.items == ()
    assert set(found.known) == {event_key("", "other")}
    assert changes({}, feed(STAY, OTHER), later, GRACE).known.keys() == {event_key("", "other")}


def test_a_cancelled_status_needs_no_grace_and_an_older_sequence_changes_nothing() -> None:
    cancelled = SeenEvent(STAY.uid, FIRST, LAST, sequence=2, is_cancelled=True)
    gone = changes(known(), feed(cancelled, OTHER), NOW, GRACE)
    assert told(gone) == [("cancelled", FIRST, LAST)]
    assert changes(gone.known, feed(STAY, OTHER), NOW, GRACE).items == ()


def test_our_own_events_are_ignored() -> None:
    own = SeenEvent(f"a{OWN_UID_SUFFIX}", FIRST, LAST)
    found = changes({}, feed(own), NOW, GRACE)
    assert (found.items, dict(found.known)) == ((), {})


def test_nights_the_channel_was_told_are_an_echo_until_the_dates_change() -> None:
    closed = ((FIRST, date(2026, 6, 2)), (date(2026, 6, 2), LAST))
    echo = changes({}, feed(STAY), NOW, GRACE, closed)
    assert echo.items == ()
    assert echo.known[event_key("", STAY.uid)].state is EventState.ECHO
    assert changes(echo.known, feed(STAY), NOW, GRACE).items == ()
    longer = SeenEvent(STAY.uid, FIRST, date(2026, 6, 5))
    assert told(changes(echo.known, feed(longer), NOW, GRACE, closed)) == [("new", FIRST, date(2026, 6, 5))]


def test_an_event_that_cannot_be_read_any_more_is_kept_and_told_once() -> None:
    refused = RefusedEvent(STAY.uid, "RRULE", "recurring", "is refused")
    found = changes(known(), Feed("L", (OTHER,), (refused,)), NOW, timedelta(0))
    assert found.known == known()
    with pytest.raises(UnparseableRevision) as caught:
        ADAPTER.parse(found.items[0].raw)
    assert (caught.value.field, caught.value.code) == ("RRULE", "recurring")
    again = changes(found.known, Feed("L", (OTHER,), (refused,)), NOW + GRACE, timedelta(0))
    assert again.items[0].revision_id == found.items[0].revision_id


def test_a_poll_repeated_after_a_crash_gives_the_same_revision_ids() -> None:
    first = changes({}, feed(STAY), NOW, GRACE).items[0].revision_id
    assert changes({}, feed(STAY), NOW + GRACE, GRACE).items[0].revision_id == first
    moved = SeenEvent(STAY.uid, FIRST, date(2026, 6, 6))
    assert changes({}, feed(moved), NOW, GRACE).items[0].revision_id != first


def test_an_old_copy_of_the_calendar_moves_nothing_back() -> None:
    moved = SeenEvent(STAY.uid, FIRST, date(2026, 6, 6), sequence=3)
    newer = changes(known(), feed(moved, OTHER), NOW, GRACE)
    old = changes(newer.known, feed(STAY, OTHER), NOW, GRACE)
    assert (old.items, old.known) == ((), newer.known)
