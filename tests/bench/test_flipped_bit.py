"""I12, I22: how long a wrong bit in a replica's memory lives, and how long comparing with booking takes all round.

The memory and the loops that compare and repair are availability's own, beside a real booking process; bits are turned
at any moment of the round through the properties.
"""

from __future__ import annotations

import asyncio
import random
import time
from uuid import UUID

import pytest

from availability.clients import Booking
from availability.service.anti_entropy import AntiEntropy
from availability.service.cache import Cache
from availability.service.resync import Resync
from availability.settings import AvailabilitySettings
from deploy.local.ports import HOST
from runtime.loops import Loops
from tests.bench.effort import PROPERTIES as LARGE
from tests.bench.effort import QUICK, ROUNDS
from tests.bench.report import Report
from tests.bench.seed import PARTITIONS, multiply_ranges, seed_ledger
from tests.bench.stage import OUTBOX, Stage
from tests.bench.traffic import property_id

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

PROPERTIES = 2_000 if QUICK else 20_000
RANGES_EACH = 5 if QUICK else 50
HEALED_S, GIVE_UP_S = 60.0, 600.0
LOOK_S = 0.05
READERS = 8
SETTINGS = {name: field.default for name, field in AvailabilitySettings.model_fields.items()}


def test_a_flipped_bit_is_healed_within_a_minute(stage: Stage, report: Report) -> None:
    ranges = PROPERTIES * RANGES_EACH
    section = report.section("bit", f"I12: a wrong bit in memory, {PROPERTIES:,} properties, {ranges:,} ranges")
    stage.ledger()
    with stage.copy(OUTBOX) as database:
        with stage.product(database) as (target,):
            url = f"http://{HOST}:{target[1]}"
            asyncio.run(seed_ledger(stage.admin(database), url, stage.jwt_secret, PROPERTIES))
        asyncio.run(multiply_ranges(stage.admin(database), PROPERTIES, range(1, RANGES_EACH)))
        stage.sql(database, "VACUUM ANALYZE inventory_ranges")
        with stage.product(database) as (target,):
            url = f"http://{HOST}:{target[1]}"
            seconds, cpu_s = asyncio.run(_measure(url, stage.jwt_secret, PROPERTIES))
    section.limit("flipped to healed", section.add("flipped to healed", seconds, "s"), HEALED_S)
    section.add("processor time of the replica", [cpu_s], "s/min", "the loops that compare and repair")
    assert max(seconds) < GIVE_UP_S


def test_a_round_through_a_large_replica(stage: Stage, report: Report) -> None:
    section = report.section("round", "I12: once through all properties, one range each")
    database = stage.ledger()
    with stage.product(database) as (target,):
        seconds = asyncio.run(_one_round(f"http://{HOST}:{target[1]}", stage.jwt_secret, LARGE))
    section.add(f"{LARGE:,} properties", [seconds], "s", f"{SETTINGS['digests_per_s']:.0f} properties a second")


async def _measure(url: str, secret: str, properties: int) -> tuple[list[float], float]:
    """Seconds from each flip to its repair, and processor seconds of a minute."""
    async with Booking(url, secret) as booking, Loops() as loops:
        cache = await _filled(booking, properties)
        compared = AntiEntropy(cache, booking, SETTINGS["digests_per_s"], SETTINGS["digest_round_s"])
        loops.keep(compared.run, "comparison")
        loops.keep(Resync(cache, booking, SETTINGS["resyncs_per_s"]).run_wanted, "resync")
        began, cpu_s = time.monotonic(), time.process_time()
        chance, seconds = random.Random(1), []
        for _ in range(ROUNDS):
            await asyncio.sleep(chance.uniform(0, 5))
            seconds.append(await _heal(cache, property_id(chance.randrange(properties)), chance))
        used_s = (time.process_time() - cpu_s) / (time.monotonic() - began) * 60
    return seconds, used_s


async def _one_round(url: str, secret: str, properties: int) -> float:
    async with Booking(url, secret) as booking:
        cache = await _filled(booking, properties)
        began = time.monotonic()
        await AntiEntropy(cache, booking, SETTINGS["digests_per_s"], 0.0)._go_round()
        return time.monotonic() - began


async def _filled(booking: Booking, properties: int) -> Cache:
    """A cache with the states of all properties, as booking answers them."""
    cache, wanted = Cache(PARTITIONS), iter(range(properties))

    async def read() -> None:
        for number in wanted:
            answer = await booking.state(property_id(number))
            assert answer is not None
            cache.apply_ledger(answer, 0)

    await asyncio.gather(*(read() for _ in range(READERS)))
    cache.report_caught_up()
    return cache


async def _heal(cache: Cache, victim: UUID, chance: random.Random) -> float:
    """Turn one bit and wait until it is right again."""
    row = cache.store.find(victim)
    assert row is not None
    nights = cache.store.taken._nights
    nights.put(row, nights.get(row) ^ 1 << chance.randrange(nights.end - nights.first), nights.first, nights.end)
    assert not cache.bits_agree(victim)
    began = time.monotonic()
    while not cache.bits_agree(victim):
        assert time.monotonic() - began < GIVE_UP_S
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began
