"""Proves that no channel leads into our own network, whatever its address looks like."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from channel_sync.clients.channels import MAX_ANSWER_BYTES, ChannelClient, ChannelSilent, ChannelUnreachable
from channel_sync.domain.addresses import is_public
from channel_sync.domain.pushes import OutboundRequest
from tests.e2e.infra.web_server import close, listen

PRIVATE = [
    *("127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fc00::1", "fe80::1", "fe80::1%eth0", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "not an address", ""),
]
HOSTS = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "localhost", "2130706433", "0x7f.1", "127.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_our_own_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[int]:
    """A server of our own network that must not be reached, and says too much; its port."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(2 * MAX_ANSWER_BYTES // 2**20):
                await response.write(b"x" * 2**20)
            return response
        if request.path == "/elsewhere":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/secret"})
        return web.Response(text="secret")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = await listen(application, "127.0.0.1", 0)
    yield runner.addresses[0][1]
    await close(runner)


def request(port: int, host: str = "127.0.0.1", path: str = "/") -> OutboundRequest:
    return OutboundRequest(f"http://{host}:{port}{path}", {}, b"", "GET")


@pytest.mark.parametrize("host", HOSTS)
async def test_nothing_is_sent_into_our_own_network(server: int, host: str) -> None:
    async with ChannelClient(2.0, allows_private=False) as client:
        with pytest.raises(ChannelUnreachable):
            await client.send(request(server, host))


async def test_development_may_allow_it(server: int) -> None:
    async with ChannelClient(2.0, allows_private=True) as client:
        assert (await client.send(request(server))).body == b"secret"


async def test_a_redirect_is_an_answer_and_not_followed(server: int) -> None:
    async with ChannelClient(2.0, allows_private=True) as client:
        assert (await client.send(request(server, path="/elsewhere"))).status == 302


async def test_an_answer_without_end_is_given_up(server: int) -> None:
    async with ChannelClient(10.0, allows_private=True) as client:
        with pytest.raises(ChannelSilent):
            await asyncio.wait_for(client.send(request(server, path="/endless")), 10)


@pytest.mark.parametrize("url", ["http://[::1", "http://exa mple/", "http://\x00/"])
async def test_what_is_no_address_is_not_reached(url: str) -> None:
    async with ChannelClient(2.0, allows_private=True) as client:
        with pytest.raises((ChannelUnreachable, ChannelSilent)):
            await client.send(OutboundRequest(url, {}, b"", "GET"))
