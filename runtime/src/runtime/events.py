"""Reading a record of a registered topic into its envelope and typed data; called by consumers and caches."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.envelope import Envelope
from contracts.topics import Topic
from contracts.values import EventModel
from runtime.kafka import PoisonMessage, Record


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its envelope and its data as the model the registry names."""

    envelope: Envelope
    data: EventModel


def parse_event(topic: Topic, record: Record) -> Event:
    """The event in a record; raises `PoisonMessage` saying what is wrong with it, never its content."""
    if record.value is None:
        raise PoisonMessage("a tombstone is not legal on this topic")
    try:
        envelope = Envelope.model_validate_json(record.value)
    except ValidationError as error:
        raise PoisonMessage(f"not an event envelope: {_reasons(error)}") from None
    model = topic.events.get(envelope.type)
    if model is None:
        raise PoisonMessage(f"unknown event type {envelope.type!r}")
    try:
        return Event(envelope, model.model_validate(envelope.data))
    except ValidationError as error:
        raise PoisonMessage(f"invalid {envelope.type}: {_reasons(error)}") from None


def _reasons(error: ValidationError) -> str:
    found: list[Any] = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in found[:5])
