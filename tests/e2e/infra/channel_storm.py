"""Owns a storm of bookings and OTA revisions at many channels that misbehave; used by the proof of channels' truth.

Every choice comes from one seed. What was sent is remembered: which revisions each channel was told are stored.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import aiohttp

from deploy.local.journey_client import Agency, Reply
from tests.e2e.infra.ota_simulator import Misbehaviour, OtaSimulator
from tests.e2e.infra.running import days

NIGHTS = 45
LONGEST = 4
FAULTS = (
    Misbehaviour(500),
    Misbehaviour(429, {"Retry-After": "1"}),
    Misbehaviour(503, {"Retry-After": "1"}),
    Misbehaviour(400),
    Misbehaviour(200, {"Content-Type": "text/html"}, "<html>log in</html>"),
    Misbehaviour(cut=True),
    Misbehaviour(cut=True, applies=True),
    Misbehaviour(delay_s=1.6, applies=True),
    Misbehaviour(delay_s=1.6),
    Misbehaviour(delay_s=0.4, applies=True),
)


@dataclass
class Channel:
    """One channel: its connection, where it sends revisions, and the ids of those it was told are stored."""

    ota: OtaSimulator
    connection_id: str
    inbound_url: str
    stored: set[str] = field(default_factory=set)
    reservations: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Storm:
    """The channels and properties; a listing of property `p` is called `p` at every channel."""

    agency: Agency
    channels: list[Channel]
    properties: list[str]
    dice: random.Random
    booked: list[str] = field(default_factory=list)
    unanswered: int = 0

    def nights(self) -> tuple[date, date]:
        """A stay."""
        first = self.dice.randrange(NIGHTS)
        return days(first, first + self.dice.randint(1, LONGEST))

    async def step(self) -> None:
        """One thing happens: a fault is planned, somebody books or cancels, a channel sells or takes it back."""
        if self.dice.random() < 0.5:
            channel = self.dice.choice(self.channels)
            channel.ota.answer_next(self.dice.choice(FAULTS), times=self.dice.randint(1, 2))
        if self.dice.random() < 0.4:
            await self._direct()
        else:
            await self._revision(self.dice.choice(self.channels))

    async def _direct(self) -> None:
        if self.booked and self.dice.random() < 0.4:
            await self.agency.cancel(self.booked.pop(self.dice.randrange(len(self.booked))))
            return
        reply: Reply = await self.agency.book(self.dice.choice(self.properties), self.nights())
        if reply.status == 201:
            self.booked.append(reply.body["id"])

    async def _revision(self, channel: Channel) -> None:
        """A new reservation, or a change or cancellation of one, which may arrive before what it changes."""
        known = channel.reservations
        if known and self.dice.random() < 0.5:
            reservation = self.dice.choice(known)
            reservation["number"] += 1
            status = self.dice.choice(["modified", "cancelled"])
        else:
            reservation = {
                "code": f"R{uuid.uuid4().hex[:10]}",
                "listing": self.dice.choice(self.properties),
                "number": 1,
            }
            known.append(reservation)
            status = "new"
        check_in, check_out = self.nights()
        sent: dict[str, Any] = {
            "ota_listing_id": reservation["listing"],
            "ota_reservation_code": reservation["code"],
            "revision_id": f"{reservation['code']}/{reservation['number']}",
            "published_at": f"2026-11-01T12:{reservation['number'] // 60:02d}:{reservation['number'] % 60:02d}Z",
            "status": status,
            "check_in": check_in,
            "check_out": check_out,
        }
        for _ in range(self.dice.choice([1, 1, 2])):  # channels repeat themselves
            await self._send(channel, sent)

    async def _send(self, channel: Channel, sent: dict[str, Any]) -> None:
        """Send until it is stored, as a channel does."""
        for _ in range(200):
            try:
                reply = await channel.ota.send_revision(channel.inbound_url, **sent)
            except (aiohttp.ClientError, TimeoutError):
                self.unanswered += 1
            else:
                if reply.status in (200, 202):
                    channel.stored.add(sent["revision_id"])
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"revision {sent['revision_id']} was never taken")
