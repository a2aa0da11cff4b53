"""Owns a plain client of the public API, as an agency would write one; called by the journey and the e2e tests.

Every request carries a `traceparent` made here, so its trace id is known before anything happens.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from runtime.tokens import issue_token

TIMEOUT_S = 15.0
PATIENCE_S = 20.0
PAUSE_S = 0.01

Found = TypeVar("Found")


class NotYet(Exception):
    """What was looked for is not there yet; the text says what is."""


class Unexpected(Exception):
    """Something else came than was expected; the text says both."""


async def until(probe: Callable[[], Awaitable[Found]], expected: str, patience_s: float = PATIENCE_S) -> Found:
    """What `probe` finds once it no longer raises `NotYet`; raises `Unexpected` with what came last."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await probe()
        except NotYet as last:
            if time.monotonic() > deadline:
                raise Unexpected(f"expected {expected} within {patience_s:.0f} s, came: {last}") from None
        await asyncio.sleep(PAUSE_S)


def new_trace_id() -> str:
    """A random W3C trace id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Reply:
    """One HTTP answer; `began` and `ended` are monotonic seconds around it."""

    request: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    trace_id: str
    began: float
    ended: float

    @property
    def ms(self) -> float:
        """How long it took, in milliseconds."""
        return round((self.ended - self.began) * 1000, 1)

    @property
    def body(self) -> Any:
        """The parsed body; raises `Unexpected` for one that is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise Unexpected(f"{self.request}: expected JSON, came {self.content[:200]!r}") from None

    def expect(self, *statuses: int) -> Any:
        """The parsed body of an answer with one of these statuses; raises `Unexpected`."""
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise Unexpected(f"{self.request}: expected {wanted}, came {self.status}: {self.content[:500]!r}")
        return self.body


class Api:
    """HTTP of one caller to one address; `token` is asked before each request and answers None for no token."""

    def __init__(self, base_url: str, token: Callable[[], str | None]) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connections."""
        assert self._session is not None
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        trace_id: str | None = None,
    ) -> Reply:
        """Send one request; raises what aiohttp raises when no answer comes."""
        assert self._session is not None
        trace_id = trace_id or new_trace_id()
        sent = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01", **(headers or {})}
        token = self._token()
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        began = time.monotonic()
        async with self._session.request(
            method, f"{self._base_url}{path}", data=data, params=params, headers=sent
        ) as answer:
            content = await answer.read()
            return Reply(
                f"{method} {path}", answer.status, answer.headers.copy(), content, trace_id, began, time.monotonic()
            )


class Agency(Api):
    """One agency, new unless its id is given; methods are named after what they ask for.

    `api_url` is the gateway's `public_api`. A booking process serves the same booking and property routes itself.
    """

    def __init__(self, api_url: str, jwt_secret: str, agency_id: str | None = None) -> None:
        self.id = agency_id or str(uuid.uuid4())
        super().__init__(api_url, lambda: agency_token(jwt_secret, self.id))

    async def create_property(self, **profile: Any) -> Reply:
        """Add a property; 201."""
        named = {"name": "Journey Loft", "time_zone": "Europe/Lisbon", "currency": "EUR", "max_occupancy": 4}
        return await self.request("POST", "/properties", {**named, **profile})

    async def book(self, property_id: str, stay: tuple[date, date], *, key: str | None = None, **fields: Any) -> Reply:
        """Book a stay for a new guest; `key` is the Idempotency-Key."""
        guest = {"name": "Ada Example", "email": f"{uuid.uuid4().hex}@example.org"}
        body = {
            "property_id": property_id,
            "check_in": str(stay[0]),
            "check_out": str(stay[1]),
            "occupancy": {"adults": 2},
            "guest": guest,
            **fields,
        }
        return await self.request("POST", "/bookings", body, headers={"Idempotency-Key": key} if key else None)

    async def cancel(self, booking_id: str) -> Reply:
        """Cancel a reservation."""
        return await self.request("POST", f"/bookings/{booking_id}/cancel")

    async def booking(self, booking_id: str) -> Any:
        """One reservation."""
        return (await self.request("GET", f"/bookings/{booking_id}")).expect(200)

    async def bookings(self, property_id: str) -> list[Any]:
        """The newest reservations of a property, at most 200."""
        reply = await self.request("GET", "/bookings", params={"property_id": property_id, "limit": "200"})
        items: list[Any] = reply.expect(200)["items"]
        return items

    async def block(self, property_id: str, nights: tuple[date, date]) -> Reply:
        """Close nights by hand."""
        body = {"property_id": property_id, "start_date": str(nights[0]), "end_date": str(nights[1])}
        return await self.request("POST", "/availability/blocks", body)

    async def unblock(self, block_id: str) -> Reply:
        """Delete a block."""
        return await self.request("DELETE", f"/availability/blocks/{block_id}")

    async def availability(
        self, property_id: str, window: tuple[date, date], *, min_version: int | None = None
    ) -> Reply:
        """What is occupied in a window of nights."""
        params = {"property_id": property_id, "from_date": str(window[0]), "to_date": str(window[1])}
        if min_version is not None:
            params["min_version"] = str(min_version)
        return await self.request("GET", "/availability", params=params)

    async def connect(self, endpoint_url: str, secret: str) -> Any:
        """Connect a channel that speaks the generic JSON protocol; the connection."""
        body = {"name": "Journey OTA", "adapter": "generic-json", "endpoint_url": endpoint_url, "secret": secret}
        return (await self.request("POST", "/channel-connections", body)).expect(201)

    async def listings(self, connection_id: str) -> list[Any]:
        """The mapped listings of a connection."""
        reply = await self.request("GET", f"/channel-connections/{connection_id}/listings")
        items: list[Any] = reply.expect(200)["items"]
        return items

    async def map_listing(self, connection_id: str, property_id: str, ota_listing_id: str) -> Reply:
        """Map a listing of the channel to a property; 201."""
        body = {"property_id": property_id, "ota_listing_id": ota_listing_id}
        return await self.request("POST", f"/channel-connections/{connection_id}/listings", body)


def public_api(gateway_url: str) -> str:
    """The base address of the public API."""
    return f"{gateway_url}/api/v1"


def agency_token(jwt_secret: str, agency_id: str) -> str:
    """A fresh token of an agency."""
    return issue_token(jwt_secret, subject="local", agency_id=uuid.UUID(agency_id), roles=())


def nights_of(stay: tuple[date, date]) -> set[date]:
    """The nights `[check_in, check_out)`."""
    return {stay[0] + timedelta(days=day) for day in range((stay[1] - stay[0]).days)}


def closed_nights(ranges: Iterable[Mapping[str, Any]], kind: str | None = None) -> set[date]:
    """The nights in the ranges of an availability answer, of one kind when it is given."""
    closed: set[date] = set()
    for found in ranges:
        if kind is None or found["kind"] == kind:
            closed |= nights_of((date.fromisoformat(found["start_date"]), date.fromisoformat(found["end_date"])))
    return closed
