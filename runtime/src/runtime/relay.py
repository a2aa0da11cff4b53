"""The relay: sends a service's outbox to Kafka in order; wired by `main` as the role `relay`.

Order does not depend on the lease: a claim reads the oldest unsent rows, without row locks and with no transaction open
while producing, and marks them after Kafka's acknowledgement. Two relays on one shard, or one that wakes up after its
successor took over, send duplicates only, which consumers drop by version.

While a shard has more rows than a claim takes, the next claim goes on behind the last one: from the start it would read
past every row marked since the last vacuum. A row of a lower id may commit meanwhile, of another key, because the rows
of a key are written under its lock; it is found when the shard is read from the start again, before any watermark.
"""

import asyncio
import os
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

from contracts.topics import CONSUMED_MAX_BYTES, Topic
from runtime.kafka import Batches, TopicWriter
from runtime.logs import get_logger
from runtime.postgres import Pool, Row
from runtime.settings import KafkaSettings
from runtime.telemetry import publish_span

log = get_logger(__name__)

LEASE_S = 3.0
LEASE_RENEWAL_S = 1.0
POLL_S = 0.05
# After a claim that found rows: writers of other processes do not wake this one, and more will come.
BUSY_POLL_S = 0.005
CLAIM_LIMIT = 500
SEND_TIMEOUT_S = 10.0
WATERMARK_INTERVAL_S = 0.25
# The broker counts the record whole: the rest is for its key, its headers and its batch.
VALUE_MAX_BYTES = CONSUMED_MAX_BYTES - 16 * 1024

_LEASE = """
INSERT INTO relay_leases (shard, owner, expires_at)
SELECT shard, $2, now() + make_interval(secs => $3) FROM unnest($1::smallint[]) AS shard
ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
WHERE relay_leases.owner = excluded.owner OR relay_leases.expires_at < now()
RETURNING shard"""

_RELEASE = "DELETE FROM relay_leases WHERE owner = $1"

# now() is the transaction's start, before its snapshot: nothing committed before `claimed_at` is missing from the rows.
# statement_timestamp() would not do: in the extended protocol it is when Execute arrives, after Bind took the snapshot.
_CLAIM = """
SELECT now() AS claimed_at, wanted.shard, claimed.*
FROM unnest($1::smallint[], $4::bigint[]) AS wanted (shard, behind)
LEFT JOIN LATERAL (
    SELECT id, event_id, topic, key, type, subject, agency_id, occurred_at, data::text AS data, traceparent, tracestate
    FROM outbox
    WHERE outbox.shard = wanted.shard AND sent_at IS NULL AND id > wanted.behind AND key <> ALL ($3::text[])
    ORDER BY id LIMIT $2
) AS claimed ON true"""

_QUARANTINED = "SELECT DISTINCT key FROM outbox WHERE sent_at IS NULL AND quarantined IS NOT NULL"
_QUARANTINE = "UPDATE outbox SET quarantined = $2 WHERE id = $1"
# A mark that a crash of the database forgets is a duplicate, so its commit does not wait for the disk.
_MARK = """
UPDATE outbox SET sent_at = now() WHERE id = ANY ($1::bigint[]) AND sent_at IS NULL
  AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'"""
_ENVELOPE = ("event_id", "type", "subject", "agency_id", "occurred_at")


