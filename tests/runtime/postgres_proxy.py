"""Owns a proxy that holds one message of the wire protocol back: a test can act between two steps of a query."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class PostgresProxy:
    """Forwards every byte. Once armed, it holds the next Execute of a statement whose text contains `words`.

    The server has then already worked off the Bind before it, which takes the statement's snapshot.
    """

    host: str
    port: int
    words: bytes
    armed: bool = False
    held: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        server_reader, server_writer = await asyncio.open_connection(self.host, self.port)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await asyncio.gather(self._requests(reader, server_writer), _copy(server_reader, writer))
        for end in (writer, server_writer):
            end.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = await reader.readexactly(4)
        writer.write(size + await reader.readexactly(int.from_bytes(size, "big") - 4))  # the start-up has no type
        statements: dict[bytes, bytes] = {}
        bound = b""
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            if head[:1] == b"P":
                name, text, _ = body.split(b"\0", 2)
                statements[name] = text
            elif head[:1] == b"B":
                _, name, _ = body.split(b"\0", 2)
                bound = statements.get(name, b"")
            elif head[:1] == b"E" and self.armed and self.words in bound:
                self.armed = False
                await writer.drain()
                await asyncio.sleep(0.1)
                self.held.set()
                await self.release.wait()
            writer.write(head + body)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionError("the server hung up")


@contextlib.asynccontextmanager
async def proxied(url: str, words: bytes) -> AsyncIterator[tuple[PostgresProxy, str]]:
    """A proxy in front of a database, and the address to reach it by."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = PostgresProxy(parts.hostname, parts.port, words)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    netloc = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}"
    try:
        yield proxy, urlunsplit(parts._replace(netloc=netloc, query="sslmode=disable"))
    finally:
        proxy.release.set()
        server.close()
        await server.wait_closed()
