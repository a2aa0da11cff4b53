"""Owns OpenTravel XML as Booking.com-style channels speak it: two queues in, two messages out; called by service.

The connection's address is what the messages' names are put behind (".../hotels/ota"), its secret "user:password" or,
with the setting `authentication` "token", a token. A listing is called `<hotel code>/<room type code>`, its rate plan
`<rate plan code>`. Sources: docs/channels/ota-xml.md.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import ClassVar

from channel_sync.adapters.ota_xml_messages import (
    ENTRIES,
    NEW,
    entries_of,
    hotel_code,
    instant,
    read_revision,
    reservation_id,
    revision_id,
    single,
    stripped,
)
from channel_sync.adapters.ota_xml_parser import Element, XmlRefused, attribute, descend, first, name_of, root_of
from channel_sync.adapters.ota_xml_writing import (
    AVAILABILITY,
    CHANGES,
    RATES,
    RESERVATIONS,
    Span,
    acknowledgement,
    availability_message,
    codes,
    concerned,
    hotel_of,
    plan_of,
    rates_message,
    room_of,
)
from channel_sync.domain.ari import (
    ChannelTarget,
    FeedItem,
    FeedPage,
    ItemOutcome,
    Limits,
    PushItem,
    PushRequest,
    ValueRun,
)
from channel_sync.domain.errors import FeedUnreadable
from channel_sync.domain.pushes import ERROR_CLASSES, ChannelAnswer, OutboundRequest, OutcomeKind
from channel_sync.domain.revisions import ParsedRevision

# 10 listings of 365 nights, each with values of its own, stay below 8 MB.
ITEMS_PER_CALL = 10
CHANGES_CURSOR = "changes"
SYSTEM_ERRORS = frozenset(("448", "450"))
AUTHORISATION_ERROR = "497"


class OtaXml:
    """The adapter `ota-xml`."""

    name: ClassVar[str] = "ota-xml"
    limits: ClassVar[Limits] = Limits(
        calls_per_minute_per_property=None, calls_per_minute=None, max_days=365, request_timeout_s=60.0
    )
    acks_per_call: ClassVar[int] = 1

    def parse(self, raw: bytes) -> ParsedRevision:
        """Read a message with one reservation; raises `UnparseableRevision` naming the field, never what it held."""
        return read_revision(raw)

    def without_guest(self, raw: bytes) -> bytes:
        """The message with those fields alone that cannot name a guest, and nothing of what cannot be read."""
        return stripped(raw)

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """At most one call for availability and one for prices per hotel and 10 listings.

        Availability goes first where it closes nights; where it only opens some, their prices go first.
        """
        requests: list[PushRequest] = []
        told = sorted((item for item in items if item.runs), key=hotel_of)
        for _, of_hotel in groupby(told, key=hotel_of):
            whole = list(of_hotel)
            for start in range(0, len(whole), ITEMS_PER_CALL):
                requests += _calls(target, whole[start : start + ITEMS_PER_CALL], now)
        return tuple(requests)

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """Per listing what was accepted: a success may carry warnings, and each names a part that was refused."""
        kind = request.request.url.rpartition("/")[2]
        root, error, error_class = _answer(answer, f"{kind}RS")
        if root is None:
            pause = _pause_s(answer)
            return tuple(
                ItemOutcome(item.listing_id, OutcomeKind.REFUSED, (), error, error_class, pause)
                for item in request.covers
            )
        warnings = list(descend(root, "Warnings/Warning"))
        refused = list(_refused(request.request.body, warnings)) if warnings else []
        return tuple(_item_outcome(item, refused, warnings) for item in request.covers)

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """Looks at the queue of new reservations: nothing leaves it that is not acknowledged."""
        return self.feed_request(target, None)

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """Why the connection does not work; None when it does."""
        return _answer(answer, NEW)[1]

    def feed_request(self, target: ChannelTarget, cursor: str | None) -> OutboundRequest:
        """The queue of new reservations, then (`cursor` of the first) that of changes and cancellations.

        Acknowledging is what moves a queue on.
        """
        kind = CHANGES if cursor == CHANGES_CURSOR else RESERVATIONS
        return _request(target, _reservations(target), kind, b"", "GET")

    def feed_page(self, answer: ChannelAnswer) -> FeedPage:
        """What a queue holds, without cards; raises `FeedUnreadable`."""
        root, error, _ = _answer(answer, *ENTRIES)
        if root is None:
            raise FeedUnreadable(error or "")
        items = tuple(_feed_item(root, entry) for entry in entries_of(root))
        is_first = name_of(root) == NEW
        return FeedPage(items, CHANGES_CURSOR if is_first else None, is_first)

    def ack_request(self, target: ChannelTarget, items: Sequence[FeedItem]) -> OutboundRequest | None:
        """Says that one reservation of its queue is stored; nothing for none."""
        if not items:
            return None
        if len(items) > self.acks_per_call:
            raise ValueError("one call acknowledges one revision")
        root = root_of(items[0].raw)
        kind = RESERVATIONS if name_of(root) == NEW else CHANGES
        entry = entries_of(root)[0]
        number, stamp = reservation_id(entry) or "", attribute(root, "TimeStamp")
        body = acknowledgement(kind, number, hotel_code(entry), stamp, _target(target))
        return _request(target, _reservations(target), kind, body, "POST")

    def acked(self, answer: ChannelAnswer) -> bool:
        """Whether the reservation has left its queue."""
        return _answer(answer, f"{RESERVATIONS}RS", f"{CHANGES}RS")[0] is not None


def _reservations(target: ChannelTarget) -> str:
    """Reservations may be had at a host of their own, because of their cards."""
    own = target.settings.get("reservations_url")
    return own if isinstance(own, str) and own else target.endpoint_url


def _target(target: ChannelTarget) -> str:
    return "Test" if target.settings.get("target") == "Test" else "Production"


def _request(target: ChannelTarget, base: str, kind: str, body: bytes, method: str) -> OutboundRequest:
    scheme, secret = "Bearer", target.secret
    if target.settings.get("authentication") != "token":
        scheme, secret = "Basic", base64.b64encode(target.secret.encode()).decode()
    headers = {"Authorization": f"{scheme} {secret}", "Accept": "application/xml", "Accept-Version": "1.1"}
    if body:
        headers["Content-Type"] = "application/xml; charset=utf-8"
    return OutboundRequest(f"{base.rstrip('/')}/{kind}", headers, body, method)


def _calls(target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> list[PushRequest]:
    calls = [_call(target, AVAILABILITY, items, availability_message(items, now, _target(target)))]
    rates = rates_message(items, now, _target(target))
    if rates is not None:
        priced = [item for item in items if item.ota_rate_plan_id is not None and _has_price(item)]
        calls.append(_call(target, RATES, priced, rates))
    if not any(run.values.available == 0 for item in items for run in item.runs):
        calls.reverse()
    return calls


def _call(target: ChannelTarget, kind: str, items: Sequence[PushItem], body: bytes) -> PushRequest:
    request = _request(target, target.endpoint_url, kind, body, "POST")
    return PushRequest(request, tuple(items), f"{kind}/{hotel_of(items[0])}")


def _has_price(item: PushItem) -> bool:
    return any(run.values.rate_minor is not None for run in item.runs)


def _answer(answer: ChannelAnswer, *expected: str) -> tuple[Element | None, str | None, str | None]:
    """The message of a success, or why it is none and the class of that. Never what the channel wrote in words."""
    if not 200 <= answer.status < 300:
        fallback = "channel_error" if answer.status >= 500 else "refused"
        return None, f"the channel answered {answer.status}", ERROR_CLASSES.get(answer.status, fallback)
    try:
        root = root_of(answer.body)
    except XmlRefused as error:
        return None, f"the channel answered {answer.status} with a body that {error.reason}", "not_the_api"
    if name_of(root) not in expected:
        return None, f"the channel answered {answer.status} with something that is not its API's", "not_the_api"
    errors = list(descend(root, "Errors/Error"))
    if errors or first(root, "Errors") is not None:
        found = {attribute(error, "Code") for error in errors}
        error_class = "unauthorized" if AUTHORISATION_ERROR in found else "refused"
        error_class = "channel_error" if found and found <= SYSTEM_ERRORS else error_class
        return None, f"the channel answered with errors: {codes(errors)}", error_class
    if name_of(root) not in ENTRIES and first(root, "Success") is None:
        return None, "the channel answered neither success nor errors", "not_the_api"
    return root, None, None


def _pause_s(answer: ChannelAnswer) -> float | None:
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    return float(text) if answer.status >= 400 and text.isascii() and text.isdecimal() else None


def _refused(body: bytes, warnings: Iterable[Element]) -> Iterator[tuple[str | None, str | None, Span]]:
    """Room type, rate plan and nights of each refused part; of everything where a warning names none of ours."""
    parts = concerned(body)
    for warning in warnings:
        yield parts.get(attribute(warning, "RecordID") or "", (None, None, (date.min, date.max)))


def _item_outcome(
    item: PushItem, refused: Sequence[tuple[str | None, str | None, Span]], warnings: Sequence[Element]
) -> ItemOutcome:
    room, own_plan = room_of(item), plan_of(item)
    spans = [span for of_room, plan, span in refused if of_room in (None, room) and plan in (None, own_plan)]
    if not spans:
        return ItemOutcome(item.listing_id, OutcomeKind.ACCEPTED, item.runs)
    runs = item.runs
    for span in spans:
        runs = tuple(_without(runs, span))
    error = f"the channel refused values: {codes(warnings)}"
    return ItemOutcome(item.listing_id, OutcomeKind.REFUSED, runs, error, "values_refused")


def _without(runs: Iterable[ValueRun], span: Span) -> Iterator[ValueRun]:
    """The runs without the nights of a span."""
    for run in runs:
        for start, end in ((run.start, min(run.end, span[0])), (max(run.start, span[1]), run.end)):
            if start < end:
                yield ValueRun(start, end, run.values)


def _feed_item(root: Element, entry: Element) -> FeedItem:
    """One revision; a reservation without a number cannot be stored or acknowledged, so the page is refused whole."""
    if reservation_id(entry) is None:
        raise FeedUnreadable("a reservation of the channel's feed has no number")
    at = instant(attribute(entry, "LastModifyDateTime") or attribute(root, "TimeStamp"))
    return FeedItem(revision_id(root, entry), single(root, entry), at)
