"""Proves when a consumer is taken for stuck: when one place where something always arrives kept silent for too long."""

from __future__ import annotations

import asyncio
import gc
import uuid

import pytest
from aiokafka import AIOKafkaConsumer

from availability.consumers import SILENCE_S, Silence, Silent, Tail
from availability.service.cache import Cache
from availability.service.saving import Saving
from deploy.local.journey_client import NotYet, until
from runtime.kafka import DeadLetters
from runtime.settings import KafkaSettings
from tests.availability.booking_topics import PARTITIONS, BookingTopics, PropertyInMaking


def test_one_silent_place_is_enough() -> None:
    silence = Silence(["a", "b"])
    silence.note(["a"], SILENCE_S * 0.6)
    with pytest.raises(Silent):
        silence.note(["a"], SILENCE_S * 0.6)


def test_whoever_speaks_now_and_then_is_not_silent() -> None:
    silence = Silence(["a", "b"])
    for _ in range(20):
        silence.note(["a"], SILENCE_S * 0.45)
        silence.note(["b"], SILENCE_S * 0.45)


def test_time_spent_on_what_arrived_does_not_count() -> None:
    """Waiting is measured, not the clock: a long batch of one place must not make another look stuck."""
    silence = Silence(["a", "b"])
    for _ in range(1000):
        silence.note(["a"], 0.0)


@pytest.mark.stack
async def test_a_stuck_consumer_is_replaced_where_it_stood(own_kafka: str, topics: BookingTopics) -> None:
    """Stuck as after some broker restarts: its fetching has ended, and nothing says so."""
    cache = Cache(PARTITIONS)
    letters = DeadLetters(own_kafka, "availability")
    tail = Tail(
        KafkaSettings(kafka_bootstrap_servers=own_kafka, kafka_partitions=PARTITIONS),
        cache,
        letters,
        Saving(cache, None),
    )
    place = PropertyInMaking(id=uuid.uuid4())
    await topics.write(place, place.created())
    others = _consumers()
    reading = asyncio.create_task(tail.run())
    try:
        await until(lambda: _shown(cache, place), "the first version")
        (stuck,) = _consumers() - others
        stuck._fetcher._fetch_task.cancel()
        await asyncio.sleep(1)  # it may still give what it had fetched
        await topics.write(place, place.block(1, 2))
        await asyncio.sleep(1)
        with pytest.raises(NotYet):
            await _shown(cache, place)
        await until(lambda: _shown(cache, place), "the second version", SILENCE_S + 5)
        assert stuck not in _consumers() or stuck._closed
        assert cache.missing() is None
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await letters.close()


def _consumers() -> set[AIOKafkaConsumer]:
    return {found for found in gc.get_objects() if isinstance(found, AIOKafkaConsumer) and not found._closed}


async def _shown(cache: Cache, place: PropertyInMaking) -> None:
    shown = cache.shown_version(place.id)
    if shown != place.version:
        raise NotYet(f"version {shown}")
