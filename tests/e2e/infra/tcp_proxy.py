"""Owns a TCP proxy that can delay, withhold or cut each direction; the fault tests put it between two processes.

It knows no protocol. A marker in what the client sends says from where on the server's answers are kept: so a test can
let a statement through, see its effect at the server, and be sure that the client never heard of it. Or it says on
which connection a later word of the client is kept: so a test can be sure that the server never heard that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

CHUNK = 64 * 1024
Direction = Literal["to_server", "to_client"]


@dataclass
class Connection:
    """One client's connection: what was let through, and what is kept back, by direction."""

    passed: dict[Direction, bytearray] = field(
        default_factory=lambda: {"to_server": bytearray(), "to_client": bytearray()}
    )
    withheld: dict[Direction, bytearray] = field(
        default_factory=lambda: {"to_server": bytearray(), "to_client": bytearray()}
    )
    is_withholding: set[Direction] = field(default_factory=set)
    is_lost: bool = False
    markers: set[bytes] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def cut(self) -> None:
        """Close both sides at once, in the middle of whatever is under way."""
        for writer in self.writers:
            writer.transport.abort()


class TcpProxy:
    """`async with TcpProxy(host, port) as proxy`: clients connect to `proxy.port` and reach the target.

    The port is any free one unless it is given.
    """

    def __init__(self, host: str, port: int, listen_port: int = 0) -> None:
        self.port = listen_port
        self.connections: list[Connection] = []
        self.delay_s: dict[Direction, float] = {"to_server": 0.0, "to_client": 0.0}
        self._target = (host, port)
        # What is kept once a marker was seen: the answers (None), the client's next such word, or nothing (b"").
        self._markers: dict[bytes, bytes | None] = {}
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen; the port is known afterwards."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Cut all connections and stop listening."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def withhold_answers_after(self, marker: bytes) -> None:
        """On every connection whose client sends `marker` from now on: let it through, keep what the server answers."""
        self._markers[marker] = None

    def withhold_word_after(self, marker: bytes, word: bytes) -> None:
        """On every connection whose client sends `marker` from now on: keep what it sends from `word` on."""
        self._markers[marker] = word

    def watch_for(self, marker: bytes) -> None:
        """Note on which connection `marker` is sent from now on; everything passes."""
        self._markers[marker] = b""

    def forget(self, marker: bytes) -> None:
        """Let `marker` pass from now on like anything else."""
        self._markers.pop(marker, None)

    def withhold(self, direction: Direction) -> None:
        """Keep what arrives in this direction, on all present connections."""
        for connection in self.connections:
            connection.is_withholding.add(direction)

    def lose(self) -> None:
        """Let all present connections go silent for good: neither side hears anything more, not even that it ended."""
        self.withhold("to_server")
        self.withhold("to_client")
        for connection in self.connections:
            connection.is_lost = True

    def cut(self) -> None:
        """Close all present connections."""
        for connection in self.connections:
            connection.cut()

    async def wait_until_answer_withheld(self, marker: bytes, timeout_s: float = 10.0) -> Connection:
        """The connection whose client sent `marker` and whose server answered it, which the client has not heard."""
        return await self._wait_for(marker, timeout_s, lambda known: bool(known.withheld["to_client"]))

    async def wait_until_word_withheld(self, marker: bytes, timeout_s: float = 10.0) -> Connection:
        """The connection whose client sent `marker` and then the word, which the server has not heard."""
        return await self._wait_for(marker, timeout_s, lambda known: bool(known.withheld["to_server"]))

    async def wait_until_seen(self, marker: bytes, timeout_s: float = 10.0) -> Connection:
        """The connection whose client sent `marker`."""
        return await self._wait_for(marker, timeout_s, lambda _: True)

    async def _wait_for(self, marker: bytes, timeout_s: float, is_there: Callable[[Connection], bool]) -> Connection:
        def found() -> Connection | None:
            return next((known for known in self.connections if marker in known.markers and is_there(known)), None)

        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: found() is not None)
        connection = found()
        assert connection is not None
        return connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = Connection(writers=[writer])
        self.connections.append(connection)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            connection.writers.append(upstream_writer)
            await asyncio.gather(
                self._pump(connection, "to_server", reader, upstream_writer),
                self._pump(connection, "to_client", upstream_reader, writer),
            )
        except (ConnectionError, asyncio.CancelledError):
            return  # one side is gone, or the proxy ends
        finally:
            connection.cut()

    async def _pump(
        self,
        connection: Connection,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await _read(connection, reader):
            if self.delay_s[direction]:
                await asyncio.sleep(self.delay_s[direction])
            if direction == "to_server":
                self._look_for_markers(connection, data)
            if direction in connection.is_withholding:
                connection.withheld[direction] += data
            else:
                connection.passed[direction] += data
                writer.write(data)
                await writer.drain()
            async with self._changed:
                self._changed.notify_all()
        if connection.is_lost:
            return
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _look_for_markers(self, connection: Connection, data: bytes) -> None:
        # A marker may be split between two reads.
        seen = bytes(connection.passed["to_server"][-CHUNK:]) + data
        for marker, word in self._markers.items():
            if marker not in seen:
                continue
            connection.markers.add(marker)
            if word is None:
                connection.is_withholding.add("to_client")
            elif word and word in data:
                connection.is_withholding.add("to_server")


async def _read(connection: Connection, reader: asyncio.StreamReader) -> bytes:
    """What arrives next, empty at the end; that a lost connection broke is no more than its end."""
    try:
        return await reader.read(CHUNK)
    except ConnectionError:
        if not connection.is_lost:
            raise
        return b""
