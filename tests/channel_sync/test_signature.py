"""Proves the signature of the generic JSON protocol and its replay window."""

from datetime import UTC, datetime, timedelta

import pytest

from channel_sync.domain.signature import is_genuine, signature_of

SECRET = "a secret of sixteen characters"
BODY = b'{"revision_id": "r1"}'
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))


def test_the_signature_is_hmac_sha256_over_timestamp_dot_body() -> None:
    """The expected value was computed with `openssl dgst -sha256 -hmac`."""
    signature = signature_of("0123456789abcdef", "1767225600", b'{"a":1}')
    assert signature == "539b0e21b535c5201ef7d1453c0a0de4ad132293226de9018be0cfbf0092faa6"


def test_a_body_signed_now_is_genuine() -> None:
    assert is_genuine(SECRET, STAMP, signature_of(SECRET, STAMP, BODY), BODY, NOW)


def test_the_signature_may_be_in_capital_letters() -> None:
    assert is_genuine(SECRET, STAMP, signature_of(SECRET, STAMP, BODY).upper(), BODY, NOW)


@pytest.mark.parametrize(("offset_s", "expected"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_window_is_five_minutes_either_way(offset_s: int, expected: bool) -> None:
    signature = signature_of(SECRET, STAMP, BODY)
    assert is_genuine(SECRET, STAMP, signature, BODY, NOW + timedelta(seconds=offset_s)) is expected


def test_another_body_timestamp_or_secret_is_not_genuine() -> None:
    signature = signature_of(SECRET, STAMP, BODY)
    later = str(int(STAMP) + 1)
    assert not is_genuine(SECRET, STAMP, signature, BODY + b" ", NOW)
    assert not is_genuine(SECRET, later, signature, BODY, NOW)
    assert not is_genuine("another secret of 16", STAMP, signature, BODY, NOW)


@pytest.mark.parametrize("signature", ["", "00", "ü" * 64, "\x00", signature_of(SECRET, STAMP, BODY)[:-1]])
def test_any_text_may_come_as_a_signature(signature: str) -> None:
    assert not is_genuine(SECRET, STAMP, signature, BODY, NOW)


@pytest.mark.parametrize("stamp", ["", "now", "-5", "1e9", "٣٤٥", "9" * 400, "12.5", " 12"])
def test_a_timestamp_that_is_no_number_is_refused_even_when_signed(stamp: str) -> None:
    assert not is_genuine(SECRET, stamp, signature_of(SECRET, stamp, BODY), BODY, NOW)