class Relay:
    """Sends the outbox of one service; runs in every relay process, shards are shared out by leases."""

    def __init__(self, pool: Pool, settings: KafkaSettings, service: str, topics: Sequence[Topic]) -> None:
        self._pool = pool
        self._partitions = settings.kafka_partitions
        self._service = service
        self._topics = topics
        self._writer = TopicWriter(settings.kafka_bootstrap_servers)
        self._owner = f"{os.uname().nodename}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._wake = asyncio.Event()
        self._shards: list[int] = []
        self._behind: dict[int, int] = {}  # the last id claimed of a shard that has more
        self._lease_renewal_at = 0.0
        self._watermark_at: dict[int, float] = defaultdict(float)
        self._quarantined: list[str] = []

    def wake(self) -> None:
        """There is something to send; called after commit by writers of the same process."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; a failure ends it, and `Loops.keep` starts it again with a fresh producer."""
        try:
            self._behind = {}
            while True:
                await self._renew_leases()
                if (pause_s := await self._relay_once() if self._shards else POLL_S) > 0:
                    await self._pause(pause_s)
        finally:
            await self._writer.abort()

    async def close(self) -> None:
        """Give the leases back so that a successor need not wait for them to expire."""
        await self._pool.execute(_RELEASE, self._owner)

    async def _pause(self, longest_s: float) -> None:
        # Not wait_for: Python 3.11's swallows a cancellation that meets the end of what it waits for.
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._wake.wait()
        self._wake.clear()

    async def _renew_leases(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._lease_renewal_at:
            return
        rows = await self._pool.fetch(_LEASE, list(range(self._partitions)), self._owner, LEASE_S)
        self._shards = sorted(row["shard"] for row in rows)
        quarantined = [row["key"] for row in await self._pool.fetch(_QUARANTINED)]
        freed = set(self._quarantined).difference(quarantined)  # their older rows come first
        self._behind = {shard: last for shard, last in self._behind.items() if shard in self._shards and not freed}
        self._quarantined = quarantined
        self._lease_renewal_at = now + LEASE_RENEWAL_S

    async def _relay_once(self) -> float:
        """One claim, sent and marked; seconds until the next, none when there is more to claim at once."""
        behind = [self._behind.get(shard, 0) for shard in self._shards]
        claimed = await self._pool.fetch(_CLAIM, self._shards, CLAIM_LIMIT, self._quarantined, behind)
        rows = [row for row in claimed if row["id"] is not None]
        if rows:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                sent = await self._send(rows)
            await self._pool.execute(_MARK, sent)
        counts, last = Counter(row["shard"] for row in rows), {row["shard"]: row["id"] for row in rows}
        more = {shard: last[shard] for shard in self._shards if counts[shard] == CLAIM_LIMIT}
        drained = [shard for shard in self._shards if shard not in self._behind and shard not in more]
        self._behind = more
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._send_watermarks(drained, claimed[0]["claimed_at"])
        return 0.0 if len(drained) < len(self._shards) else BUSY_POLL_S if rows else POLL_S

    async def _send(self, rows: Sequence[Row]) -> list[int]:
        """Send rows in order and return the ids Kafka acknowledged; any failure but an unsendable row raises."""
        batches = Batches(await self._writer.producer())
        spans, sent = [], []
        for row in rows:
            if row["key"] in self._quarantined:
                continue
            value = self._event({name: row[name] for name in _ENVELOPE}, row["data"])
            if len(value) > VALUE_MAX_BYTES:
                await self._quarantine(row, f"{len(value)} bytes, at most {VALUE_MAX_BYTES} can be sent")
                continue
            stored = {name: row[name] for name in ("traceparent", "tracestate") if row[name] is not None}
            attributes = {"messaging.system": "kafka", "messaging.destination.name": row["topic"]}
            current, carrier = publish_span(f"publish {row['topic']}", stored, attributes)
            headers = [(name, text.encode()) for name, text in carrier.items()]
            batches.add(row["topic"], row["shard"], row["key"].encode(), value, headers)
            spans.append(current)
            sent.append(row["id"])
        try:
            await batches.send()
        finally:
            for current in spans:
                current.end()
        return sent

    async def _quarantine(self, row: Row, reason: str) -> None:
        self._quarantined.append(row["key"])
        await self._pool.execute(_QUARANTINE, row["id"], reason)
        log.error("outbox row cannot be sent, its key waits for a resync", key=row["key"], id=row["id"], reason=reason)

    async def _send_watermarks(self, shards: Sequence[int], claimed_at: datetime) -> None:
        now = asyncio.get_running_loop().time()
        producer = await self._writer.producer()
        pending = []
        for shard in (one for one in shards if now - self._watermark_at[one] >= WATERMARK_INTERVAL_S):
            names = {"event_id": uuid.uuid4(), "type": "Watermark", "subject": f"partition/{shard}"}
            data = orjson.dumps({"partition": shard, "database_time": claimed_at, "held_back": self._quarantined})
            value = self._event({**names, "occurred_at": claimed_at}, data)
            pending += [await producer.send(topic.name, value, partition=shard) for topic in self._topics]
            self._watermark_at[shard] = now
        await asyncio.gather(*pending)

    def _event(self, envelope: dict[str, Any], data: bytes | str) -> bytes:
        return orjson.dumps({**envelope, "producer": self._service, "data": orjson.Fragment(data)})
