"""Owns a load of bookings that notes what was asked, what was acknowledged and what stayed unknown; for fault tests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta

import aiohttp

from deploy.local.journey_client import Agency, NotYet, Reply, until

LANES = 6
Stay = tuple[date, date]


@dataclass
class Attempt:
    """One booking asked for under its own key; `reply` is None while, or when, no answer came."""

    key: str
    property_id: str
    stay: Stay
    guest: dict[str, str]
    reply: Reply | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client was told that the stay is booked."""
        return self.reply is not None and self.reply.status == 201


@dataclass
class Load:
    """Bookings of one night each, night after night, no two alike, by several clients at once."""

    agency: Agency
    properties: list[str]
    first_night: date
    pause_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    _next: int = 0

    async def ask(self, attempt: Attempt) -> None:
        """Send a booking, for the first time or again; the reply stays as it is when no answer comes."""
        self.under_way.add(attempt.key)
        try:
            attempt.reply = await self.agency.book(
                attempt.property_id, attempt.stay, key=attempt.key, guest=attempt.guest
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        finally:
            self.under_way.discard(attempt.key)

    def acknowledged(self) -> list[Attempt]:
        """What was acknowledged so far."""
        return [attempt for attempt in self.attempts if attempt.is_acknowledged]

    def unknown(self) -> list[Attempt]:
        """What got another answer or none: it may be booked or not."""
        return [attempt for attempt in self.attempts if not attempt.is_acknowledged]

    async def _lane(self) -> None:
        while True:
            number, self._next = self._next, self._next + 1
            night = self.first_night + timedelta(days=number // len(self.properties))
            attempt = Attempt(
                uuid.uuid4().hex,
                self.properties[number % len(self.properties)],
                (night, night + timedelta(days=1)),
                {"name": "Load", "email": f"{uuid.uuid4().hex}@example.org"},
            )
            self.attempts.append(attempt)
            await self.ask(attempt)
            await asyncio.sleep(self.pause_s if attempt.is_acknowledged else max(self.pause_s, 0.05))

    @asynccontextmanager
    async def running(self, lanes: int = LANES) -> AsyncIterator[None]:
        """Keep asking; what is under way at the end is given up, so its outcome is unknown."""
        tasks = [asyncio.create_task(self._lane()) for _ in range(lanes)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_for(self, acknowledged: int, patience_s: float = 30.0) -> None:
        """Return once that many bookings were acknowledged."""

        async def look() -> None:
            if len(self.acknowledged()) < acknowledged:
                raise NotYet(f"{len(self.acknowledged())}")

        await until(look, f"{acknowledged} acknowledged bookings", patience_s)
