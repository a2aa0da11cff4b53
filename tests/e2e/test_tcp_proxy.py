"""Proves the proxy the fault tests stand on: what it lets through, delays, keeps back and cuts, by direction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.e2e.infra.tcp_proxy import TcpProxy

PATIENCE_S = 5.0


class Upstream:
    """A server that notes what it hears and answers each line with "heard <line>"."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        """Break every connection off."""
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(b"heard " + line)
        writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Upstream, TcpProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    async with asyncio.timeout(PATIENCE_S), TcpProxy(*server.sockets[0].getsockname()) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        yield upstream, proxy, reader, writer
        writer.close()
    server.close()


async def test_it_passes_everything_on_by_default() -> None:
    async with proxied() as (upstream, _, reader, writer):
        writer.write(b"one\n")
        assert await reader.readline() == b"heard one\n"
        assert upstream.heard == [b"one\n"]


async def test_it_lets_a_marked_message_through_and_keeps_the_answer_back() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.withhold_answers_after(b"COMMIT 7")
        writer.write(b"BEGIN\n")
        assert await reader.readline() == b"heard BEGIN\n"
        for part in (b"COM", b"MIT 7\n"):  # split between two segments
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        connection = await proxy.wait_until_answer_withheld(b"COMMIT 7")
        assert upstream.heard == [b"BEGIN\n", b"COMMIT 7\n"]
        assert bytes(connection.withheld["to_client"]) == b"heard COMMIT 7\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.1)


async def test_it_keeps_requests_back_so_that_the_server_never_hears_them() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        writer.write(b"one\n")
        await reader.readline()
        proxy.withhold("to_server")
        writer.write(b"two\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.1)
        assert upstream.heard == [b"one\n"]


async def test_it_keeps_a_word_back_on_the_connection_that_was_marked() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.withhold_word_after(b"insert 7", b"COMMIT")
        for line in (b"COMMIT\n", b"insert 7\n"):
            writer.write(line)
            assert await reader.readline() == b"heard " + line
        writer.write(b"COMMIT\n")
        connection = await proxy.wait_until_word_withheld(b"insert 7")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.1)
        assert upstream.heard == [b"COMMIT\n", b"insert 7\n"]
        assert bytes(connection.withheld["to_server"]) == b"COMMIT\n"


async def test_it_notes_a_marker_and_lets_it_pass_once_forgotten_too() -> None:
    async with proxied() as (_, proxy, reader, writer):
        proxy.watch_for(b"insert 7")
        proxy.withhold_answers_after(b"insert 8")
        proxy.forget(b"insert 8")
        for line in (b"insert 7\n", b"insert 8\n"):
            writer.write(line)
            assert await reader.readline() == b"heard " + line
        assert (await proxy.wait_until_seen(b"insert 7")).markers == {b"insert 7"}


async def test_it_delays_one_direction() -> None:
    async with proxied() as (_, proxy, reader, writer):
        proxy.delay_s["to_client"] = 0.2
        began = time.monotonic()
        writer.write(b"one\n")
        await reader.readline()
        assert time.monotonic() - began >= 0.2


async def test_neither_side_of_a_lost_connection_hears_that_it_ended() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        writer.write(b"one\n")
        await reader.readline()
        proxy.lose()
        writer.write(b"two\n")
        upstream.cut()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert upstream.heard == [b"one\n"]
        assert not reader.at_eof()
        fresh_reader, fresh_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        fresh_writer.write(b"three\n")
        assert await fresh_reader.readline() == b"heard three\n"
        fresh_writer.close()


async def test_it_cuts_connections() -> None:
    async with proxied() as (_, proxy, reader, writer):
        writer.write(b"one\n")
        await reader.readline()
        proxy.cut()
        with suppress(ConnectionError):  # closed or reset
            assert await reader.read() == b""
        assert proxy.connections[0].writers[0].is_closing()
