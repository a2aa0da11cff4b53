"""Background loops of a process: restarted with backoff when they fail, cancelled when it stops; wired by `main`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from runtime.logs import get_logger

log = get_logger(__name__)

MAX_BACKOFF_S = 5.0


class Loops:
    """A set of named background tasks: `async with Loops() as loops: loops.every(...)`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Nothing to open; tasks start when they are added."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel every loop and wait for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def every(self, interval_s: float, step: Callable[[], Awaitable[object]], name: str) -> None:
        """Call `step` again and again, `interval_s` apart; a failure is logged and backed off, never fatal."""

        async def run() -> None:
            while True:
                await step()
                await asyncio.sleep(interval_s)

        self.keep(run, name)

    def keep(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        """Keep a long-running coroutine alive: when it fails it is started again after a pause that grows to 5 s."""

        async def supervise() -> None:
            pause_s = 0.1
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    return await run()
                except (Exception, asyncio.CancelledError) as error:  # it must outlive whatever its step runs into
                    task = asyncio.current_task()
                    # aiokafka's stop() can raise the cancellation of its own tasks into us, who are not cancelled.
                    if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                        raise
                    if asyncio.get_running_loop().time() - started > MAX_BACKOFF_S * 2:
                        pause_s = 0.1
                    log.warning("loop failed, starting again", loop=name, error=repr(error), in_s=pause_s)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, MAX_BACKOFF_S)

        self._tasks.append(asyncio.create_task(supervise(), name=name))
