"""Owns HTTP to channels, anywhere on the Internet and nowhere inside our network; called by service.

Not `runtime.http_client`: addresses are those of strangers, so names may lead to our own network, and answers may be of
any size.
"""

import socket
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from opentelemetry.trace import SpanKind

from channel_sync.domain.addresses import AddressRefused, is_public, literal_address
from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest
from runtime.telemetry import carrier_of, note_status, span

CONNECT_TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 16 * 2**20
CONNECTIONS_OF_A_CHANNEL = 8
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class ChannelUnreachable(Exception):
    """The channel could not be connected to: nothing was sent."""


class ChannelSilent(Exception):
    """The channel did not answer a request that may have reached it: what it did is unknown."""


class ChannelClient:
    """Sends requests to channels, to be entered first; `allows_private` is for development alone."""

    _session: aiohttp.ClientSession

    def __init__(self, timeout_s: float, *, allows_private: bool) -> None:
        self._timeout_s = timeout_s
        self._allows_private = allows_private

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        resolver = ThreadedResolver() if self._allows_private else _PublicResolver()
        connector = aiohttp.TCPConnector(
            keepalive_timeout=30, limit_per_host=CONNECTIONS_OF_A_CHANNEL, resolver=resolver
        )
        # Connections are shared by all agencies, so nothing is remembered of an answer; no proxy of the environment.
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), max_line_size=16_384, max_field_size=16_384
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection pool."""
        await self._session.close()

    async def send(self, request: OutboundRequest, timeout_s: float | None = None) -> ChannelAnswer:
        """Send it once; raises `ChannelUnreachable` or `ChannelSilent`. Redirects are answers, not followed."""
        total_s = self._timeout_s if timeout_s is None else timeout_s
        limits = aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_TIMEOUT_S, total_s))
        self.check(request.url)
        attributes = {"http.request.method": request.method, "server.address": "channel"}
        with span(f"{request.method} channel", SpanKind.CLIENT, attributes=attributes) as current:
            try:
                async with self._session.request(
                    request.method,
                    request.url,
                    headers={**request.headers, **carrier_of()},
                    data=request.body or None,
                    timeout=limits,
                    allow_redirects=False,
                ) as response:
                    body = await _read(response)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if isinstance(error, NEVER_SENT):
                    raise ChannelUnreachable(f"the channel cannot be reached: {type(error).__name__}") from error
                raise ChannelSilent("the channel did not answer: what it did is unknown") from error
            note_status(current, response.status)
            return ChannelAnswer(response.status, response.headers, body)

    def check(self, url: str) -> None:
        """Raise `ChannelUnreachable` for an address nobody may be sent to. Names are looked at when they are resolved;
        addresses that are written as numbers never meet the resolver, hence here."""
        try:
            address = literal_address(url)
        except ValueError as error:
            raise ChannelUnreachable("the channel's address is no URL") from error
        if address is not None and not self._allows_private and not is_public(address):
            raise ChannelUnreachable(str(AddressRefused.__doc__))


class _PublicResolver(AbstractResolver):
    """Names lead to public addresses or nowhere; asked at every connection, so that a name cannot change its mind."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [one for one in await self._resolver.resolve(host, port, family) if is_public(one["host"])]
        if not found:
            raise OSError(str(AddressRefused.__doc__))
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer; ValueError when it is larger than any answer of a channel should be."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(65_536):
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise ValueError("the channel's answer is too large")
        parts.append(part)
    return b"".join(parts)
