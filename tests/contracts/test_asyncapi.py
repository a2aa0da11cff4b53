"""The AsyncAPI document is structurally valid and says what the registry says.

The official JSON Schema of AsyncAPI 3.0 is 400 kB and not kept here; the document was held against it once by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from contracts import dead_letters_v1
from contracts.generate import asyncapi
from contracts.topics import EXTERNAL, TOPICS, Topic
from tests.contracts.conftest import EXAMPLES, read

DOCUMENT = asyncapi()
ALL_TOPICS = [*TOPICS, *(letter for topic in TOPICS for letter in topic.dead_letters)]
REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:asyncapi", Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
)
CASES = [(topic, name) for topic in TOPICS for name in topic.events]

# The parts of the AsyncAPI 3.0 structure this document uses; anything else is an error here.
REFERENCE = {"type": "object", "required": ["$ref"], "properties": {"$ref": {"type": "string"}}, "maxProperties": 1}
TEXT = {"type": "string", "minLength": 1}
STRUCTURE = {
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "additionalProperties": False,
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "defaultContentType": TEXT,
        "info": {"type": "object", "required": ["title", "version"]},
        "channels": {
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages", "description", "bindings"],
                "additionalProperties": False,
                "patternProperties": {"^x-[a-z-]+$": True},
                "properties": {
                    "address": TEXT,
                    "description": TEXT,
                    "messages": {"minProperties": 1, "additionalProperties": REFERENCE},
                    "bindings": {
                        "type": "object",
                        "required": ["kafka"],
                        "properties": {
                            "kafka": {
                                "type": "object",
                                "required": ["topic", "topicConfiguration"],
                                "properties": {
                                    "topicConfiguration": {
                                        "type": "object",
                                        "required": ["cleanup.policy", "max.message.bytes"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "cleanup.policy": {"items": {"enum": ["compact", "delete"]}},
                                            "max.message.bytes": {"type": "integer"},
                                            "retention.ms": {"type": "integer"},
                                        },
                                    }
                                },
                            }
                        },
                    },
                },
            },
        },
        "operations": {
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel", "messages"],
                "additionalProperties": False,
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": REFERENCE,
                    "summary": TEXT,
                    "messages": {"type": "array", "minItems": 1, "items": REFERENCE},
                },
            },
        },
        "components": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "schemas": {"additionalProperties": {"type": "object"}},
                "messages": {
                    "additionalProperties": {
                        "type": "object",
                        "required": ["name", "title", "summary", "contentType", "headers"],
                        "additionalProperties": False,
                        "properties": {
                            "name": TEXT,
                            "title": TEXT,
                            "summary": TEXT,
                            "contentType": TEXT,
                            "headers": {"type": "object", "required": ["type", "properties"]},
                            "payload": {"type": "object"},
                            "bindings": {"type": "object"},
                        },
                    }
                },
            },
        },
    },
}


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolved(reference: str) -> Any:
    node: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_the_structure_is_that_of_asyncapi_3() -> None:
    Draft202012Validator(STRUCTURE).validate(DOCUMENT)


def test_every_reference_resolves() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        assert isinstance(resolved(reference), dict), reference


def test_every_schema_is_a_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)
def test_every_topic_and_dead_letter_topic_is_a_channel_with_its_settings_and_its_readers(topic: Topic) -> None:
    channel = DOCUMENT["channels"][topic.name]
    configuration = channel["bindings"]["kafka"]["topicConfiguration"]
    assert channel["address"] == topic.name
    assert configuration["cleanup.policy"] == topic.cleanup.split(",")
    assert configuration["max.message.bytes"] == topic.max_message_bytes
    week_ms = 7 * 24 * 3600 * 1000
    assert configuration.get("retention.ms") == (week_ms if topic.retention is not None else None)
    assert (channel["x-owner"], channel["x-key"]) == (topic.owner, topic.key)
    for service in topic.consumers:
        operation = DOCUMENT["operations"][f"{service}.receive.{topic.name}"]
        assert resolved(operation["channel"]["$ref"]) is channel
    sends = [name for name in DOCUMENT["operations"] if name.endswith(f".send.{topic.name}")]
    assert sends == [f"{EXTERNAL if topic.name == 'ota.inbound.v1' else topic.owner}.send.{topic.name}"]


def test_there_are_no_channels_besides_the_registry() -> None:
    assert set(DOCUMENT["channels"]) == {topic.name for topic in ALL_TOPICS}


@pytest.mark.parametrize(("topic", "name"), CASES, ids=[f"{topic.name}/{name}" for topic, name in CASES])
def test_the_payload_of_every_message_fits_its_example(topic: Topic, name: str) -> None:
    message = resolved(DOCUMENT["channels"][topic.name]["messages"][name]["$ref"])
    assert "traceparent" in message["headers"]["properties"]
    schema = {"$ref": f"urn:asyncapi#/components/messages/{name}/payload"}
    example = read(EXAMPLES / topic.name / f"{name}.v1.json")
    validator = Draft202012Validator(schema, registry=REGISTRY)
    validator.validate(example)
    assert not validator.is_valid({**example, "data": {}})
    assert not validator.is_valid({**example, "type": "Another"})


def test_the_dead_letter_message_names_every_origin_header() -> None:
    headers = DOCUMENT["components"]["messages"]["DeadLetter"]["headers"]["properties"]
    named = {value for key, value in vars(dead_letters_v1).items() if key.startswith("HEADER_")}
    assert named <= set(headers)
    assert "traceparent" in headers
