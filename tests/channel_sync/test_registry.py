"""Proves that an adapter is one class and one entry of the registry, and that each has its page and its channel."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest

from channel_sync.adapters import ADAPTERS, Adapter
from channel_sync.domain.ari import ChannelTarget, ItemOutcome, Limits, PushItem, PushRequest
from channel_sync.domain.channels import NewConnection
from channel_sync.domain.errors import AdapterUnknown, UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest, OutcomeKind
from channel_sync.domain.revisions import ParsedRevision
from channel_sync.service import connections
from channel_sync.service.deps import Deps
from tests.channel_sync.channel_server import served
from tests.channel_sync.inbound_scene import SECRET, map_listing, outbox, send, shown

ROOT = Path(__file__).parents[2]


class Lines:
    """A protocol nobody speaks: a line of text each way."""

    name: ClassVar[str] = "lines"
    limits: ClassVar[Limits] = Limits(None, None, max_days=100, request_timeout_s=1.0)

    def parse(self, raw: bytes) -> ParsedRevision:
        """`revision code listing check_in check_out`."""
        words = raw.decode().split()
        if len(words) != 5:
            raise UnparseableRevision("body", "invalid", "must be five words")
        dates = [date.fromisoformat(word) for word in words[3:]]
        return ParsedRevision(words[0], "new", "lines", words[1], words[2], None, dates[0], dates[1])

    def without_guest(self, raw: bytes) -> bytes:
        """There is none."""
        return raw

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """A call for each listing."""
        return tuple(PushRequest(OutboundRequest(target.endpoint_url, {}, b"nights"), (item,)) for item in items)

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """Accepted."""
        return tuple(ItemOutcome(item.listing_id, OutcomeKind.ACCEPTED, item.runs) for item in request.covers)

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """A greeting."""
        return OutboundRequest(target.endpoint_url, {}, b"hello")

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """None when it greets."""
        return None if answer.body == b"hello" else "it does not greet"


class Greeting:
    """A channel that greets."""

    def answer(self, request: OutboundRequest, now: datetime) -> ChannelAnswer:
        """The greeting."""
        return ChannelAnswer(200, {}, request.body)


@pytest.mark.stack
async def test_a_new_adapter_needs_its_class_and_its_entry_and_nothing_else(deps: Deps) -> None:
    adapter: Adapter = Lines()
    registered = replace(deps, adapters={**deps.adapters, adapter.name: adapter})
    agency_id = uuid4()
    async with served(Greeting()) as server:
        new = NewConnection("New", "lines", server.url, {}, SECRET)
        with pytest.raises(AdapterUnknown):
            await connections.create_connection(deps, agency_id, new, None, shown)
        answer = await connections.create_connection(registered, agency_id, new, None, shown)
        connection_id = UUID(json.loads(answer.body)["id"])
        assert (await connections.test_connection(registered, agency_id, connection_id)).error is None
        property_id = await map_listing(registered, agency_id, connection_id)
        assert (await send(registered, connection_id, b"r1 code L1 2027-03-01 2027-03-04")).is_new
        (event,) = await outbox(registered, property_id)
        assert (event["ota_reservation_code"], event["check_in"], event["kind"]) == (
            "code",
            "2027-03-01",
            "reservation",
        )
        with pytest.raises(UnparseableRevision):
            await send(registered, connection_id, b"four words are few")


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_adapter_is_a_module_with_a_page_and_a_channel_that_refuses_what_the_real_one_does(name: str) -> None:
    module = name.replace("-", "_")
    assert type(ADAPTERS[name]).__module__ == f"channel_sync.adapters.{module}"
    assert (ROOT / f"docs/channels/{name}.md").is_file()
    channels = ROOT / "tests/channel_sync/channels"
    assert (channels / f"{module}.py").is_file() or name == "generic-json", "the simulator of the journey speaks that"
