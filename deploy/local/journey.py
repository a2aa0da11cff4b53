"""Owns the guided journey: a real stay booked through the running services, a step at a time; called by the run.

It is a client like any other: it speaks to the gateway, and the OTA in it is a simulator that speaks HTTP to the suite.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from deploy.local.journey_client import (
    Agency,
    NotYet,
    Reply,
    Unexpected,
    closed_nights,
    nights_of,
    public_api,
    until,
)
from deploy.local.journey_scene import Scene, Stay, new_code, open_scene
from deploy.local.services import AVAILABILITY, BOOKING, CHANNEL_SYNC, GATEWAY, Suite
from deploy.local.steps import Step, Steps
from tests.e2e.infra.ota_simulator import OtaSimulator

RIVALS = 10
FIRST_DAY = 30  # days from today


class JourneyFailed(Exception):
    """A step saw something else than it must; the text says what was expected, what came and where to look."""


def guided_journey(suite: Suite, steps: Steps) -> str:
    """Walk the journey on ready services, each step recorded in `steps`; the id of the agency it was walked for.

    The agency is new in each run, so a journey never meets what an earlier one left in the surviving data. Raises
    `StepFailed`.
    """
    return asyncio.run(_walk(suite, steps))


async def _walk(suite: Suite, steps: Steps) -> str:
    api_url = public_api(suite.url(GATEWAY))
    async with OtaSimulator() as ota, Agency(api_url, suite.secrets.jwt_secret) as agency:
        journey = _Journey(steps, agency, ota)
        scene = await journey.create_property()
        booked = await journey.book(scene)
        await journey.see_nights_closed(scene, booked)
        await journey.see_ota_told(scene, booked)
        await journey.refuse_same_nights(scene)
        await journey.let_rivals_race(scene)
        await journey.sell_free_nights(scene)
        code = await journey.sell_taken_nights(scene)
        await journey.cancel(scene, booked, code)
        await journey.withdraw(scene, code)
        return agency.id


class _Journey:
    """The steps, in their order; each names the services whose logs tell more when it fails."""

    def __init__(self, steps: Steps, agency: Agency, ota: OtaSimulator) -> None:
        self._steps = steps
        self._agency = agency
        self._ota = ota
        self._first_day = datetime.now(UTC).date() + timedelta(days=FIRST_DAY)
        self._stay = self._days(0, 3)
        self._longer_stay = self._days(0, 5)

    async def create_property(self) -> Scene:
        with self._step("property created", GATEWAY, BOOKING, CHANNEL_SYNC) as step:
            scene = await open_scene(self._agency, self._ota)
            step.trace_id = scene.created.trace_id
            step.ms = scene.created.ms
            step.detail = f"{scene.property_id}, listed at the OTA as {scene.listing_id}"
        return scene

    async def book(self, scene: Scene) -> Reply:
        with self._step("guest books (201)", GATEWAY, BOOKING) as step:
            reply = await self._agency.book(scene.property_id, self._stay)
            booking = reply.expect(201)
            step.trace_id, step.ms = reply.trace_id, reply.ms
            step.detail = f"{booking['id']}, {_dates(self._stay)}, inventory_version {booking['inventory_version']}"
        return reply

    async def see_nights_closed(self, scene: Scene, booked: Reply) -> None:
        with self._step("availability shows the nights closed", AVAILABILITY, BOOKING) as step:
            seen = await scene.shown(self._stay, closed=nights_of(self._stay), kind="reservation")
            step.trace_id, step.ms = booked.trace_id, _ms(booked.ended, seen.ended)
            step.detail = f"since the 201; lag_ms {seen.body['lag_ms']}, source {seen.body['source']}"

    async def see_ota_told(self, scene: Scene, booked: Reply) -> None:
        with self._step("the OTA simulator was told", CHANNEL_SYNC, BOOKING) as step:
            told = await scene.told(self._stay, "closed")
            step.trace_id, step.ms = booked.trace_id, _ms(booked.ended, told.at)
            step.detail = f"since the 201; inventory_version {told.inventory_version}"

    async def refuse_same_nights(self, scene: Scene) -> None:
        with self._step("same nights again: 409 inventory_overlap naming the range", GATEWAY, BOOKING) as step:
            reply = await self._agency.book(scene.property_id, self._stay)
            problem = reply.expect(409)
            came = (problem["code"], problem.get("conflict"))
            start, end = map(str, self._stay)
            _require("409 naming the range", came, _overlap("reservation", start, end))
            step.trace_id, step.ms, step.detail = reply.trace_id, reply.ms, f"{problem['conflict']}"

    async def let_rivals_race(self, scene: Scene) -> None:
        with self._step("10 concurrent requests for other nights: one 201, nine 409", GATEWAY, BOOKING) as step:
            stay = self._days(10, 12)
            replies = await asyncio.gather(*(self._agency.book(scene.property_id, stay) for _ in range(RIVALS)))
            _require("answers", Counter(reply.status for reply in replies), Counter({409: RIVALS - 1, 201: 1}))
            winner = next(reply for reply in replies if reply.status == 201)
            step.trace_id, step.detail = winner.trace_id, f"{_dates(stay)}: {winner.body['id']} won"

    async def sell_free_nights(self, scene: Scene) -> None:
        with self._step("OTA books free nights: a confirmed reservation", GATEWAY, CHANNEL_SYNC, BOOKING) as step:
            code, stay = new_code(), self._days(20, 23)
            step.trace_id = await scene.sell(stay, code)
            reservation = await scene.reservation(code, "confirmed")
            step.detail = f"{code}: {reservation['id']}, {_dates(stay)}"

    async def sell_taken_nights(self, scene: Scene) -> str:
        with self._step(
            "OTA books partly taken nights: kept as overbooked, its still-free nights closed too",
            GATEWAY,
            CHANNEL_SYNC,
            BOOKING,
        ) as step:
            code, stay = new_code(), self._longer_stay
            still_free = (self._stay[1], stay[1])
            step.trace_id = await scene.sell(stay, code)
            reservation = await scene.reservation(code, "overbooked")
            await scene.shown(still_free, closed=nights_of(still_free), kind="conflict")
            await scene.told(still_free, "closed")
            step.detail = f"{code}: {reservation['id']} kept, {_dates(still_free)} closed too, here and at the OTA"
        return code

    async def cancel(self, scene: Scene, booked: Reply, code: str) -> None:
        """Until the cancellation is known everywhere, no look may show one of the nights open."""
        with self._step(
            "the guest cancels: nights stay closed, the overbooked reservation is confirmed",
            BOOKING,
            AVAILABILITY,
            CHANNEL_SYNC,
        ) as step:
            pushed_before = len(self._ota.pushes)
            reply = await self._agency.cancel(booked.body["id"])
            reply.expect(200)
            step.trace_id = reply.trace_id
            confirmed = await scene.reservation(code, "confirmed")
            version = confirmed["inventory_version"]
            await self._watch_closed_until(scene, version)
            await scene.told(self._longer_stay, "closed", version)
            nights = nights_of(self._longer_stay)
            reopened = [
                push
                for push in self._ota.pushes[pushed_before:]
                if push.ota_listing_id == scene.listing_id and any(push.value_of(night) == "open" for night in nights)
            ]
            _require("pushes that opened a night", reopened, [])
            step.detail = f"{code}: {confirmed['id']} is confirmed for {_dates(self._longer_stay)}"

    async def withdraw(self, scene: Scene, code: str) -> None:
        with self._step(
            "the OTA cancels it: nights open again, in availability and at the OTA", CHANNEL_SYNC, BOOKING, AVAILABILITY
        ) as step:
            step.trace_id = await scene.withdraw(code)
            await scene.reservation(code, "cancelled")
            await scene.shown(self._longer_stay, closed=set())
            await scene.told(self._longer_stay, "open")
            step.detail = f"{_dates(self._longer_stay)} open in availability and at the OTA"

    async def _watch_closed_until(self, scene: Scene, version: int) -> None:
        nights = nights_of(self._longer_stay)

        async def look() -> None:
            answer = await scene.availability(self._longer_stay)
            _require("closed nights all the while", closed_nights(answer["ranges"]), nights)
            if answer["inventory_version"] < version or closed_nights(answer["ranges"], "reservation") != nights:
                raise NotYet(f"{answer}")

        await until(look, f"availability at version {version}")

    def _days(self, first: int, last: int) -> Stay:
        return self._first_day + timedelta(days=first), self._first_day + timedelta(days=last)

    @contextmanager
    def _step(self, name: str, *services: str) -> Iterator[Step]:
        with self._steps.step(name) as step:
            try:
                yield step
            except Exception as error:
                logs = " ".join(str(self._steps.folder / "logs" / f"{service}.log") for service in services)
                raise JourneyFailed(f"{type(error).__name__}: {error}\n  look into: {logs}") from error


def _overlap(kind: str, start: str, end: str) -> tuple[str, dict[str, str]]:
    return "inventory_overlap", {"kind": kind, "start_date": start, "end_date": end}


def _require(what: str, came: Any, expected: Any) -> None:
    if came != expected:
        raise Unexpected(f"{what}: expected {expected}, came {came}")


def _dates(stay: tuple[date, date]) -> str:
    return f"{stay[0]} to {stay[1]}"


def _ms(began: float, ended: float) -> float:
    return round((ended - began) * 1000, 1)
