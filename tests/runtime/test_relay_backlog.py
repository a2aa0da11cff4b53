"""Proves the order of keys while the relay works off a backlog claim by claim, each behind the last."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from runtime import relay
from runtime.postgres import Pool
from runtime.relay import VALUE_MAX_BYTES
from tests.runtime.conftest import TopicOf
from tests.runtime.outbox import Outbox, is_watermark, keys_of, numbers_in, relaying
from tests.waiting import eventually

pytestmark = pytest.mark.stack

LIMIT = 5


@pytest.fixture
def outbox(empty_outbox: Pool, single: TopicOf, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """The outbox of a topic of one partition, of which a claim takes few rows and waits a little before it sends."""
    send = relay.Relay._send

    async def slow_send(self: relay.Relay, rows: list[object]) -> list[int]:
        await asyncio.sleep(0.01)
        return await send(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(relay, "CLAIM_LIMIT", LIMIT)
    monkeypatch.setattr(relay, "LEASE_RENEWAL_S", 0.1)
    monkeypatch.setattr(relay.Relay, "_send", slow_send)
    return Outbox(empty_outbox, single)


async def test_a_row_that_commits_behind_the_claims_of_a_backlog_is_sent_before_any_watermark(outbox: Outbox) -> None:
    late, *keys = keys_of(4)

    async def a_few_are_sent() -> bool | None:
        return await outbox.unsent() <= 30 * LIMIT or None

    async with AsyncExitStack() as running:
        async with outbox.pool.acquire() as connection, connection.transaction():
            await outbox.add([late, late], to=connection)
            await outbox.add_many(keys, 40 * LIMIT)
            await running.enter_async_context(relaying(outbox.pool, outbox.of))
            await eventually(a_few_are_sent, "a part of the backlog sent")
        assert await outbox.unsent() > LIMIT, "the backlog was gone before the late rows committed"
        await outbox.drained()
    assert await outbox.check_complete_and_in_order() == 0
    records = await outbox.of.records()
    first_watermark = next((place for place, record in enumerate(records) if is_watermark(record)), len(records))
    assert sum(map(len, numbers_in(records[:first_watermark]).values())) == 40 * LIMIT + 2


async def test_the_rows_of_a_key_that_was_freed_amid_a_backlog_keep_their_order(outbox: Outbox) -> None:
    bad, *keys = keys_of(4)
    await outbox.add([bad, bad])
    await outbox.add([bad], size=VALUE_MAX_BYTES)
    await outbox.add([bad] * 3)
    await outbox.add_many([bad, *keys], 100 * LIMIT)

    async def freed() -> bool | None:
        freed = await outbox.pool.fetch(
            "UPDATE outbox SET quarantined = NULL, data = data || '{\"filling\": null}' WHERE quarantined IS NOT NULL "
            "RETURNING id"
        )
        return bool(freed) or None

    async with relaying(outbox.pool, outbox.of):
        await eventually(freed, "the large row quarantined")
        assert await outbox.unsent() > 50 * LIMIT
        await outbox.drained()
    assert await outbox.check_complete_and_in_order() == 0
