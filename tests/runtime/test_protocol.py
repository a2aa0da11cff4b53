"""Proves that what never becomes a request is refused as a problem too, and that no URL is too long for an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI

from contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from runtime.http import MAX_QUERY_BYTES, create_app
from tests.serving import serving

SECRET = "a-secret-of-the-runtime-tests-0123456789"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def port() -> AsyncIterator[int]:
    router = APIRouter()

    @router.get("/seen")
    async def seen(x: str = "") -> dict[str, int]:
        return {"length": len(x)}

    async with serving(create_app("t", jwt_secret=SECRET, lifespan=lifespan, routers=[router], readiness={})) as found:
        yield found


class Wire:
    """A connection to which bytes are written as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        self.writer.write(data)
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def get(self, target: str) -> tuple[int, dict[str, str], bytes]:
        return await self.send(f"GET {target} HTTP/1.1\r\nhost: here\r\n\r\n".encode())


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "data", [b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET  HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_gets_a_problem_and_the_end_of_the_connection(port: int, data: bytes) -> None:
    async with connected(port) as wire:
        status, headers, body = await wire.send(data)
        assert (status, headers["content-type"], headers["connection"]) == (400, PROBLEM_MEDIA_TYPE, "close")
        assert Problem.model_validate_json(body).code == "http_error"
        assert await wire.reader.read() == b""


@pytest.mark.parametrize("length", [MAX_QUERY_BYTES + 1, 60_000, 65_520, 65_535, 65_536, 70_000, 400_000, 5_000_000])
async def test_a_query_over_its_limit_is_refused_by_the_name_of_what_takes_most_of_it(port: int, length: int) -> None:
    ids = f"&property_id={UUID(int=7)}" * (length // 50)
    query = f"from_date=2031-05-01{ids}".ljust(length, "&")
    async with connected(port) as wire:
        status, headers, body = await wire.get(f"/seen?{query}")
        problem = Problem.model_validate_json(body)
        assert (status, headers["content-type"]) == (422, PROBLEM_MEDIA_TYPE)
        assert problem.code == "validation_error"
        assert [error.field for error in problem.errors or []] == ["query.property_id"]
        assert problem.detail == f"query.property_id: the query string is longer than {MAX_QUERY_BYTES} bytes"
        # The same connection goes on.
        assert (await wire.get("/seen?x=abc"))[2] == b'{"length":3}'


async def test_the_longest_query_is_read_to_its_end(port: int) -> None:
    async with connected(port) as wire:
        status, _, body = await wire.get(f"/seen?x={'a' * (MAX_QUERY_BYTES - 2)}")
        assert (status, json.loads(body)) == (200, {"length": MAX_QUERY_BYTES - 2})


@pytest.mark.parametrize("length", [60_000, 65_535, 70_000, 1_000_000])
async def test_a_path_without_an_end_is_not_found(port: int, length: int) -> None:
    async with connected(port) as wire:
        status, headers, body = await wire.get("/" + "a" * length)
        assert (status, headers["content-type"]) == (404, PROBLEM_MEDIA_TYPE)
        assert Problem.model_validate_json(body).code == "not_found"


async def test_a_name_that_is_no_text_is_told_as_one(port: int) -> None:
    async with connected(port) as wire:
        status, _, body = await wire.get("/seen?%FF%22%0A=" + "a" * MAX_QUERY_BYTES)
        (error,) = Problem.model_validate_json(body).errors or []
        assert (status, error.field) == (422, 'query.\ufffd"\n')
