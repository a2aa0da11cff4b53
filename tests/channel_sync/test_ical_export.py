"""Proves our calendar for channels: stable bytes, no guest, no echo, tokens nobody guesses."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from channel_sync.adapters.ical import ICal
from channel_sync.adapters.ical_export import ExportedRange, etag_of, export_calendar, export_token
from channel_sync.domain.ical_feed import SeenEvent, changes
from channel_sync.domain.pushes import ChannelAnswer

A, B = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OWN = ExportedRange(UUID(int=7), date(2026, 6, 1), date(2026, 6, 4), NOW)
THEIRS = ExportedRange(UUID(int=8), date(2026, 7, 1), date(2026, 7, 3), NOW, A)
KEY = b"k" * 32


def read(calendar: bytes) -> tuple[SeenEvent, ...]:
    return ICal().read(ChannelAnswer(200, {}, calendar), "L", "Europe/Lisbon").events


def test_a_calendar_shows_all_but_what_came_from_its_reader() -> None:
    spans = [(event.start, event.end) for event in read(export_calendar((THEIRS, OWN), B))]
    assert spans == [(OWN.start, OWN.end), (THEIRS.start, THEIRS.end)]
    assert len(read(export_calendar((THEIRS, OWN), A))) == 1


def test_our_calendar_coming_back_changes_nothing() -> None:
    feed = ICal().read(ChannelAnswer(200, {}, export_calendar((OWN,), None)), "L", "Europe/Lisbon")
    assert changes({}, feed, NOW, NOW - NOW).items == ()


def test_the_same_ranges_give_the_same_bytes_and_uids_outlive_changed_dates() -> None:
    first = export_calendar((OWN, THEIRS), None)
    assert first == export_calendar((THEIRS, OWN), None)
    moved = replace(OWN, end=date(2026, 6, 9))
    assert read(export_calendar((moved,), None))[0].uid == read(export_calendar((OWN,), None))[0].uid
    assert etag_of(first) != etag_of(export_calendar((moved, THEIRS), None))


def test_lines_end_with_crlf_and_are_short() -> None:
    lines = export_calendar((OWN, THEIRS), None).split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert not any(b"\n" in line for line in lines)


def test_a_calendar_names_only_what_it_must() -> None:
    body = export_calendar((OWN,), None).decode().split("BEGIN:VEVENT\r\n")[1].split("END:VEVENT")[0]
    names = {line.partition(":")[0].partition(";")[0] for line in body.strip().split("\r\n")}
    assert names == {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "TRANSP"}


def test_a_token_is_that_of_one_listing_and_generation() -> None:
    tokens = {export_token(KEY, A, B, 1), export_token(KEY, B, A, 1), export_token(KEY, A, B, 2)}
    tokens.add(export_token(b"j" * 32, A, B, 1))
    assert len(tokens) == 4
    assert {len(token) for token in tokens} == {43}
    assert export_token(KEY, A, B, 1) in tokens
    with pytest.raises(ValueError, match="32 bytes"):
        export_token(b"short", A, B, 1)
