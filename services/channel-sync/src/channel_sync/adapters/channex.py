"""Owns the Channex-style JSON API: a feed of revisions in, availability and restrictions out; called by service.

The connection's address is the API's base (".../api/v1"), its secret the API key. A listing is called
`<property_id>/<room_type_id>`, its rate plan `<rate_plan_id>`. Sources: docs/channels/channex.md.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from channel_sync.adapters.channex_messages import instant, object_of, read_revision, stripped
from channel_sync.domain.ari import (
    ChannelTarget,
    FeedItem,
    FeedPage,
    ItemOutcome,
    Limits,
    NightValues,
    PushItem,
    PushRequest,
    ValueRun,
)
from channel_sync.domain.errors import FeedUnreadable
from channel_sync.domain.pushes import ERROR_CLASSES, ChannelAnswer, OutboundRequest, OutcomeKind
from channel_sync.domain.revisions import ParsedRevision

ONE_NIGHT = timedelta(days=1)
FEED_PAGE = 100
# 50 listings of 500 nights, each with values of its own, stay below the 10 MB a call may have.
ITEMS_PER_CALL = 50
PAUSE_S = 60.0
AVAILABILITY, RESTRICTIONS = "/availability", "/restrictions"
WARNED_FIELDS = frozenset(
    (
        *("availability", "rate", "rates", "min_stay", "min_stay_arrival", "min_stay_through", "max_stay"),
        *("closed_to_arrival", "closed_to_departure", "stop_sell", "date", "date_from", "date_to", "days"),
        *("property_id", "room_type_id", "rate_plan_id"),
    )
)
Span = tuple[date, date]


class Channex:
    """The adapter `channex`."""

    name: ClassVar[str] = "channex"
    limits: ClassVar[Limits] = Limits(
        calls_per_minute_per_property=10, calls_per_minute=None, max_days=500, request_timeout_s=30.0
    )
    acks_per_call: ClassVar[int] = 1

    def parse(self, raw: bytes) -> ParsedRevision:
        """Read one item of the feed; raises `UnparseableRevision` naming the field, never what it held."""
        return read_revision(raw)

    def without_guest(self, raw: bytes) -> bytes:
        """The item with those fields alone that cannot name a guest, and nothing of what is no JSON object."""
        message = object_of(raw)
        return b"" if message is None else json.dumps(stripped(message)).encode()

    def push_requests(self, target: ChannelTarget, items: Sequence[PushItem], now: datetime) -> tuple[PushRequest, ...]:
        """At most one call for availability and one for restrictions per property of Channex and 50 listings.

        Availability goes first where it closes nights; where it only opens some, their price and rules go first. An
        item without a rate plan is told its availability alone.
        """
        requests: list[PushRequest] = []
        by_property = sorted(items, key=_property_id)
        for _, of_property in groupby(by_property, key=_property_id):
            whole = list(of_property)
            for start in range(0, len(whole), ITEMS_PER_CALL):
                requests += _calls(target, whole[start : start + ITEMS_PER_CALL])
        return tuple(requests)

    def push_outcome(self, request: PushRequest, answer: ChannelAnswer, now: datetime) -> tuple[ItemOutcome, ...]:
        """Per listing what was accepted: a 200 may carry warnings, and each warning is a refused value."""
        error, error_class = _whole_error(answer)
        if error is not None:
            pause = _pause_s(answer)
            return tuple(
                ItemOutcome(item.listing_id, OutcomeKind.REFUSED, (), error, error_class, pause)
                for item in request.covers
            )
        warnings = _warnings(object_of(answer.body) or {})
        return tuple(_item_outcome(item, request.request.url, warnings) for item in request.covers)

    def test_request(self, target: ChannelTarget, now: datetime) -> OutboundRequest:
        """Asks for one property: the smallest thing that needs the key."""
        return _request(target, "/properties?" + urlencode({"pagination[limit]": 1}), None, "GET")

    def test_error(self, answer: ChannelAnswer) -> str | None:
        """Why the connection does not work; None when it does."""
        return _whole_error(answer)[0]

    def feed_request(self, target: ChannelTarget, cursor: str | None) -> OutboundRequest:
        """The oldest revisions that are not acknowledged: acknowledging is what moves this feed on, not a cursor."""
        query = {"pagination[page]": 1, "pagination[limit]": FEED_PAGE, "order[inserted_at]": "asc"}
        return _request(target, "/booking_revisions/feed?" + urlencode(query), None, "GET")

    def feed_page(self, answer: ChannelAnswer) -> FeedPage:
        """The revisions of a page, without their cards; raises `FeedUnreadable`."""
        error, _ = _whole_error(answer)
        if error is not None:
            raise FeedUnreadable(error)
        body = object_of(answer.body) or {}
        data, meta = body.get("data"), body.get("meta")
        if not isinstance(data, list):
            raise FeedUnreadable("the channel's feed has no list `data`")
        items = tuple(_feed_item(entry) for entry in data)
        total = meta.get("total") if isinstance(meta, dict) else None
        return FeedPage(items, None, isinstance(total, int) and total > len(items))

    def ack_request(self, target: ChannelTarget, items: Sequence[FeedItem]) -> OutboundRequest | None:
        """Acknowledges one revision; nothing for none. Channex takes no more in one call: `acks_per_call`."""
        if not items:
            return None
        if len(items) > self.acks_per_call:
            raise ValueError("one call acknowledges one revision")
        return _request(target, f"/booking_revisions/{quote(items[0].revision_id, safe='')}/ack", {}, "POST")

    def acked(self, answer: ChannelAnswer) -> bool:
        """Whether the channel will not send that revision again."""
        return _whole_error(answer)[0] is None


def _property_id(item: PushItem) -> str:
    return item.ota_listing_id.partition("/")[0]


def _request(target: ChannelTarget, path: str, body: dict[str, Any] | None, method: str) -> OutboundRequest:
    headers = {"Accept": "application/json", "user-api-key": target.secret}
    if body is not None:
        headers["Content-Type"] = "application/json"
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    return OutboundRequest(target.endpoint_url.rstrip("/") + path, headers, content, method)


def _calls(target: ChannelTarget, items: Sequence[PushItem]) -> list[PushRequest]:
    items = [item for item in items if item.runs]
    planned = [item for item in items if item.ota_rate_plan_id is not None]
    calls = [
        _call(target, AVAILABILITY, items, _availability_values),
        _call(target, RESTRICTIONS, planned, _restriction_values),
    ]
    if not any(run.values.available == 0 for item in items for run in item.runs):
        calls.reverse()
    return [call for call in calls if call.covers]


def _call(
    target: ChannelTarget, path: str, items: Sequence[PushItem], values_of: Callable[[PushItem], list[dict[str, Any]]]
) -> PushRequest:
    values = [value for item in items for value in values_of(item)]
    bucket = f"{path}/{_property_id(items[0])}" if items else ""
    return PushRequest(_request(target, path, {"values": values}, "POST"), tuple(items), bucket)


def _availability_values(item: PushItem) -> list[dict[str, Any]]:
    property_id, _, room_type_id = item.ota_listing_id.partition("/")
    names = {"property_id": property_id, "room_type_id": room_type_id}
    return [
        {**names, **_dates(span), **value}
        for span, value in _joined(item.runs, lambda values: {"availability": values.available})
    ]


def _restriction_values(item: PushItem) -> list[dict[str, Any]]:
    names = {"property_id": _property_id(item), "rate_plan_id": item.ota_rate_plan_id}
    return [{**names, **_dates(span), **value} for span, value in _joined(item.runs, _restrictions)]


def _restrictions(values: NightValues) -> dict[str, Any]:
    """Absolute, so what has no value here is told as the value that restricts nothing; a price has no such value."""
    told = {
        "min_stay_arrival": values.min_stay_arrival or 1,
        "min_stay_through": values.min_stay_through or 1,
        "max_stay": values.max_stay or 0,
        "closed_to_arrival": values.closed_to_arrival,
        "closed_to_departure": values.closed_to_departure,
        "stop_sell": values.stop_sell,
    }
    return told if values.rate_minor is None else {"rate": values.rate_minor, **told}


def _joined(
    runs: Iterable[ValueRun], told: Callable[[NightValues], dict[str, Any]]
) -> Iterator[tuple[Span, dict[str, Any]]]:
    """Neighbouring runs that one call need not tell apart, as one."""
    joined: list[tuple[Span, dict[str, Any]]] = []
    for run in runs:
        value = told(run.values)
        if joined and joined[-1][0][1] == run.start and joined[-1][1] == value:
            joined[-1] = ((joined[-1][0][0], run.end), value)
        else:
            joined.append(((run.start, run.end), value))
    yield from joined


def _dates(span: Span) -> dict[str, str]:
    """Channex's ranges end with their last night."""
    return {"date_from": span[0].isoformat(), "date_to": (span[1] - ONE_NIGHT).isoformat()}


