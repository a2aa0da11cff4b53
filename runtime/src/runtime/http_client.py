"""HTTP to other services with keep-alive, a deadline and the trace; used by every `clients` module."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from opentelemetry.trace import SpanKind

from runtime.telemetry import carrier_of, mark_failed, span

CONNECT_TIMEOUT_S = 2.0


class UpstreamUnavailable(Exception):
    """A service or channel did not answer: it refused the connection or cut it."""


class UpstreamTimeout(UpstreamUnavailable):
    """A service or channel did not answer within the deadline: whether it acted is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole; the names of its headers are compared without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body."""
        return orjson.loads(self.body)


class HttpClient:
    """Keep-alive client of one base address; `timeout_s` bounds a whole request."""

    def __init__(self, base_url: str, *, peer: str, timeout_s: float, connections: int = 100) -> None:
        self._base_url = base_url.rstrip("/")
        self._peer = peer
        self._timeout_s = timeout_s
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),  # one session serves many callers
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connection pool."""
        if self._session is not None:
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
        if self._session is None:
            raise RuntimeError("the client is used before it was entered")
        url = f"{self._base_url}{path}" + (f"?{query}" if query else "")
        total_s = self._timeout_s if timeout_s is None else timeout_s
        attributes = {"http.request.method": method, "server.address": self._peer}
        with span(f"{method} {self._peer}", SpanKind.CLIENT, attributes=attributes) as current:
            try:
                async with self._session.request(
                    method,
                    url,
                    headers={**(headers or {}), **carrier_of()},
                    data=body,
                    timeout=aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_TIMEOUT_S, total_s)),
                    allow_redirects=False,
                ) as response:
                    answer = Answer(response.status, response.headers, await response.read())
            except aiohttp.ConnectionTimeoutError as error:
                raise UpstreamUnavailable(f"{self._peer} cannot be reached: no connection in time") from error
            except TimeoutError as error:
                raise UpstreamTimeout(f"{self._peer} did not answer in time") from error
            except (aiohttp.ClientError, OSError) as error:
                raise UpstreamUnavailable(f"{self._peer} cannot be reached: {type(error).__name__}") from error
            current.set_attribute("http.response.status_code", answer.status)
            if answer.status >= 500:
                mark_failed(current, str(answer.status))
            return answer
