"""Proves that background loops outlive their failures and end with their process."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from runtime.loops import Loops


class Breaks(Exception):
    """What a step may run into."""


async def test_a_failing_loop_is_started_again() -> None:
    starts = 0
    runs = asyncio.Event()

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise Breaks
        runs.set()
        await asyncio.Event().wait()

    async with Loops() as loops:
        loops.keep(run, "frail")
        await asyncio.wait_for(runs.wait(), 5)
    assert starts == 3


async def test_a_failing_step_is_not_the_end_of_its_timed_loop() -> None:
    calls = 0
    done = asyncio.Event()

    async def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Breaks
        if calls == 4:
            done.set()

    async with Loops() as loops:
        loops.every(0.01, step, "frail")
        await asyncio.wait_for(done.wait(), 5)


async def test_one_failing_loop_does_not_hold_up_another() -> None:
    ticks = 0

    async def fail() -> None:
        raise Breaks

    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    async with Loops() as loops:
        loops.every(0.01, fail, "frail")
        loops.every(0.01, tick, "steady")
        await asyncio.sleep(0.3)
    assert ticks > 5


async def test_a_failing_loop_waits_longer_each_time_and_does_not_spin() -> None:
    starts: list[float] = []

    async def run() -> None:
        starts.append(asyncio.get_running_loop().time())
        raise Breaks

    async with Loops() as loops:
        loops.keep(run, "frail")
        await asyncio.sleep(0.8)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert len(pauses) >= 2
    assert pauses[0] >= 0.1
    assert pauses[1] > pauses[0] * 1.5


async def test_loops_are_cancelled_at_exit_and_waited_for() -> None:
    log: list[str] = []

    async def run() -> None:
        log.append("runs")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            log.append("cleaned up")

    async with Loops() as loops:
        loops.keep(run, "steady")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert log == ["runs", "cleaned up"]


async def test_an_error_in_the_block_still_ends_the_loops() -> None:
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        async with Loops() as loops:
            loops.keep(run, "steady")
            await asyncio.sleep(0.01)
            raise Breaks

    with pytest.raises(Breaks):
        await fail()
    assert ended.is_set()


async def test_a_cancellation_that_was_meant_for_another_task_does_not_end_a_loop() -> None:
    """As aiokafka's `stop()` raises when it awaits a task of its own that it has just cancelled."""
    starts = 0
    runs = asyncio.Event()

    async def run() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            other = asyncio.create_task(asyncio.sleep(10))
            other.cancel()
            await other
        runs.set()
        await asyncio.Event().wait()

    async with Loops() as loops:
        loops.keep(run, "frail")
        await asyncio.wait_for(runs.wait(), 5)
