"""Owns a channel as the suite meets it: an HTTP server speaking the generic JSON protocol; used by tests and journey.

It takes signed pushes and believes them, keeps the calendar it was told per listing with every value's version and
arrival, misbehaves on request, and sends signed revisions. Written from the protocol's page, not from the suite's code,
so that a mistake there is not repeated here.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import aiohttp
from aiohttp import web

from tests.e2e.infra.web_server import close, listen

TIMESTAMP_HEADER = "X-PMS-Timestamp"
SIGNATURE_HEADER = "X-PMS-Signature"
WINDOW_S = 300
REQUEST_TIMEOUT_S = 30.0

Value = Literal["open", "closed"]
Found = TypeVar("Found")


class NotSeen(AssertionError):
    """What was waited for did not arrive in time; the message says what the channel believes instead."""


@dataclass(frozen=True, slots=True)
class Night:
    """What the channel was told of one night: `at` is the monotonic clock when the push arrived."""

    value: Value
    inventory_version: int
    at: float


@dataclass(frozen=True, slots=True)
class Push:
    """One push the channel dealt with: `applied` says whether it believes it, `at` when it arrived (monotonic).

    `details` are its ranges of nights with everything that was said of them, as they came.
    """

    ota_listing_id: str
    inventory_version: int
    days: tuple[tuple[date, date, Value], ...]
    status: int
    applied: bool
    at: float
    traceparent: str | None
    details: tuple[tuple[date, date, dict[str, Any]], ...] = ()

    def value_of(self, night: date) -> Value | None:
        """What this push says of a night."""
        return next((value for start, end, value in self.days if start <= night < end), None)


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How one push is answered instead of a plain 200; it is believed only when `applies`.

    `delay_s` passes before it is believed and answered; `cut` closes the connection instead of answering.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    delay_s: float = 0.0
    applies: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What the suite answered to a revision."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


class OtaSimulator:
    """One channel: `async with OtaSimulator() as ota`, then connect with `endpoint_url` and `secret`."""

    def __init__(self, secret: str | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.secret = secret or secrets.token_hex(24)
        self.pushes: list[Push] = []
        self.refused: list[str] = []
        self.calendars: dict[str, dict[date, Night]] = {}
        self.details: dict[str, dict[date, dict[str, Any]]] = {}
        self._host = host
        self._port = port
        self._plan: deque[Misbehaviour] = deque()
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Listen; the port is known afterwards."""
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_post("/{path:.*}", self._receive)
        application.router.add_get("/{path:.*}", self._tested)
        # A timed-out push must not end with its client: a real channel goes on with it.
        self._runner = await listen(application, self._host, self._port, handler_cancellation=False)
        self._port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the server and all its connections."""
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await close(self._runner)

    @property
    def endpoint_url(self) -> str:
        """Where the suite pushes to; any other path is served alike."""
        return f"http://{self._host}:{self._port}/push"

    @property
    def planned(self) -> int:
        """How many misbehaviours are still to come."""
        return len(self._plan)

    # --- misbehaving

    def answer_next(self, misbehaviour: Misbehaviour, times: int = 1) -> None:
        """Answer the next pushes like this; what was planned before comes first."""
        self._plan.extend([misbehaviour] * times)

    def fail_next(self, times: int = 1, *, status: int = 500, retry_after_s: int | None = None) -> None:
        """Answer the next pushes with an error and do not believe them."""
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else {}
        self.answer_next(Misbehaviour(status, headers, '{"error": "no"}'), times)

    def html_next(self, times: int = 1, *, status: int = 200) -> None:
        """Answer the next pushes with a web page, as a proxy in between would, and do not believe them."""
        page = "<!doctype html><html><body>Please log in</body></html>"
        self.answer_next(Misbehaviour(status, {"Content-Type": "text/html"}, page), times)

    def slow_next(self, seconds: float, times: int = 1, *, applies: bool = True) -> None:
        """Believe and answer the next pushes only after some seconds, whether the suite still waits or not."""
        self.answer_next(Misbehaviour(delay_s=seconds, applies=applies), times)

    def lose_answer_next(self, times: int = 1) -> None:
        """Believe the next pushes and close the connection instead of answering."""
        self.answer_next(Misbehaviour(applies=True, cut=True), times)

    def behave(self) -> None:
        """Misbehave no more, whatever was planned."""
        self._plan.clear()

    # --- what the channel believes

    def night(self, ota_listing_id: str, night: date) -> Night | None:
        """What the channel was last told of a night."""
        return self.calendars.get(ota_listing_id, {}).get(night)

    def closed_nights(self, ota_listing_id: str) -> set[date]:
        """The nights the channel believes closed."""
        return {day for day, night in self.calendars.get(ota_listing_id, {}).items() if night.value == "closed"}

    async def wait_until(self, ota_listing_id: str, night: date, value: Value, timeout_s: float = 10.0) -> Night:
        """Wait until the channel believes a night open or closed; returns what it was told. Raises `NotSeen`."""

        def told() -> Night | None:
            found = self.night(ota_listing_id, night)
            return found if found is not None and found.value == value else None

        return await self.wait_for(told, timeout_s, f"{ota_listing_id} {night} {value}")

    async def wait_until_under_way(self, timeout_s: float = 10.0) -> None:
        """Wait until the last planned misbehaviour has begun. Raises `NotSeen`."""
        await self.wait_for(lambda: True if not self._plan else None, timeout_s, "the planned push under way")

    async def wait_for_pushes(self, count: int, timeout_s: float = 10.0) -> list[Push]:
        """Wait until that many pushes arrived, believed or not. Raises `NotSeen`."""
        return await self.wait_for(
            lambda: list(self.pushes) if len(self.pushes) >= count else None, timeout_s, f"{count} pushes"
        )

    async def wait_for(self, look: Callable[[], Found | None], timeout_s: float, what: str) -> Found:
        """Wait until `look` finds something; it is asked again when a push arrives and when it is believed."""
        deadline = time.monotonic() + timeout_s
        async with self._changed:
            while (found := look()) is None:
                try:
                    await asyncio.wait_for(self._changed.wait(), max(deadline - time.monotonic(), 0.0))
                except TimeoutError:
                    last = self.pushes[-1] if self.pushes else "nothing"
                    raise NotSeen(f"not seen in {timeout_s} s: {what}; last push: {last}") from None
            return found

    # --- sending revisions

    async def send_revision(
        self,
        inbound_url: str,
        *,
        ota_listing_id: str,
        check_in: date | None = None,
        check_out: date | None = None,
        status: str = "new",
        ota_reservation_code: str | None = None,
        revision_id: str | None = None,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Reply:
        """Send one signed revision; `fields` (`published_at`, `guest`, ...) go into the body as they are."""
        body = {
            "revision_id": revision_id or f"rev-{uuid.uuid4()}",
            "status": status,
            "ota_name": "simulator",
            "ota_reservation_code": ota_reservation_code or f"SIM-{uuid.uuid4().hex[:12].upper()}",
            "ota_listing_id": ota_listing_id,
            "check_in": check_in.isoformat() if check_in is not None else None,
            "check_out": check_out.isoformat() if check_out is not None else None,
            "occupancy": {"adults": 2},
            "guest": {"name": "Simulated Guest", "email": "guest@channel.example"},
            "total_amount_minor": 20000,
            "currency": "EUR",
            **fields,
        }
        return await self.send_bytes(inbound_url, json.dumps(body).encode(), secret=secret, headers=headers)

    async def send_bytes(
        self,
        inbound_url: str,
        body: bytes,
        *,
        secret: str | None = None,
        timestamp: str | None = None,
        signature: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send any bytes, signed unless `signature` says otherwise, as of now unless `timestamp` does."""
        if self._session is None:
            raise RuntimeError("the simulator is used before it was entered")
        stamp = str(int(time.time())) if timestamp is None else timestamp
        signed = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: stamp,
            SIGNATURE_HEADER: signature if signature is not None else _sign(secret or self.secret, stamp, body),
            **(headers or {}),
        }
        async with self._session.post(inbound_url, data=body, headers=signed) as response:
            text = await response.read()
            answer: dict[str, Any] = json.loads(text) if text else {}
            return Reply(response.status, answer, response.headers)

    # --- receiving pushes

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        body = await request.read()
        stamp = request.headers.get(TIMESTAMP_HEADER, "")
        if problem := self._problem_of_signature(stamp, request.headers.get(SIGNATURE_HEADER, ""), body):
            self.refused.append(problem)
            return web.json_response({"error": problem}, status=401)
        plan = await self._next_plan()
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        try:
            push = _push(body, plan, arrived, request.headers.get("traceparent"))
        except (ValueError, KeyError, TypeError) as error:
            self.refused.append(repr(error))
            return web.json_response({"error": repr(error)}, status=400)
        await self._keep(push)
        if plan.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=plan.status, headers=plan.headers, text=plan.body)

    async def _tested(self, request: web.Request) -> web.StreamResponse:
        stamp, signature = request.headers.get(TIMESTAMP_HEADER, ""), request.headers.get(SIGNATURE_HEADER, "")
        problem = self._problem_of_signature(stamp, signature, b"")
        return web.json_response({"error": problem} if problem else {}, status=401 if problem else 200)

    async def _next_plan(self) -> Misbehaviour:
        async with self._changed:
            plan = self._plan.popleft() if self._plan else Misbehaviour(applies=True)
            self._changed.notify_all()
            return plan

    def _problem_of_signature(self, stamp: str, signature: str, body: bytes) -> str | None:
        if not stamp.isdecimal() or abs(time.time() - int(stamp)) > WINDOW_S:
            return "timestamp"
        if not hmac.compare_digest(_sign(self.secret, stamp, body), signature):
            return "signature"
        return None

    async def _keep(self, push: Push) -> None:
        async with self._changed:
            self.pushes.append(push)
            if push.applied:
                calendar = self.calendars.setdefault(push.ota_listing_id, {})
                for start, end, value in push.days:
                    for offset in range((end - start).days):
                        calendar[start + timedelta(days=offset)] = Night(value, push.inventory_version, push.at)
                details = self.details.setdefault(push.ota_listing_id, {})
                for start, end, values in push.details:
                    for offset in range((end - start).days):
                        details[start + timedelta(days=offset)] = values
            self._changed.notify_all()


def _push(body: bytes, plan: Misbehaviour, arrived: float, traceparent: str | None) -> Push:
    message = json.loads(body)
    values: dict[int, Value] = {0: "closed", 1: "open"}
    days = tuple(
        (date.fromisoformat(run["start_date"]), date.fromisoformat(run["end_date"]), values[run["available"]])
        for run in message["days"]
    )
    if not days or any(start >= end for start, end, _ in days):
        raise ValueError("days must be ranges of at least one night")
    return Push(
        ota_listing_id=str(message["ota_listing_id"]),
        inventory_version=int(message["inventory_version"]),
        days=days,
        status=plan.status,
        applied=plan.applies,
        at=arrived,
        traceparent=traceparent,
        details=tuple((run[0], run[1], values) for run, values in zip(days, message["days"], strict=True)),
    )


def _sign(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
