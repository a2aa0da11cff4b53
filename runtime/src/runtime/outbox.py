"""The outbox: rows written in the transaction of a change; `runtime.relay` sends them. Called by repositories."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any
from uuid import UUID

from runtime.postgres import Connection
from runtime.telemetry import carrier_of

_INSERT = """
INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data, traceparent, tracestate)
VALUES ($1, $2, $3, $4, $5, $6, $7, now(), $8, $9, $10)"""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event to be sent; `shard` is the partition of `key`, `data` the event model as JSON-ready dict.

    The fields stand in the order of the insert.
    """

    event_id: UUID
    topic: str
    shard: int
    key: str
    type: str
    subject: str
    agency_id: UUID
    data: dict[str, Any]


async def insert_outbox_rows(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Write events in the transaction of their change; they carry the current trace."""
    trace = [carrier_of().get(name) for name in ("traceparent", "tracestate")]
    await connection.executemany(_INSERT, [(*astuple(row), *trace) for row in rows])
