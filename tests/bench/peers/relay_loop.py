"""Owns the peer of P5: claim, produce, mark, again; `python -m tests.bench.peers.relay_loop <dsn> <bootstrap>`.

What the product's relay does beyond it: order per key over any number of relays, leases, quarantine, traces,
watermarks. It ends when nothing is left to send.
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaProducer

# As many as one claim of the product's relay over six shards.
CLAIM_LIMIT = 3000
_CLAIM = """
SELECT id, event_id, topic, key, type, subject, agency_id, occurred_at, data::text AS data FROM outbox
WHERE sent_at IS NULL LIMIT $1 FOR UPDATE SKIP LOCKED"""
_MARK = "UPDATE outbox SET sent_at = now() WHERE id = ANY ($1::bigint[])"
_ENVELOPE = ("event_id", "type", "subject", "agency_id", "occurred_at")


async def drain(dsn: str, bootstrap: str) -> None:
    """Send everything there is."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 * 1024
    )
    await producer.start()
    connection = await asyncpg.connect(dsn)
    try:
        while await _send_some(connection, producer):
            pass
    finally:
        await connection.close()
        await producer.stop()


async def _send_some(connection: asyncpg.Connection, producer: AIOKafkaProducer) -> bool:
    async with connection.transaction():
        rows = await connection.fetch(_CLAIM, CLAIM_LIMIT)
        sent = []
        for row in rows:
            envelope = {name: str(row[name]) if name.endswith("_id") else row[name] for name in _ENVELOPE}
            value = orjson.dumps({**envelope, "producer": "booking", "data": orjson.Fragment(row["data"])})
            sent.append(await producer.send(row["topic"], value, row["key"].encode()))
        await asyncio.gather(*sent)
        await connection.execute(_MARK, [row["id"] for row in rows])
    return bool(rows)


if __name__ == "__main__":
    uvloop.run(drain(sys.argv[1], sys.argv[2]))
