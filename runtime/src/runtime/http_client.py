"""HTTP to other services with keep-alive, a deadline and the trace; used by every `clients` module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from opentelemetry.trace import SpanKind

from runtime.telemetry import carrier_of, note_status, span

CONNECT_TIMEOUT_S = 2.0


class UpstreamUnavailable(Exception):
    """The other side did not answer: it refused the connection or cut it."""


class UpstreamTimeout(UpstreamUnavailable):
    """The other side did not answer within the deadline: whether it acted is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole; the names of its headers are compared without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Keep-alive client of one base address, to be entered first; `timeout_s` bounds a whole request."""

    _session: aiohttp.ClientSession

    def __init__(self, base_url: str, *, peer: str, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._peer = peer
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        connector = aiohttp.TCPConnector(keepalive_timeout=30)  # at most 100 connections
        no_cookies = aiohttp.DummyCookieJar()  # one session serves many callers
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=no_cookies, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection pool."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        query: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """Send one request inside a client span; raises `UpstreamTimeout` or `UpstreamUnavailable`."""
        url = f"{self._base_url}{path}" + (f"?{query}" if query else "")
        total_s = self._timeout_s if timeout_s is None else timeout_s
        limits = aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_TIMEOUT_S, total_s))
        attributes = {"http.request.method": method, "server.address": self._peer}
        with span(f"{method} {self._peer}", SpanKind.CLIENT, attributes=attributes) as current:
            try:
                traced = {**(headers or {}), **carrier_of()}
                async with self._session.request(
                    method, url, headers=traced, data=body, timeout=limits, allow_redirects=False
                ) as response:
                    answer = Answer(response.status, response.headers, await response.read())
            except (aiohttp.ClientError, OSError) as error:
                if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
                    raise UpstreamTimeout(f"{self._peer} did not answer in time") from error
                raise UpstreamUnavailable(f"{self._peer} cannot be reached: {type(error).__name__}") from error
            note_status(current, answer.status)
            return answer
