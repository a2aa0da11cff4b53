"""Owns an HTTP server in front of a channel's rules: what `tests.channel_sync.channels` decides, over a real socket."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest
from tests.e2e.infra.web_server import close, listen


class Channel(Protocol):
    """A channel's side of a protocol, as a machine."""

    def answer(self, request: OutboundRequest, now: datetime) -> ChannelAnswer:
        """What it answers to one request."""


@dataclass
class ChannelServer:
    """One channel that listens. `fail` answers the next requests to a path instead of the channel, which still acts on
    them where `acts` is set; `seen` are the requests in order, as method and path.
    """

    channel: Channel
    url: str = ""
    seen: list[str] = field(default_factory=list)
    _held_part: str = ""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _failures: deque[tuple[str, int, bool]] = field(default_factory=deque)

    def fail(self, part_of_path: str, status: int = 500, *, acts: bool = False, times: int = 1) -> None:
        """Answer the next requests whose path has this part with an error."""
        self._failures.extend([(part_of_path, status, acts)] * times)

    def hold(self, part_of_path: str) -> None:
        """Keep requests whose path has this part without an answer until `release`; the channel never acts on them."""
        self._held_part = part_of_path
        self._arrived.clear()
        self._released.clear()

    def release(self) -> None:
        """Answer those that are held with an error, and the next ones as usual."""
        self._held_part = ""
        self._released.set()

    async def wait_until_held(self, patience_s: float = 20.0) -> None:
        """Wait for a request that is held."""
        await asyncio.wait_for(self._arrived.wait(), patience_s)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.seen.append(f"{request.method} {request.path}")
        asked = OutboundRequest(str(request.url), dict(request.headers), await request.read(), request.method)
        if self._held_part and self._held_part in request.path:
            self._arrived.set()
            await self._released.wait()
            return web.Response(status=503, text="{}")
        if self._failures and self._failures[0][0] in request.path:
            _, status, acts = self._failures.popleft()
            if acts:
                self.channel.answer(asked, datetime.now(UTC))
            return web.Response(status=status, text="{}")
        answer = self.channel.answer(asked, datetime.now(UTC))
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)


@asynccontextmanager
async def served(channel: Channel) -> AsyncIterator[ChannelServer]:
    """The channel on a free port of this machine; `url` is its address."""
    server = ChannelServer(channel)
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = await listen(application, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await close(runner)
