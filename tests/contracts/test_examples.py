"""Every event type has an example, and every example is true to its model and to its published schema."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts.channel_sync_http_v1 import GenericJsonRevision
from contracts.envelope import Envelope
from contracts.topics import BOOKING_RESERVATIONS, OTA_INBOUND, TOPICS, Topic
from runtime.events import parse_event
from runtime.kafka import PoisonMessage, Record
from tests.contracts.conftest import EXAMPLES, SCHEMAS, read

WITH_GUESTS = {"channel-sync.reservations.v1", "ota.inbound.v1"}
CASES = [(topic, name) for topic in TOPICS for name in topic.events]
ON_TOPICS = pytest.mark.parametrize(("topic", "name"), CASES, ids=[f"{topic.name}/{name}" for topic, name in CASES])


def example_of(topic: Topic, name: str) -> dict[str, Any]:
    return read(EXAMPLES / topic.name / f"{name}.v1.json")


@cache
def published(topic: Topic) -> Draft202012Validator:
    return Draft202012Validator(
        read(SCHEMAS / f"{topic.name}.json"), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def record_of(topic: Topic, message: dict[str, Any]) -> Record:
    return Record(topic.name, 0, 0, b"key", orjson.dumps(message), ())


def test_there_is_an_example_for_every_event_type_and_for_nothing_else() -> None:
    expected = {f"{topic.name}/{name}.v1.json" for topic, name in CASES} | {
        "ota.inbound.v1/GenericJsonRevision.v1.json"
    }
    assert {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file()} == expected


@ON_TOPICS
def test_a_consumer_reads_the_example(topic: Topic, name: str) -> None:
    event = parse_event(topic, record_of(topic, example_of(topic, name)))
    assert type(event.data) is topic.events[name]
    assert event.envelope.type == name


@ON_TOPICS
def test_the_example_is_valid_under_the_published_schema(topic: Topic, name: str) -> None:
    published(topic).validate(example_of(topic, name))


@ON_TOPICS
def test_a_consumer_ignores_optional_fields_it_does_not_know(topic: Topic, name: str) -> None:
    message = example_of(topic, name)
    known = parse_event(topic, record_of(topic, message))
    grown = {**_grown(message), "data": _grown(message["data"])}
    assert parse_event(topic, record_of(topic, grown)).data == known.data
    published(topic).validate(grown)


def _grown(node: Any) -> Any:
    """The same JSON with a field of a later version in every object that is a model, not a mapping."""
    if isinstance(node, list):
        return [_grown(item) for item in node]
    if not isinstance(node, dict) or all(key.isdecimal() for key in node):
        return node
    closed = {"adults", "latitude"} & node.keys()  # values shared with requests, which refuse unknown fields
    return {key: _grown(value) for key, value in node.items()} | ({} if closed else {"of_a_later_version": 1})


@ON_TOPICS
def test_the_schema_refuses_the_example_without_a_required_field_just_as_the_model_does(
    topic: Topic, name: str
) -> None:
    model = topic.events[name]
    required = sorted(field for field, info in model.model_fields.items() if info.is_required())
    assert required
    definitions = read(SCHEMAS / f"{topic.name}.json")["$defs"]
    validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})
    for field in required:
        message = example_of(topic, name)
        del message["data"][field]
        assert not validator.is_valid(message["data"]), field
        with pytest.raises(PoisonMessage, match=field):
            parse_event(topic, record_of(topic, message))


@ON_TOPICS
def test_examples_carry_personal_data_only_where_it_is_allowed(topic: Topic, name: str) -> None:
    text = (EXAMPLES / topic.name / f"{name}.v1.json").read_text()
    assert ("guest" in example_of(topic, name)["data"]) is (topic.name in WITH_GUESTS and name != "Watermark")
    for invented in ("@", "phone", '"email"'):
        assert (invented in text) is (topic.name in WITH_GUESTS and name != "Watermark")


def test_models_outside_the_two_topics_with_guests_have_no_field_for_a_name_an_email_or_a_phone() -> None:
    for topic in TOPICS:
        if topic.name in WITH_GUESTS:
            continue
        schema = read(SCHEMAS / f"{topic.name}.json")
        for title, definition in schema["$defs"].items():
            fields = set(definition.get("properties", {}))
            assert not fields & {"email", "phone", "guest", "guest_name", "guest_email"}, title


def test_the_raw_example_is_a_revision_of_the_generic_protocol() -> None:
    path: Path = EXAMPLES / OTA_INBOUND.name / "GenericJsonRevision.v1.json"
    GenericJsonRevision.model_validate_json(path.read_bytes())


def test_the_changes_among_the_examples_carry_a_version_and_are_not_newer_than_their_commit() -> None:
    for name in BOOKING_RESERVATIONS.events:
        data = example_of(BOOKING_RESERVATIONS, name)["data"]
        if name != "Watermark":
            assert 1 <= data["inventory_version"] <= data["commit_version"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("event_id", "no-uuid"), ("occurred_at", "yesterday"), ("type", 7), ("data", []), ("subject", None)],
)
def test_a_malformed_envelope_is_refused(field: str, wrong: object) -> None:
    message = example_of(BOOKING_RESERVATIONS, "HoldPlaced")
    Envelope.model_validate(message)
    with pytest.raises(ValidationError):
        Envelope.model_validate({**message, field: wrong})
