"""The relay: sends a service's outbox to Kafka in order; wired by `main` as the role `relay`.

Order does not depend on the lease: a claim reads the oldest unsent rows, without row locks and with no transaction open
while producing, and marks them after Kafka's acknowledgement. Two relays on one shard, or one that wakes up after its
successor took over, send duplicates only, which consumers drop by version.
"""

import asyncio
import os
import socket
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from contracts.topics import Topic
from runtime.kafka import abort_producer, new_producer
from runtime.logs import get_logger
from runtime.postgres import Pool, Row
from runtime.settings import KafkaSettings
from runtime.telemetry import carrier_of, publish_span

log = get_logger(__name__)

LEASE_S = 3.0
LEASE_RENEWAL_S = 1.0
POLL_S = 0.05
CLAIM_LIMIT = 500
SEND_TIMEOUT_S = 10.0
WATERMARK_INTERVAL_S = 0.25

_LEASE = """
INSERT INTO relay_leases (shard, owner, expires_at)
SELECT shard, $2, now() + make_interval(secs => $3) FROM unnest($1::smallint[]) AS shard
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
WHERE relay_leases.owner = excluded.owner OR relay_leases.expires_at < now()
RETURNING shard"""

_RELEASE = "DELETE FROM relay_leases WHERE owner = $1"

# The statement's start lies before its snapshot, so nothing committed before `claimed_at` is missing from the rows.
_CLAIM = """
SELECT statement_timestamp() AS claimed_at, wanted.shard, claimed.*
FROM unnest($1::smallint[]) AS wanted (shard)
LEFT JOIN LATERAL (
    SELECT id, event_id, topic, key, type, subject, agency_id, occurred_at, data::text AS data, traceparent, tracestate
    FROM outbox
    WHERE outbox.shard = wanted.shard AND sent_at IS NULL AND key <> ALL ($3::text[])
    ORDER BY id LIMIT $2
) AS claimed ON true"""

_QUARANTINED = "SELECT DISTINCT key FROM outbox WHERE sent_at IS NULL AND quarantined IS NOT NULL"
_QUARANTINE = "UPDATE outbox SET quarantined = $2 WHERE id = $1"
_MARK = "UPDATE outbox SET sent_at = now() WHERE id = ANY ($1::bigint[]) AND sent_at IS NULL"


class Relay:
    """Sends the outbox of one service; runs in every relay process, shards are shared out by leases."""

    def __init__(self, pool: Pool, settings: KafkaSettings, service: str, topics: Sequence[Topic]) -> None:
        self._pool = pool
        self._settings = settings
        self._service = service
        self._topics = topics
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._wake = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._shards: list[int] = []
        self._lease_renewal_at = 0.0
        self._watermark_at: dict[int, float] = defaultdict(float)
        self._quarantined: list[str] = []

    def wake(self) -> None:
        """There is something to send; called after commit by writers of the same process."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; a failure ends it, and `Loops.keep` starts it again with a fresh producer."""
        self._quarantined = [row["key"] for row in await self._pool.fetch(_QUARANTINED)]
        try:
            while True:
                await self._renew_leases()
                more = bool(self._shards) and await self._relay_once()
                if not more:
                    await self._pause()
        finally:
            await self._abort()

    async def close(self) -> None:
        """Give the leases back so that a successor need not wait for them to expire."""
        await self._pool.execute(_RELEASE, self._owner)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_S)
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _renew_leases(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._lease_renewal_at:
            return
        shards = list(range(self._settings.kafka_partitions))
        rows = await self._pool.fetch(_LEASE, shards, self._owner, LEASE_S)
        self._shards = sorted(row["shard"] for row in rows)
        self._lease_renewal_at = now + LEASE_RENEWAL_S

    async def _relay_once(self) -> bool:
        """One claim, sent and marked; True when a shard had more than the claim's limit."""
        claimed = await self._pool.fetch(_CLAIM, self._shards, CLAIM_LIMIT, self._quarantined)
        rows_of: dict[int, list[Row]] = {shard: [] for shard in self._shards}
        for row in claimed:
            if row["id"] is not None:
                rows_of[row["shard"]].append(row)
        rows = [row for shard_rows in rows_of.values() for row in shard_rows]
        if rows:
            sent = await asyncio.wait_for(self._send(rows), SEND_TIMEOUT_S)
            await self._pool.execute(_MARK, sent)
        drained = [shard for shard, shard_rows in rows_of.items() if len(shard_rows) < CLAIM_LIMIT]
        await asyncio.wait_for(self._send_watermarks(drained, claimed[0]["claimed_at"]), SEND_TIMEOUT_S)
        return len(drained) < len(self._shards)

    async def _send(self, rows: Sequence[Row]) -> list[int]:
        """Send rows in order and return the ids Kafka acknowledged; any failure but an unsendable row raises."""
        producer = await self._ready_producer()
        pending: list[Awaitable[Any]] = []
        sent: list[int] = []
        spans = []
        for row in rows:
            if row["key"] in self._quarantined:
                continue
            carrier = {name: row[name] for name in ("traceparent", "tracestate") if row[name] is not None}
            attributes = {"messaging.system": "kafka", "messaging.destination.name": row["topic"]}
            current = publish_span(f"publish {row['topic']}", carrier, attributes)
            headers = [(name, value.encode()) for name, value in carrier_of(current).items()]
            try:
                pending.append(
                    await producer.send(
                        row["topic"],
                        value=self._envelope(row),
                        key=row["key"].encode(),
                        partition=row["shard"],
                        headers=headers,
                    )
                )
            except MessageSizeTooLargeError as error:
                await self._quarantine(row, error)
                continue
            sent.append(row["id"])
            spans.append(current)
        await asyncio.gather(*pending)
        for current in spans:
            current.end()
        return sent

    async def _quarantine(self, row: Row, error: Exception) -> None:
        self._quarantined.append(row["key"])
        await self._pool.execute(_QUARANTINE, row["id"], repr(error))
        log.error("outbox row cannot be sent, its key waits for a resync", key=row["key"], id=row["id"])

    def _envelope(self, row: Row) -> bytes:
        return orjson.dumps(
            {
                "event_id": row["event_id"],
                "type": row["type"],
                "subject": row["subject"],
                "agency_id": row["agency_id"],
                "occurred_at": row["occurred_at"],
                "producer": self._service,
                "data": orjson.Fragment(row["data"]),
            }
        )

    async def _send_watermarks(self, shards: Sequence[int], claimed_at: datetime) -> None:
        now = asyncio.get_running_loop().time()
        due = [shard for shard in shards if now - self._watermark_at[shard] >= WATERMARK_INTERVAL_S]
        if not due:
            return
        producer = await self._ready_producer()
        pending = []
        for shard in due:
            value = self._watermark(shard, claimed_at)
            pending += [await producer.send(topic.name, value=value, partition=shard) for topic in self._topics]
            self._watermark_at[shard] = now
        await asyncio.gather(*pending)

    def _watermark(self, shard: int, claimed_at: datetime) -> bytes:
        return orjson.dumps(
            {
                "event_id": uuid.uuid4(),
                "type": "Watermark",
                "subject": f"partition/{shard}",
                "occurred_at": claimed_at,
                "producer": self._service,
                "data": {"partition": shard, "database_time": claimed_at},
            }
        )

    async def _ready_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = new_producer(self._settings.kafka_bootstrap_servers)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _abort(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await abort_producer(producer)
