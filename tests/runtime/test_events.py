"""Proves that a record becomes a typed event or poison with a reason, and that the reason tells no content."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values import EventModel
from runtime.events import parse_event
from runtime.kafka import PoisonMessage, Record
from tests.runtime.conftest import topic_named

SECRET = "guest@example.com"


class Moved(EventModel):
    """An event."""

    steps: int


TOPIC = topic_named("tests.v1", events={"Moved": Moved})


def record(value: bytes | None) -> Record:
    return Record("tests.v1", 0, 0, b"key", value, ())


def event(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "type": "Moved",
        "subject": "thing/1",
        "agency_id": str(uuid4()),
        "occurred_at": "2027-05-01T12:00:00Z",
        "producer": "tests",
        "data": {"steps": 3},
        **changes,
    }


def test_a_record_becomes_the_model_the_registry_names() -> None:
    found = parse_event(TOPIC, record(orjson.dumps(event(added_later=1))))
    assert found.data == Moved(steps=3)
    assert found.envelope.type == "Moved"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "a tombstone is not legal"),
        (b"", "invalid Envelope"),
        (b"\xff\xfe" + SECRET.encode(), "invalid Envelope"),
        (b'{"event_id": "' + SECRET.encode(), "invalid Envelope"),
        (b"[]", "invalid Envelope"),
        (orjson.dumps({"type": SECRET}), "invalid Envelope"),
        (orjson.dumps(event(event_id=SECRET)), "event_id"),
        (orjson.dumps(event(type="Flown")), "unknown event type 'Flown'"),
        (orjson.dumps(event(data={"steps": SECRET})), "invalid Moved: steps"),
        (orjson.dumps(event(data={"email": SECRET})), "invalid Moved: steps"),
    ],
)
def test_anything_else_is_poison_that_says_why_without_the_content(value: bytes | None, reason: str) -> None:
    with pytest.raises(PoisonMessage) as poison:
        parse_event(TOPIC, record(value))
    assert reason in str(poison.value)
    assert SECRET not in str(poison.value)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_break(value: bytes) -> None:
    with pytest.raises(PoisonMessage):
        parse_event(TOPIC, record(value))
