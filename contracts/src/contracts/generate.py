"""Makes the JSON Schemas and the AsyncAPI document from models and topic registry; called by `__main__`. Pure."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts import (
    accounts_http_v1,
    availability_http_v1,
    booking_guests_http_v1,
    booking_http_v1,
    booking_selling_http_v1,
    channel_sync_http_v1,
    dead_letters_v1,
    problems,
)
from contracts.envelope import Envelope
from contracts.topics import EXTERNAL, TOPICS, Topic

Document = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_FILE = "asyncapi.json"
HTTP_MODULES: Mapping[str, ModuleType] = {
    "accounts.http.v1": accounts_http_v1,
    "availability.http.v1": availability_http_v1,
    "booking.guests.http.v1": booking_guests_http_v1,
    "booking.http.v1": booking_http_v1,
    "booking.selling.http.v1": booking_selling_http_v1,
    "channel-sync.http.v1": channel_sync_http_v1,
    "problems.v1": problems,
}


def schemas() -> dict[str, Document]:
    """Every JSON Schema document by file name: the envelope, each topic with events, dead letters, HTTP models."""
    documents = {
        "envelope.v1": _document("envelope.v1", "The envelope of every event.", [Envelope]),
        "dead-letters.v1": _document(
            "dead-letters.v1",
            "Where a dead letter came from; travels in its headers.",
            [dead_letters_v1.DeadLetterOrigin],
        ),
        **{topic.name: topic_schema(topic) for topic in TOPICS if topic.events},
        **{name: _document(name, _first_line(module), http_models(module)) for name, module in HTTP_MODULES.items()},
    }
    return {f"{name}.json": document for name, document in documents.items()}


def may_widen(file_name: str) -> bool:
    """True for HTTP models: there a wider bound or enumeration breaks nobody; on a topic it stops old consumers."""
    return file_name.removesuffix(".json") in HTTP_MODULES


def http_models(module: ModuleType) -> list[type[BaseModel]]:
    """The models a module defines, in the order of their names."""
    found = [model for _, model in inspect.getmembers(module, inspect.isclass) if issubclass(model, BaseModel)]
    # pydantic leaves a generic model with its parameters in the module that writes it down.
    return [model for model in found if model.__module__ == module.__name__ and model.__name__.isidentifier()]


def query_parameters(model: type[BaseModel]) -> list[Document]:
    """The fields of a model that is a query string, as OpenAPI has parameters."""
    schema = model.model_json_schema()
    parameters = []
    for name, field in schema["properties"].items():
        description = field.pop("description", "")
        field.pop("title", None)
        (kind,) = [option for option in field.pop("anyOf", [{}]) if option.get("type") != "null"]
        given = {key: value for key, value in field.items() if value is not None}
        required = name in schema.get("required", ())
        found = {"name": name, "in": "query", "required": required, "schema": {**kind, **given}}
        parameters.append({**found, "description": description} if description else found)
    return parameters


def topic_schema(topic: Topic) -> Document:
    """The schema of a whole message of one topic: the envelope with the data of its type."""
    definitions = _definitions([Envelope, *topic.events.values()], "#/$defs/{model}")
    return {
        "$schema": DIALECT,
        "$id": f"urn:pms:schema:{topic.name}",
        "title": topic.name,
        "description": topic.description,
        "allOf": [{"$ref": "#/$defs/Envelope"}],
        "oneOf": [
            {
                "title": name,
                "properties": {"type": {"const": name}, "data": {"$ref": f"#/$defs/{model.__name__}"}},
                "required": ["type", "data"],
            }
            for name, model in sorted(topic.events.items())
        ],
        "$defs": definitions,
    }


def asyncapi() -> Document:
    """The AsyncAPI 3.0 document of all topics: messages, keys, headers, retention, who sends and who receives."""
    models = {name: model for topic in TOPICS for name, model in topic.events.items()}
    topics = [*TOPICS, *(letter for topic in TOPICS for letter in topic.dead_letters)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "PMS topics",
            "version": "1.0.0",
            "description": "Everything the services of the property-management suite say to each other over Kafka.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": dict(operation for topic in topics for operation in _operations(topic)),
        "components": {
            "messages": {
                **{name: _event_message(name, model) for name, model in sorted(models.items())},
                RAW: _RAW_MESSAGE,
                LETTER: _LETTER_MESSAGE,
            },
            "schemas": _definitions([Envelope, *models.values()], "#/components/schemas/{model}"),
        },
    }


RAW = "RawOtaRecord"
LETTER = "DeadLetter"
_TEXT = {"type": "string"}
_TRACE_HEADERS = {
    "traceparent": {"type": "string", "description": "W3C trace context of the publishing span."},
    "tracestate": {"type": "string", "description": "W3C trace state, when there is one."},
}
_RAW_MESSAGE = {
    "name": RAW,
    "title": RAW,
    "summary": "The bytes of one OTA message as a connector delivered them; no envelope.",
    "contentType": "application/octet-stream",
    "headers": {
        "type": "object",
        "properties": {"connection-id": {"type": "string", "format": "uuid", "description": "When the key is not."}},
    },
}
_LETTER_MESSAGE = {
    "name": LETTER,
    "title": LETTER,
    "summary": "The original bytes of a record its consumer could not process; empty for a tombstone.",
    "contentType": "application/octet-stream",
    "headers": {
        "type": "object",
        "properties": {
            **{header: _TEXT for name, header in sorted(vars(dead_letters_v1).items()) if name.startswith("HEADER_")},
            **_TRACE_HEADERS,
        },
        "required": [
            dead_letters_v1.HEADER_TOPIC,
            dead_letters_v1.HEADER_PARTITION,
            dead_letters_v1.HEADER_OFFSET,
            dead_letters_v1.HEADER_ERROR,
            dead_letters_v1.HEADER_SERVICE,
        ],
    },
}


def _document(name: str, description: str, models: Sequence[type[BaseModel]]) -> Document:
    return {
        "$schema": DIALECT,
        "$id": f"urn:pms:schema:{name}",
        "title": name,
        "description": description,
        "anyOf": [{"title": model.__name__, "$ref": f"#/$defs/{model.__name__}"} for model in models],
        "$defs": _definitions(models, "#/$defs/{model}"),
    }


def _definitions(models: Iterable[type[BaseModel]], ref_template: str) -> Document:
    unique = list(dict.fromkeys(models))
    _, found = models_json_schema([(model, "validation") for model in unique], ref_template=ref_template)
    return dict(sorted(found["$defs"].items()))


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").splitlines()[0]


def _messages(topic: Topic) -> list[str]:
    if topic.name.endswith(".dlq"):
        return [LETTER]
    return sorted(topic.events) or [RAW]


def _channel(topic: Topic) -> Document:
    configuration: Document = {
        "cleanup.policy": topic.cleanup.split(","),
        "max.message.bytes": topic.max_message_bytes,
    }
    if topic.retention is not None:
        configuration["retention.ms"] = int(topic.retention.total_seconds() * 1000)
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": configuration}},
        "x-owner": topic.owner,
        "x-key": topic.key,
        "x-null-is-legal": topic.null_is_legal,
        "x-consumers": list(topic.consumers),
    }


def _operations(topic: Topic) -> Iterable[tuple[str, Document]]:
    path = "#/channels/" + topic.name.replace("~", "~0").replace("/", "~1")
    messages = [{"$ref": f"{path}/messages/{name}"} for name in _messages(topic)]
    sender = EXTERNAL if _messages(topic) == [RAW] else topic.owner  # connectors write raw OTA bytes, not the owner
    for action, services in (("send", (sender,)), ("receive", topic.consumers)):
        for service in services:
            summary = f"{service} {action}s {topic.name}"
            name = f"{service}.{action}.{topic.name}"
            yield name, {"action": action, "channel": {"$ref": path}, "summary": summary, "messages": messages}


def _event_message(name: str, model: type[BaseModel]) -> Document:
    data = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "name": name,
        "title": name,
        "summary": inspect.cleandoc(model.__doc__ or "").splitlines()[0],
        "contentType": "application/json",
        "headers": {"type": "object", "properties": _TRACE_HEADERS},
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/Envelope"},
                {"type": "object", "properties": {"type": {"const": name}, "data": data}},
            ]
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": "The topic's key; absent on watermarks."}}},
    }
