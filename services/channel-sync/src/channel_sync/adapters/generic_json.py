"""Owns the generic JSON protocol: signed revisions in, signed absolute nights out; called through the registry."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import ClassVar

from pydantic import ValidationError

from channel_sync.domain.ari import ChannelTarget, ItemOutcome, Limits, PushItem, PushRequest, ValueRun
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.pushes import ERROR_CLASSES, ChannelAnswer, OutboundRequest, OutcomeKind
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


class GenericJson:
    """The adapter `generic-json`."""

    name: ClassVar[str] = "generic-json"
    limits: ClassVar[Limits] = Limits(
        calls_per_minute_per_property=None, calls_per_minute=None, max_days=730, request_timeout_s=60.0
    )

    def parse(self, raw: bytes) -> ParsedRevision:
        """Read one revision; raises `UnparseableRevision` naming the field, never what it held."""
        message = _message(raw)
        if isinstance(message, UnparseableRevision):
            raise message
        _check(message)
        return _revision(message)

    def without_guest(self, raw: bytes) -> bytes:
        """The message without `guest`, and nothing of what is no JSON object."""
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            return b""
        if not isinstance(message, dict):
            return b""
        return json.dumps({name: value for name, value in message.items() if name != "guest"}).encode()

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """A call for each listing."""
        return tuple(PushRequest(_push(target, item, now), (item,), item.ota_listing_id) for item in items)

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """2xx is accepted, unless it is a web page: then something between us and the channel answered."""
        error, error_class = _whole_error(answer)
        if error is None:
            return tuple(ItemOutcome(item.listing_id, OutcomeKind.ACCEPTED, item.runs) for item in request.covers)
        pause_s = _retry_after_s(answer, now)
        return tuple(
            ItemOutcome(item.listing_id, OutcomeKind.REFUSED, (), error, error_class, pause_s)
            for item in request.covers
        )

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """A signed GET of the address pushes go to."""
        return _signed(target, b"", now, "GET")

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """Any 2xx that is no web page will do."""
        return _whole_error(answer)[0]


def _push(target: ChannelTarget, item: PushItem, now: datetime) -> OutboundRequest:
    message = GenericJsonPush(
        ota_listing_id=item.ota_listing_id,
        ota_rate_plan_id=item.ota_rate_plan_id,
        inventory_version=item.version,
        days=[_days(item.currency, run) for run in item.runs],
    )
    return _signed(target, message.model_dump_json(exclude_none=True).encode(), now, "POST")


def _days(currency: str, run: ValueRun) -> GenericJsonDays:
    values = run.values
    return GenericJsonDays(
        start_date=run.start,
        end_date=run.end,
        available=1 if values.available else 0,
        rate_minor=values.rate_minor,
        currency=None if values.rate_minor is None else currency,
        min_stay_arrival=values.min_stay_arrival,
        min_stay_through=values.min_stay_through,
        max_stay=values.max_stay,
        closed_to_arrival=values.closed_to_arrival or None,
        closed_to_departure=values.closed_to_departure or None,
        stop_sell=values.stop_sell or None,
    )


def _signed(target: ChannelTarget, body: bytes, now: datetime, method: str) -> OutboundRequest:
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: signature_of(target.secret, timestamp, body),
    }
    return OutboundRequest(target.endpoint_url, headers, body, method)


def _whole_error(answer: ChannelAnswer) -> tuple[str | None, str | None]:
    """Why a call was not accepted, and its class; (None, None) when it was."""
    if not 200 <= answer.status < 300:
        fallback = "channel_error" if answer.status >= 500 else "refused"
        return f"the channel answered {answer.status}", ERROR_CLASSES.get(answer.status, fallback)
    if answer.body.lstrip()[:1] == b"<":
        return f"the channel answered {answer.status} with a web page", "not_the_api"
    return None, None


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
