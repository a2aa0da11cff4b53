"""Owns the registry of channel protocols, one module each; called by service. An adapter is bytes <-> domain, pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol

from channel_sync.adapters.channex import Channex
from channel_sync.adapters.generic_json import GenericJson
from channel_sync.adapters.ical import ICal
from channel_sync.adapters.ota_xml import OtaXml
from channel_sync.domain.ari import (
    ChannelTarget,
    FeedItem,
    FeedPage,
    ItemOutcome,
    Limits,
    PushItem,
    PushRequest,
)
from channel_sync.domain.ical_feed import Feed
from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest
from channel_sync.domain.revisions import ParsedRevision


class Adapter(Protocol):
    """One channel protocol: what every channel can do."""

    name: ClassVar[str]
    limits: ClassVar[Limits]

    def parse(self, raw: bytes) -> ParsedRevision:
        """Read one revision; raises `UnparseableRevision`."""

    def without_guest(self, raw: bytes) -> bytes:
        """The same revision without who the guest is; nothing of bytes that cannot be read."""

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """The calls that tell a channel these nights; those that cover one listing in the order they are sent in."""

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """What the channel's answer to a call means for each listing it covers."""

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """The smallest call that needs address and secret to be right, and changes nothing."""

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """Why the connection does not work, from the answer to that call; None when it does."""


class FeedAdapter(Adapter, Protocol):
    """A channel that is asked for its revisions."""

    acks_per_call: ClassVar[int]

    def feed_request(self, target: ChannelTarget, cursor: str | None) -> OutboundRequest:
        """The next page of the feed."""

    def feed_page(self, answer: ChannelAnswer) -> FeedPage:
        """What a page holds; raises `FeedUnreadable`."""

    def ack_request(self, target: ChannelTarget, items: Sequence[FeedItem]) -> OutboundRequest | None:
        """The call that says that these revisions are stored, at most `acks_per_call`; None where none is needed."""

    def acked(self, answer: ChannelAnswer) -> bool:
        """Whether the channel took note."""


class CalendarAdapter(Adapter, Protocol):
    """A channel that shows its closed nights as a calendar, and reads ours; nothing is pushed to it."""

    def feed_request(self, target: ChannelTarget, cursor: str | None) -> OutboundRequest:
        """The calendar, unless it is as the cursor says."""

    def read(self, answer: ChannelAnswer, ota_listing_id: str, time_zone: str) -> Feed:
        """The whole calendar; `time_zone` is the property's. Raises `FeedUnreadable`: then what is known stays."""

    def cursor_after(self, answer: ChannelAnswer, cursor: str | None) -> str | None:
        """What to ask with next time."""


CALENDARS: Mapping[str, CalendarAdapter] = {ICal.name: ICal()}
FEEDS: Mapping[str, FeedAdapter] = {adapter.name: adapter for adapter in (Channex(), OtaXml())}
ADAPTERS: Mapping[str, Adapter] = {GenericJson.name: GenericJson(), **FEEDS, **CALENDARS}
