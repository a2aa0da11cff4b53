"""Proves our calendar for channels: stable bytes, no guest, no echo."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from channel_sync.adapters.ical import ICal
from channel_sync.adapters.ical_export import ShownNights, etag_of, export_calendar
from channel_sync.domain.ical_feed import SeenEvent, changes
from channel_sync.domain.pushes import ChannelAnswer

LISTING = UUID(int=1)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST = ShownNights(date(2026, 6, 1), date(2026, 6, 4), NOW)
SECOND = ShownNights(date(2026, 7, 1), date(2026, 7, 3), NOW)


def read(calendar: bytes) -> tuple[SeenEvent, ...]:
    return ICal().read(ChannelAnswer(200, {}, calendar), "L", "Europe/Lisbon").events


def test_a_calendar_shows_each_closed_night() -> None:
    spans = [(event.start, event.end) for event in read(export_calendar(LISTING, (SECOND, FIRST)))]
    assert spans == [(FIRST.start, FIRST.end), (SECOND.start, SECOND.end)]


def test_our_calendar_coming_back_changes_nothing() -> None:
    feed = ICal().read(ChannelAnswer(200, {}, export_calendar(LISTING, (FIRST,))), "L", "Europe/Lisbon")
    assert changes({}, feed, NOW, timedelta(0)).items == ()


def test_the_same_nights_give_the_same_bytes_and_other_nights_other_uids() -> None:
    first = export_calendar(LISTING, (FIRST, SECOND))
    assert first == export_calendar(LISTING, (SECOND, FIRST))
    longer = export_calendar(LISTING, (replace(FIRST, end=date(2026, 6, 9)), SECOND))
    assert etag_of(first) != etag_of(longer)
    uids = [
        {event.uid for event in read(calendar)} for calendar in (first, longer, export_calendar(UUID(int=2), (FIRST,)))
    ]
    assert [len(uids[0] & other) for other in uids[1:]] == [1, 0]


def test_lines_end_with_crlf_and_are_short() -> None:
    lines = export_calendar(LISTING, (FIRST, SECOND)).split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert not any(b"\n" in line for line in lines)


def test_a_calendar_names_only_what_it_must() -> None:
    body = export_calendar(LISTING, (FIRST,)).decode().split("BEGIN:VEVENT\r\n")[1].split("END:VEVENT")[0]
    names = {line.partition(":")[0].partition(";")[0] for line in body.strip().split("\r\n")}
    assert names == {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "TRANSP"}
