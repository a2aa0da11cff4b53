"""Proves the relay against a broker that stops answering: nothing is lost and the order is kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import runtime.relay
from deploy.local.kafka import KAFKA
from deploy.local.supervisor import Supervisor
from runtime.postgres import Pool
from tests.runtime.conftest import TopicOf
from tests.runtime.outbox import Outbox, keys_of, relaying, watermarks_flow

pytestmark = pytest.mark.stack


@pytest.fixture
def kafka_pid(supervisor: Supervisor, kafka_settings: object) -> int:
    """The process of the embedded broker."""
    if KAFKA not in supervisor.names():
        pytest.skip("needs the embedded Kafka: unset KAFKA_BOOTSTRAP_SERVERS and PMS_STACK")
    return supervisor.pid(KAFKA)


@asynccontextmanager
async def frozen(pid: int) -> AsyncIterator[None]:
    """A process that does nothing inside the block; its sockets still take what is sent."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(("send_timeout_s", "rounds"), [(0.7, 8), (10.0, 4)])
async def test_a_frozen_broker_loses_nothing_and_keeps_the_order(
    empty_outbox: Pool,
    sharded: TopicOf,
    kafka_pid: int,
    monkeypatch: pytest.MonkeyPatch,
    send_timeout_s: float,
    rounds: int,
) -> None:
    """Once the relay waits it out, once it gives up and starts anew while the broker still has its old requests."""
    monkeypatch.setattr(runtime.relay, "SEND_TIMEOUT_S", send_timeout_s)
    outbox = Outbox(empty_outbox, sharded)
    keys = keys_of(20)
    async with relaying(outbox.pool, sharded) as relay:
        await outbox.add_many(keys, 100)
        await watermarks_flow(sharded, 1)
        async with frozen(kafka_pid):
            for _ in range(rounds):
                await outbox.add_many(keys, 100)
                relay.wake()
                await asyncio.sleep(0.25)
            assert await outbox.unsent() >= (rounds - 1) * 100
        await outbox.drained(timeout_s=30)
    await outbox.check_complete_and_in_order()
