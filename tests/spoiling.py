"""Owns requests nobody may accept and what their refusal must look like; for tests of booking and of the gateway."""

from typing import Any

from runtime.http import MAX_BODY_BYTES
from tests.booking.bad_values import NUL, SURROGATE, Spoiled
from tests.booking.served import Answer


def assert_body_refused(answer: Answer, bad: Spoiled, sent: bytes, said: str) -> None:
    """A 422 that names the one thing that is wrong, or a 413 where spoiling it made the body too large."""
    if len(sent) > MAX_BODY_BYTES:
        assert_refused(answer, said, (413,), "payload_too_large")
    else:
        assert_refused(answer, said, (422,), "validation_error")
        # A key that is half a character makes the object around it unreadable.
        assert_names(answer, "body", bad.path[:-1] if bad.path[-1:] == (SURROGATE,) else bad.path, said)


def assert_refused(answer: Answer, said: str, statuses: tuple[int, ...] = (422,), code: str | None = None) -> None:
    """A problem document with a code, and no sign of the input or of a crash."""
    assert answer.status in statuses, f"{said}: {answer.status} {answer.text[:300]}"
    assert answer.media_type == "application/problem+json", said
    assert answer.body["status"] == answer.status, said
    assert answer.body["code"], said
    if code is not None:
        assert answer.body["code"] == code, f"{said}: {answer.text[:300]}"


def assert_names(answer: Answer, place: str, path: tuple[str | int, ...], said: str) -> None:
    """The answer says which field: the whole way to it, or for what belongs together the way to its parent."""
    wanted = [place, *(ascii(str(part))[1:-1] for part in path)]
    named = [ascii(item["field"])[1:-1].split(".") for item in answer.body["errors"]]
    # What tells the forms of a body apart is named in the sentence about the body.
    tells = f"'{wanted[-1]}'" in answer.body["detail"] and _is_within(wanted[:-1], named[0])
    assert tells or any(_is_within(wanted, parts) for parts in named), f"{said}: {answer.text[:300]}"
    assert answer.body["detail"].partition(":")[0].split(".")[0] == place, said


def _is_within(wanted: list[str], parts: list[str]) -> bool:
    # A body of several forms (a login) has its form's name in between.
    rest = iter(parts)
    return all(part in rest for part in wanted)


def deep(opening: str, closing: str, depth: int, inner: str = "1") -> bytes:
    """JSON that many levels deep."""
    return (opening * depth + inner + closing * depth).encode()


# What is no JSON at all, or none that can be read: a body that cannot be parsed is 400, one that can is 422.
UNREADABLE: dict[str, bytes] = {
    "cut off": b'{"name": "Cas',
    "two documents": b"{}{}",
    "no JSON": b"name=Casa",
    "a comment": b"{/* */}",
    "single quotes": b"{'name': 'Casa'}",
    "trailing comma": b'{"name": "Casa",}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "half a character in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "control character": b'{"name": "a\x00b"}',
    "a NUL byte": b"\x00",
    "deep lists": deep("[", "]", 10_000),
    "deep objects": deep('{"a":', "}", 10_000),
    "deep and cut off": b"[" * 60_000,
    "deep below a known field": deep('{"name":', "}", 900),
    "deep below an unknown field": b'{"unexpected":' + deep("[", "]", 10_000) + b"}",
    "as deep as can be read": deep("[", "]", 900),
    "a thousand lists": deep("[", "]", 1_000),
    "a thousand objects": deep('{"a":', "}", 1_000),
    "a number without an end": b"1" * 60_000,
    "a field with a number without an end": b'{"name": ' + b"1" * 60_000 + b"}",
    "a list": b"[]",
    "a text": b'"x"',
    "a number": b"5",
    "NaN": b"NaN",
    "only spaces": b"   ",
}


def wrong_query_values(schema: dict[str, Any]) -> list[str]:
    """What a query parameter of this schema must refuse."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    (option,) = options
    if "$ref" in option or "enum" in option or "pattern" in option:
        return ["", "something else", NUL]
    if option["type"] == "integer":
        return [str(option["minimum"] - 1), str(option["maximum"] + 1), "x", "", "1.5", "NaN", "1e3", str(10**40)]
    if option["type"] == "boolean":
        return ["maybe", "", "2"]
    if option.get("format") == "date":
        return ["soon", "", "2027-02-30", "1801526400", "1999-12-31", "2101-01-01", NUL]
    if option.get("format") == "date-time":
        return ["soon", "", "2027-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", NUL]
    if option.get("format") == "uuid":
        return ["no-uuid", "", NUL]
    return ["x" * (option["maxLength"] + 1), NUL]
