"""Owns the floor of P6: bare consumption of booking's two topics and the contracts' decoding, and nothing done with it.

`python -m tests.bench.peers.bare_consume`, a `Bare` as JSON in, a `Decoded` out. The order is that of a cold start:
the compacted topic to its end, then the change log from where the marks say.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, Topic
from runtime.consumer import to_record
from runtime.events import parse_event
from runtime.kafka import FETCH_MAX_BYTES, PARTITION_FETCH_MAX_BYTES


@dataclass(frozen=True)
class Bare:
    """Where to read: per partition (as text, as JSON has it) the first offset of the change log to be read."""

    bootstrap: str
    first_changes: Mapping[str, int]


@dataclass(frozen=True)
class Decoded:
    """How many records were decoded, in how many seconds from the first connection on."""

    records: int
    seconds: float


async def decode(bare: Bare) -> Decoded:
    """Read both topics to the ends they have now."""
    began = time.monotonic()
    firsts = {int(partition): offset for partition, offset in bare.first_changes.items()}
    states = await _decode(bare.bootstrap, BOOKING_PROPERTIES, dict.fromkeys(firsts, 0))
    changes = await _decode(bare.bootstrap, BOOKING_RESERVATIONS, firsts)
    return Decoded(states + changes, time.monotonic() - began)


async def _decode(bootstrap: str, topic: Topic, firsts: Mapping[int, int]) -> int:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=FETCH_MAX_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
    )
    places = {TopicPartition(topic.name, partition): offset for partition, offset in firsts.items()}
    consumer.assign(list(places))
    await consumer.start()
    try:
        for place, offset in places.items():
            consumer.seek(place, offset)
        ends = await consumer.end_offsets(list(places))
        count = 0
        while any(offset < ends[place] for place, offset in places.items()):
            for place, batch in (await consumer.getmany(timeout_ms=500)).items():
                for raw in batch:
                    parse_event(topic, to_record(raw))
                count += len(batch)
                places[place] = batch[-1].offset + 1
        return count
    finally:
        await consumer.stop()


if __name__ == "__main__":
    done = uvloop.run(decode(Bare(**json.load(sys.stdin))))
    json.dump(asdict(done), sys.stdout)
