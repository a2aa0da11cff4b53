"""Owns the registry of channel protocols, one module each; called by service. An adapter is bytes <-> domain, pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from channel_sync.adapters.generic_json import GenericJson
from channel_sync.domain.pushes import ChannelAnswer, ClaimedListing, OutboundRequest, Outcome
from channel_sync.domain.revisions import ParsedRevision
from rules.calendar import NightRun


class Adapter(Protocol):
    """One channel protocol."""

    def parse(self, body: bytes) -> ParsedRevision:
        """Read one revision; raises `UnparseableRevision`."""

    def without_guest(self, body: bytes) -> bytes:
        """The same revision without who the guest is; nothing of bytes that cannot be read."""

    def push_request(
        self, listing: ClaimedListing, secret: str, version: int, runs: Sequence[NightRun], now: datetime
    ) -> OutboundRequest:
        """The request that tells the channel all these nights of a listing, as of an inventory version."""

    def outcome(self, answer: ChannelAnswer, version: int, runs: Sequence[NightRun], now: datetime) -> Outcome:
        """What the channel's answer to that request means."""


ADAPTERS: Mapping[str, Adapter] = {"generic-json": GenericJson()}
