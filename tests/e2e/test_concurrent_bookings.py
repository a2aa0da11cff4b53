"""Proves that one night is sold once, however many ask at once and whichever booking process they reach."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency, nights_of
from deploy.local.journey_scene import Scene
from deploy.local.services import BOOKING
from tests.e2e.infra.drain import check_everything
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

STAY = days(0, 4)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_booking_processes(running: Running) -> AsyncIterator[list[str]]:
    async with running.added(running.role(BOOKING, "api", name="booking-2")) as (second,):
        yield [running.suite.url(BOOKING), second]


@pytest.mark.parametrize("rivals", [10, 100])
async def test_of_concurrent_bookings_spread_over_two_processes_exactly_one_wins(
    rivals: int, scene: Scene, running: Running, two_booking_processes: list[str]
) -> None:
    first, second = (running.agency(scene.agency.id, at=url) for url in two_booking_processes)
    async with first, second:
        agencies: list[Agency] = [first, second] * (rivals // 2)
        replies = await asyncio.gather(*(agency.book(scene.property_id, STAY) for agency in agencies))
    assert Counter(reply.status for reply in replies) == Counter({201: 1, 409: rivals - 1})
    assert {reply.body["code"] for reply in replies if reply.status == 409} == {"inventory_overlap"}
    assert len(await scene.agency.bookings(scene.property_id)) == 1
    await scene.shown(STAY, closed=nights_of(STAY))


async def test_overlapping_and_disjoint_bookings_over_two_processes_leave_one_ledger_everyone_agrees_on(
    scene: Scene, running: Running, two_booking_processes: list[str]
) -> None:
    first, second = (running.agency(scene.agency.id, at=url) for url in two_booking_processes)
    stays = [days(start, start + length) for start in range(12) for length in (1, 2, 3)]
    async with first, second:
        wanted = [(agency, stay) for stay in stays for agency in (first, second)]
        replies = await asyncio.gather(*(agency.book(scene.property_id, stay) for agency, stay in wanted))
    assert {reply.status for reply in replies} == {201, 409}
    sold = [nights_of(stay) for (_, stay), reply in zip(wanted, replies, strict=True) if reply.status == 201]
    assert sum(map(len, sold)) == len(set().union(*sold)), "two acknowledged stays share a night"
    await check_everything(running)
