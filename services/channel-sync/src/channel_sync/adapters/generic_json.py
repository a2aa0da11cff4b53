"""Owns the generic JSON protocol: signed revisions in, signed absolute nights out; called through the registry."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from pydantic import ValidationError

from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer, ClaimedListing, OutboundRequest, Outcome, OutcomeKind
from channel_sync.domain.revisions import Guest, ParsedRevision, Party
from channel_sync.domain.signature import signature_of
from contracts.channel_sync_http_v1 import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    GenericJsonDays,
    GenericJsonPush,
    GenericJsonRevision,
)
from contracts.channel_sync_reservations_v1 import RevisionStatus
from contracts.values import EARLIEST_DATE
from rules.calendar import NightRun


class GenericJson:
    """The adapter `generic-json`."""

    def parse(self, body: bytes) -> ParsedRevision:
        """Read one revision; raises `UnparseableRevision` naming the field, never what it held."""
        message = _message(body)
        if isinstance(message, UnparseableRevision):
            raise message
        _check(message)
        return _revision(message)

    def without_guest(self, body: bytes) -> bytes:
        """The message without `guest`, and nothing of what is no JSON object."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return b""
        if not isinstance(message, dict):
            return b""
        return json.dumps({name: value for name, value in message.items() if name != "guest"}).encode()

    def push_request(
        self, listing: ClaimedListing, secret: str, version: int, runs: Sequence[NightRun], now: datetime
    ) -> OutboundRequest:
        """All nights as absolute values: 1 open, 0 closed."""
        days = [
            GenericJsonDays(start_date=run.start, end_date=run.end, available=1 if run.is_open else 0) for run in runs
        ]
        message = GenericJsonPush(ota_listing_id=listing.ota_listing_id, inventory_version=version, days=days)
        body = message.model_dump_json().encode()
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature_of(secret, timestamp, body),
        }
        return OutboundRequest(listing.endpoint_url, headers, body)

    def outcome(self, answer: ChannelAnswer, version: int, runs: Sequence[NightRun], now: datetime) -> Outcome:
        """2xx is accepted, unless it is a web page: then something between us and the channel answered."""
        if not 200 <= answer.status < 300:
            error = f"the channel answered {answer.status}"
            return Outcome(OutcomeKind.REFUSED, version, error=error, retry_after_s=_retry_after_s(answer, now))
        if answer.body.lstrip()[:1] == b"<":
            return Outcome(OutcomeKind.REFUSED, version, error=f"the channel answered {answer.status} with a web page")
        return Outcome(OutcomeKind.ACCEPTED, version, tuple(runs))


def _message(body: bytes) -> GenericJsonRevision | UnparseableRevision:
    """The message, or why it is none; returned, so that the parser's error with its input is not in the context."""
    try:
        return GenericJsonRevision.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    return UnparseableRevision(field, first["type"], first["msg"].removeprefix("Value error, "))


def _check(message: GenericJsonRevision) -> None:
    """What the fields must be together, and what our store cannot keep."""
    if message.published_at is not None and message.published_at.astimezone(UTC).date() < EARLIEST_DATE:
        raise UnparseableRevision("published_at", "too_early", f"must not be before {EARLIEST_DATE}")
    if message.status is not RevisionStatus.CANCELLED:
        for name in ("check_in", "check_out"):
            if getattr(message, name) is None:
                raise UnparseableRevision(name, "missing", "is required unless the revision is a cancellation")
    if message.check_in is not None and message.check_out is not None and message.check_out <= message.check_in:
        raise UnparseableRevision("check_out", "not_after_check_in", "must be after check_in")
    guest = message.guest.model_dump() if message.guest is not None else {}
    for name, value in {**dict(message), **{f"guest.{name}": value for name, value in guest.items()}}.items():
        if isinstance(value, str) and "\x00" in value:
            raise UnparseableRevision(name, "nul_character", "must not hold the character NUL")


def _revision(message: GenericJsonRevision) -> ParsedRevision:
    party, guest = message.occupancy, message.guest
    return ParsedRevision(
        revision_id=message.revision_id,
        status=message.status.value,
        ota_name=message.ota_name,
        ota_reservation_code=message.ota_reservation_code,
        ota_listing_id=message.ota_listing_id,
        published_at=message.published_at,
        check_in=message.check_in,
        check_out=message.check_out,
        party=Party(party.adults, party.children, party.infants) if party is not None else None,
        guest=Guest(guest.name, guest.email, guest.phone) if guest is not None else None,
        total_amount_minor=message.total_amount_minor,
        currency=message.currency,
    )


def _retry_after_s(answer: ChannelAnswer, now: datetime) -> float | None:
    """Seconds of a Retry-After header, which is a number of seconds or a date; None when absent or unreadable."""
    if answer.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
