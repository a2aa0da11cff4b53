"""Reading a record of a registered topic into its envelope and typed data; called by consumers and caches."""

from dataclasses import dataclass

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
        if envelope.type not in topic.events:
            raise PoisonMessage(f"unknown event type {envelope.type!r}")
        return Event(envelope, topic.events[envelope.type].model_validate(envelope.data))
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[:5]
        reasons = (f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in found)
        raise PoisonMessage(f"invalid {error.title}: {'; '.join(reasons)}") from None
