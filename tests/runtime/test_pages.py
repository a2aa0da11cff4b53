"""Proves the cursors of lists: what was encoded comes back, anything else is a 422 and never a 500."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.problems import ProblemCode
from runtime.pages import decode_cursor, encode_cursor
from runtime.problems import ProblemError


@given(at=st.datetimes(timezones=st.just(UTC)), record_id=st.uuids())
def test_a_cursor_comes_back_as_it_was(at: datetime, record_id: UUID) -> None:
    position = decode_cursor(encode_cursor(at, record_id))
    assert position is not None
    assert (position.at, position.id) == (at, record_id)


def test_a_cursor_needs_no_escaping_in_an_address() -> None:
    cursor = encode_cursor(datetime(2027, 5, 1, 12, 30, 0, 123456, tzinfo=UTC), UUID(int=2**128 - 1))
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None) is None


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "a",
        "garbage",
        "%%%",
        "é",
        "\ud800",
        _encoded("{}"),
        _encoded('{"at": "2027-05-01T00:00:00", "id": "00000000-0000-0000-0000-000000000000"}'),
        _encoded('{"at": "2027-05-01T00:00:00Z", "id": "7"}'),
        _encoded("[" * 100),
        base64.urlsafe_b64encode(b"\xff\xfe\x00").decode(),
    ],
)
def test_a_cursor_that_is_not_ours_is_a_validation_error(cursor: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        decode_cursor(cursor)
    assert (refusal.value.status, refusal.value.code) == (422, ProblemCode.VALIDATION_ERROR)


@given(st.text(max_size=60))
def test_no_text_makes_a_cursor_break(cursor: str) -> None:
    with contextlib.suppress(ProblemError):
        decode_cursor(cursor)
