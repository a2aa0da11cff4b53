"""Owns the clients whose history is judged: random requests on a few properties, each recorded; for test_histories."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import aiohttp

from deploy.local.journey_client import Agency, new_trace_id
from tests.e2e.infra.history_records import NEVER, PLACING, UNDECIDED, Action, Nights, Operation

NIGHTS = 30
LONGEST_STAY = 4
GUESTS = 100
# A hold outlasts any history, so that only a release ends it.
HOLD_S = 24 * 3600
RETRY_AFTER_S = 0.1
REFUSED_CONNECTION_PAUSE_S = 0.05
# How often each request is chosen, in parts.
CHOICES: dict[str, int] = {"book": 33, "hold": 14, "modify": 15, "cancel": 18, "release": 9, "again": 6, "twice": 5}
GIVE_UP = 0.15


@dataclass(frozen=True)
class Placed:
    """A reservation or hold the clients know of."""

    property_id: str
    record_id: str


@dataclass
class Clients:
    """Clients of one agency at several processes. `under_way` holds what was sent and not answered, by trace id.

    Random in the order of requests, seeded per client; what they race for is not repeatable.
    """

    processes: Sequence[Agency]
    properties: Sequence[str]
    first_night: date
    seed: int
    operations: list[Operation] = field(default_factory=list)
    under_way: dict[str, Agency] = field(default_factory=dict)
    stopping: bool = False
    _booked: list[Placed] = field(default_factory=list)
    _held: list[Placed] = field(default_factory=list)
    _keyed: dict[str, Operation] = field(default_factory=dict)

    async def run(self, number: int) -> None:
        """One client: request after request until `stopping`; the last one is waited for."""
        dice = random.Random(f"{self.seed}/{number}")
        while not self.stopping:
            chosen = dice.choices(list(CHOICES), list(CHOICES.values()))[0]
            asked = self._next(dice, chosen, number)
            if asked is None:
                continue
            if chosen == "twice":
                await asyncio.gather(self._until_known(dice, asked), self._until_known(dice, asked))
            else:
                await self._until_known(dice, asked)

    def _next(self, dice: random.Random, chosen: str, number: int) -> Operation | None:
        """The request, not sent yet; None when there is nothing to ask it about."""
        start = dice.randrange(NIGHTS - LONGEST_STAY)
        wanted = self._nights(start, start + dice.randint(1, LONGEST_STAY))
        match chosen:
            case "book" | "twice" | "hold":
                action: Action = "hold" if chosen == "hold" else "book"
                key = f"{number}-{uuid.uuid4().hex}"
                return Operation("", action, dice.choice(self.properties), 0.0, wanted, key=key, client=number)
            case "again" if self._keyed:
                return replace(self._keyed[dice.choice(list(self._keyed))], client=number)
            case "modify" | "cancel" if self._booked:
                target = self._pick(dice, self._booked, keeps=chosen == "modify")
                return self._aimed("modify" if chosen == "modify" else "cancel", target, wanted, number)
            case "release" if self._held:
                return self._aimed("release", self._pick(dice, self._held, keeps=False), wanted, number)
        return None

    def _aimed(self, action: Action, target: Placed, wanted: Nights, number: int) -> Operation:
        nights = wanted if action == "modify" else None
        return Operation("", action, target.property_id, 0.0, nights, target.record_id, client=number)

    def _pick(self, dice: random.Random, known: list[Placed], *, keeps: bool) -> Placed:
        # One in five that is ended stays known, so that others end or change it once more.
        number = dice.randrange(len(known))
        return known[number] if keeps or dice.random() < 0.2 else known.pop(number)

    def _nights(self, first: int, last: int) -> Nights:
        return self.first_night + timedelta(days=first), self.first_night + timedelta(days=last)

    async def _until_known(self, dice: random.Random, asked: Operation) -> None:
        """Ask, and ask again at any process while the outcome is unknown, unless the client gives up."""
        while True:
            made = await self._ask(dice.choice(self.processes), asked)
            if made is not None and not made.is_unknown:
                if made.is_acknowledged and made.action in PLACING:
                    self._remember(made)
                return
            if made is not None and made.code != UNDECIDED and dice.random() < GIVE_UP:
                return
            await asyncio.sleep(RETRY_AFTER_S if made is not None else REFUSED_CONNECTION_PAUSE_S)

    def _remember(self, made: Operation) -> None:
        if made.key not in self._keyed:
            known = self._booked if made.action == "book" else self._held
            known.append(Placed(made.property_id, str(made.body["id"])))
            self._keyed[made.key] = replace(made, trace_id="", answered=NEVER, status=None, content=b"")

    async def _ask(self, process: Agency, asked: Operation) -> Operation | None:
        """Send a request and record it; None when it could not be sent at all, which is no part of the history."""
        sent = replace(asked, trace_id=new_trace_id(), began=time.monotonic())
        self.under_way[sent.trace_id] = process
        try:
            method, path, body = _request(sent)
            headers = {"Idempotency-Key": sent.key} if sent.key else None
            reply = await process.request(method, path, body, headers=headers, trace_id=sent.trace_id)
            made = replace(sent, answered=time.monotonic(), status=reply.status, content=reply.content)
        except aiohttp.ClientConnectorError:
            # aiohttp sends a DELETE again by itself when a kept connection broke: then this was not the first try.
            if sent.action != "release":
                return None
            made = sent
        except (aiohttp.ClientError, TimeoutError, OSError):
            made = sent
        finally:
            del self.under_way[sent.trace_id]
        self.operations.append(made)
        return made


def _request(sent: Operation) -> tuple[str, str, Mapping[str, Any] | None]:
    stay = {"check_in": str(sent.nights[0]), "check_out": str(sent.nights[1])} if sent.nights else {}
    match sent.action:
        case "book":
            # The same body for the same key; guests are shared, so that their records are raced for too.
            guest = {"name": "Guest", "email": f"guest-{int(sent.key[-8:], 16) % GUESTS}@example.org"}
            body = {"property_id": sent.property_id, **stay, "occupancy": {"adults": 2}, "guest": guest}
            return "POST", "/bookings", {**body, "notes": sent.key}
        case "hold":
            return "POST", "/holds", {"property_id": sent.property_id, **stay, "expires_in_s": HOLD_S}
        case "modify":
            return "PATCH", f"/bookings/{sent.record_id}", stay
        case "cancel":
            return "POST", f"/bookings/{sent.record_id}/cancel", None
        case "release":
            return "DELETE", f"/holds/{sent.record_id}", None
