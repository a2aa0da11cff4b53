"""Wires availability: booking's client, the cache, the loops that fill and repair it, the HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from availability import api
from availability.clients import Booking
from availability.consumers import Tail
from availability.service.answers import Answers
from availability.service.anti_entropy import AntiEntropy
from availability.service.cache import Cache
from availability.service.checks import Checks
from availability.service.reading import Reader
from availability.service.resync import Resync
from availability.service.saving import Saving
from availability.service.searching import Searches
from availability.settings import AvailabilitySettings
from contracts.topics import owned_by
from runtime.cli import Service
from runtime.http import create_app
from runtime.kafka import DeadLetters
from runtime.loops import Loops

NAME = "availability"
FORGET_INTERVAL_S = 3600.0
ROLL_INTERVAL_S = 5.0


def build(settings: AvailabilitySettings, roles: frozenset[str]) -> FastAPI:
    """The application of one replica.

    There is one role, `api`: the cache lives in the memory of the process that answers from it, so a process that only
    consumed or only answered would be useless. Scaling adds whole replicas.
    """
    cache = Cache(settings.kafka_partitions)
    jwt_secret = settings.jwt_secret.get_secret_value()
    booking = Booking(settings.booking_url, jwt_secret)
    letters = DeadLetters(settings.kafka_bootstrap_servers, NAME)
    saving = Saving(cache, settings.snapshot_path)
    tail = Tail(settings, cache, letters, saving)
    resync = Resync(cache, booking, settings.resyncs_per_s)
    anti_entropy = AntiEntropy(cache, booking, settings.digests_per_s, settings.digest_round_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with booking, Loops() as loops:
            loops.keep(tail.run, "tail")
            loops.keep(resync.run_wanted, "resync of wanted properties")
            loops.keep(resync.run_losses, "comparison of lost partitions")
            loops.keep(anti_entropy.run, "anti-entropy")
            loops.every(ROLL_INTERVAL_S, cache.roll_window, "moving the window to a new day")
            loops.every(FORGET_INTERVAL_S, cache.forget_past, "forgetting past ranges")
            loops.every(settings.snapshot_interval_s, lambda: saving.save(tail.places), "writing the snapshot file")
            yield
            await saving.save(tail.places)
        await letters.close()

    async def cache_is_ready() -> str | None:
        return cache.missing()

    app = create_app(
        NAME,
        jwt_secret=jwt_secret,
        lifespan=lifespan,
        routers=[api.public, api.internal],
        readiness={"cache": cache_is_ready},
        domain_errors=api.DOMAIN_ERRORS,
    )
    reader = Reader(cache, booking, settings.max_cache_lag_ms, settings.version_wait_ms)
    app.state.answers = Answers(cache, reader)
    app.state.checks = Checks(cache, reader)
    app.state.searches = Searches(cache, reader)
    return app


SERVICE = Service(
    name=NAME,
    roles=("api",),
    settings=AvailabilitySettings,
    build=build,
    topics=owned_by(NAME),
)
