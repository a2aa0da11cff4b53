"""Keep-alive HTTP to the three services behind the gateway, and whether they can be reached; called by `api`."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from runtime.http_client import HttpClient, UpstreamUnavailable

BOOKING = "booking"
AVAILABILITY = "availability"
CHANNEL_SYNC = "channel-sync"

REACH_TIMEOUT_S = 1.0
REACH_AGAIN_AFTER_S = 1.0


class Upstreams:
    """One connection pool per service; `async with` opens and closes them."""

    def __init__(self, addresses: Mapping[str, str], timeout_s: float) -> None:
        self._clients = {
            service: HttpClient(address, peer=service, timeout_s=timeout_s) for service, address in addresses.items()
        }
        self._open = AsyncExitStack()
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._states: dict[str, str | None] = {}

    async def __aenter__(self) -> Self:
        """Open the connection pools; nothing is sent."""
        for client in self._clients.values():
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connection pools."""
        await self._open.aclose()

    def client(self, service: str) -> HttpClient:
        """The client of one service."""
        return self._clients[service]

    async def unreachable(self) -> dict[str, str]:
        """The services that do not answer their liveness route, each with the reason.

        The answer is kept for a second, so that a flood of health requests stays here.
        """
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= REACH_AGAIN_AFTER_S:
                reasons = await asyncio.gather(*(self._reach(service) for service in self._clients))
                self._states = dict(zip(self._clients, reasons, strict=True))
                self._asked_at = now
        return {service: reason for service, reason in self._states.items() if reason is not None}

    async def ready(self) -> str | None:
        """Readiness: None while at least one service can be reached.

        One service that is down must not take the others off the air, so it alone never makes the gateway unready.
        """
        unreachable = await self.unreachable()
        return "; ".join(unreachable.values()) if len(unreachable) == len(self._clients) else None

    async def _reach(self, service: str) -> str | None:
        try:
            answer = await self._clients[service].request("GET", "/health", timeout_s=REACH_TIMEOUT_S)
        except UpstreamUnavailable as error:
            return str(error)
        return None if answer.status == 200 else f"{service} answers {answer.status} to the liveness check"