def _whole_error(answer: ChannelAnswer) -> tuple[str | None, str | None]:
    """Why nothing of a call was accepted, and its class; (None, None) when it was. Never what the channel wrote."""
    if not 200 <= answer.status < 300:
        fallback = "channel_error" if answer.status >= 500 else "refused"
        return f"the channel answered {answer.status}", ERROR_CLASSES.get(answer.status, fallback)
    body = object_of(answer.body)
    if body is None or not ("data" in body or "meta" in body):
        return f"the channel answered {answer.status} with something that is not its API's", "not_the_api"
    return (None, None) if "errors" not in body else (f"the channel answered {answer.status} with errors", "refused")


def _pause_s(answer: ChannelAnswer) -> float | None:
    """Channex asks for a minute's pause after an error, and documents no Retry-After; a longer one is honoured."""
    if answer.status < 400:
        return None
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    asked = float(text) if text.isascii() and text.isdecimal() else 0.0
    return max(asked, PAUSE_S)


def _warnings(body: dict[str, Any]) -> list[dict[str, Any]]:
    meta = body.get("meta")
    warnings = meta.get("warnings") if isinstance(meta, dict) else None
    if not warnings:
        return []
    # What is not a list of objects names no night: then every night counts as refused.
    return [entry if isinstance(entry, dict) else {} for entry in (warnings if isinstance(warnings, list) else [{}])]


