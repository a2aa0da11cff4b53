"""Owns waiting for what happens soon: asked again and again instead of slept for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")
PAUSE_S = 0.02


async def eventually(look: Callable[[], Awaitable[Found | None]], what: str, timeout_s: float = 15.0) -> Found:
    """Ask until something is found; fails saying what was not."""
    deadline = time.monotonic() + timeout_s
    while (found := await look()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(PAUSE_S)
    return found
