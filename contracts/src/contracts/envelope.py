"""The envelope every event travels in; written by the outbox relay, read by every consumer."""

from typing import Any
from uuid import UUID

from pydantic import Field

from contracts.values import EventModel, Instant


class Envelope(EventModel):
    """One event: who said what about whom, and when.

    `data` is validated against the model that the topic's registry names for `type`. The W3C trace context travels
    in the record headers `traceparent` and `tracestate`, not here. `agency_id` is absent only on watermarks and
    markers, which speak of a partition.
    """

    event_id: UUID
    type: str = Field(max_length=80)
    subject: str = Field(max_length=200)
    agency_id: UUID | None = None
    occurred_at: Instant
    producer: str = Field(max_length=80)
    data: dict[str, Any]