def _item_outcome(item: PushItem, url: str, warnings: Sequence[dict[str, Any]]) -> ItemOutcome:
    own = [warning for warning in warnings if _concerns(warning, item, url)]
    if not own:
        return ItemOutcome(item.listing_id, OutcomeKind.ACCEPTED, item.runs)
    runs = item.runs
    for warning in own:
        runs = tuple(_without(runs, _span(warning)))
    fields = sorted({name for warning in own for name in _warned(warning)} & WARNED_FIELDS)
    error = f"the channel refused values: {', '.join(fields) or 'it does not say which'}"
    return ItemOutcome(item.listing_id, OutcomeKind.REFUSED, runs, error, "values_refused", PAUSE_S)


def _concerns(warning: dict[str, Any], item: PushItem, url: str) -> bool:
    """Whether a warning is about this item; one that does not name whom it is about is about all."""
    property_id, _, room_type_id = item.ota_listing_id.partition("/")
    of_rooms = url.endswith(AVAILABILITY)
    name, own = ("room_type_id", room_type_id) if of_rooms else ("rate_plan_id", item.ota_rate_plan_id)
    return warning.get("property_id", property_id) == property_id and warning.get(name, own) == own


def _warned(warning: dict[str, Any]) -> Iterable[str]:
    told = warning.get("warning")
    return told if isinstance(told, dict) else ()


def _span(warning: dict[str, Any]) -> Span:
    """The nights a warning is about; all of them when it does not say."""
    try:
        first = date.fromisoformat(str(warning.get("date_from") or warning["date"]))
        last = date.fromisoformat(str(warning.get("date_to") or warning["date"]))
    except (KeyError, ValueError):
        return date.min, date.max
    return (first, last + ONE_NIGHT) if first <= last < date.max else (date.min, date.max)


def _without(runs: Iterable[ValueRun], span: Span) -> Iterator[ValueRun]:
    """The runs without the nights of a span."""
    for run in runs:
        for start, end in ((run.start, min(run.end, span[0])), (max(run.start, span[1]), run.end)):
            if start < end:
                yield ValueRun(start, end, run.values)


def _feed_item(entry: object) -> FeedItem:
    """One revision; an entry that has no id cannot be stored or acknowledged, so the page is refused whole."""
    revision_id = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(revision_id, str) or not revision_id:
        raise FeedUnreadable("an entry of the channel's feed has no `id`")
    attributes = entry.get("attributes")
    about = attributes if isinstance(attributes, dict) else {}
    kept = {**entry, "attributes": {name: value for name, value in about.items() if name != "guarantee"}}
    return FeedItem(revision_id, json.dumps(kept).encode(), _published_at(about.get("inserted_at")))


def _published_at(text: object) -> datetime | None:
    try:
        return instant(datetime.fromisoformat(text)) if isinstance(text, str) else None
    except ValueError:
        return None
