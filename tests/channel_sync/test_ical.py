"""Proves the iCal adapter: whole calendars, conditional requests, nights in the property's zone, clear refusals."""

import json
from datetime import UTC, date, datetime

import pytest

from channel_sync.adapters.ical import ICal
from channel_sync.domain.ari import ChannelTarget
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.ical_feed import SeenEvent
from channel_sync.domain.pushes import ChannelAnswer
from tests.channel_sync.channels.ical import CALENDAR_TYPE, CalendarChannel

ADAPTER = ICal()
TARGET = ChannelTarget("https://channel.example/calendar.ics", "", {})
LISBON, AUCKLAND = "Europe/Lisbon", "Pacific/Auckland"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def one(start: str, end: str | None, *lines: str, zone: str = LISBON) -> SeenEvent:
    channel = CalendarChannel()
    channel.show("u", start, end, *lines)
    feed = ADAPTER.read(channel.answer(ADAPTER.feed_request(TARGET, None)), "L", zone)
    assert not feed.refused
    return feed.events[0]


@pytest.mark.parametrize(
    ("start", "end", "zone", "nights"),
    [
        ("20260601", "20260604", LISBON, (date(2026, 6, 1), date(2026, 6, 4))),
        ("20260601", None, LISBON, (date(2026, 6, 1), date(2026, 6, 2))),
        ("20260601", "20260601", LISBON, (date(2026, 6, 1), date(2026, 6, 2))),
        ("20260601T150000", "20260604T110000", AUCKLAND, (date(2026, 6, 1), date(2026, 6, 4))),
        ("20260601T150000Z", "20260604T110000Z", AUCKLAND, (date(2026, 6, 2), date(2026, 6, 4))),
        (
            ";TZID=America/New_York:20260601T220000",
            ";TZID=America/New_York:20260604T100000",
            LISBON,
            (date(2026, 6, 2), date(2026, 6, 4)),
        ),
    ],
)
def test_an_event_covers_the_nights_between_its_dates_at_the_property(
    start: str, end: str | None, zone: str, nights: tuple[date, date]
) -> None:
    found = one(start, end, zone=zone)
    assert (found.start, found.end) == nights


def test_a_duration_stands_for_an_end() -> None:
    assert one("20260601", None, "DURATION:P3D").end == date(2026, 6, 4)


@pytest.mark.parametrize(
    ("start", "end", "lines", "field", "code"),
    [
        ("20260601", "20260602", ("RRULE:FREQ=WEEKLY",), "RRULE", "recurring"),
        ("20260601", "20260602", ("RECURRENCE-ID:20260601",), "RECURRENCE-ID", "recurring"),
        ("20260604", "20260601", (), "DTEND", "no_night"),
        ("20260601T100000", "20260601T120000", (), "DTEND", "no_night"),
        ("20260601T100000", None, (), "DTEND", "missing"),
        ("20260601", "20260603T100000", (), "DTEND", "other_type"),
        (";TZID=Nowhere/Land:20260601T150000", "20260604T110000", (), "DTSTART", "unknown_time_zone"),
        ("Zoe", "20260604", (), "DTSTART", "invalid"),
    ],
)
def test_what_cannot_be_nights_is_refused_alone(
    start: str, end: str | None, lines: tuple[str, ...], field: str, code: str
) -> None:
    channel = CalendarChannel()
    channel.show("bad", start, end, *lines)
    channel.show("good", "20260701", "20260703")
    feed = ADAPTER.read(channel.answer(ADAPTER.feed_request(TARGET, None)), "L", LISBON)
    assert [event.uid for event in feed.events] == ["good"]
    assert [(event.uid, event.field, event.code) for event in feed.refused] == [("bad", field, code)]


@pytest.mark.parametrize(
    "answer",
    [
        ChannelAnswer(500, CALENDAR_TYPE, CalendarChannel().body()),
        ChannelAnswer(404, {}, b""),
        ChannelAnswer(200, CALENDAR_TYPE, b" \r\n"),
        ChannelAnswer(200, CALENDAR_TYPE, b"<!doctype html><p>Zoe"),
        ChannelAnswer(200, CALENDAR_TYPE, CalendarChannel().body()[:-20]),
        ChannelAnswer(200, CALENDAR_TYPE, b"BEGIN:VCALENDAR\r\nEND:VEVENT\r\nEND:VCALENDAR"),
        ChannelAnswer(200, CALENDAR_TYPE, CalendarChannel().body() + b" " * 2**21),
    ],
)
def test_what_is_no_whole_calendar_is_never_read_as_an_empty_one(answer: ChannelAnswer) -> None:
    with pytest.raises(FeedUnreadable) as caught:
        ADAPTER.read(answer, "L", LISBON)
    assert "Zoe" not in str(caught.value)
    assert ADAPTER.test_error(answer) is not None


def test_an_unchanged_calendar_is_not_sent_again() -> None:
    channel = CalendarChannel()
    channel.show("u", "20260601", "20260604")
    first = channel.answer(ADAPTER.feed_request(TARGET, None))
    cursor = ADAPTER.cursor_after(first, None)
    second = channel.answer(ADAPTER.feed_request(TARGET, cursor))
    assert second.status == 304
    assert ADAPTER.read(second, "L", LISBON).is_unchanged
    assert ADAPTER.cursor_after(second, cursor) == cursor
    channel.show("u", "20260601", "20260605")
    assert channel.answer(ADAPTER.feed_request(TARGET, cursor)).status == 200


def test_last_modified_is_sent_back_as_it_came() -> None:
    answer = ChannelAnswer(200, {"last-modified": "Fri, 01 May 2026 12:00:00 GMT"}, b"")
    request = ADAPTER.feed_request(TARGET, ADAPTER.cursor_after(answer, None))
    assert request.headers["If-Modified-Since"] == "Fri, 01 May 2026 12:00:00 GMT"


def test_two_events_of_one_uid_are_settled_by_sequence_or_refused() -> None:
    channel = CalendarChannel()
    channel.show("u", "20260601", "20260604")
    channel.events["again"] = channel.events["u"].replace("20260604", "20260605")
    request = ADAPTER.feed_request(TARGET, None)
    assert ADAPTER.read(channel.answer(request), "L", LISBON).refused[0].code == "duplicate"
    channel.events["again"] = channel.events["again"].replace("END:VEVENT", "SEQUENCE:1\r\nEND:VEVENT")
    assert ADAPTER.read(channel.answer(request), "L", LISBON).events[0].end == date(2026, 6, 5)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", json.dumps({"revision_id": 1}).encode()])
def test_bytes_that_are_no_revision_are_refused(raw: bytes) -> None:
    with pytest.raises(UnparseableRevision):
        ADAPTER.parse(raw)


def test_nothing_is_pushed() -> None:
    assert ADAPTER.push_requests(TARGET, (), NOW) == ()


def test_a_calendar_cut_off_between_two_events_is_not_whole() -> None:
    channel = CalendarChannel()
    channel.show("u", "20260601", "20260604")
    channel.show("v", "20260701", "20260704")
    body = channel.body()
    cut = body[: body.index(b"END:VEVENT") + len(b"END:VEVENT\r\n")]
    with pytest.raises(FeedUnreadable, match="no whole calendar"):
        ADAPTER.read(ChannelAnswer(200, CALENDAR_TYPE, cut), "L", LISBON)
