"""Owns the channel's side of the Channex-style API as a pure machine; used by its adapter's tests and simulators.

It refuses what docs/channels/channex.md says the real one refuses, with the answers documented there.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest

CALLS_A_MINUTE = 10
MAX_BODY = 10 * 1024 * 1024
MINUTE = timedelta(minutes=1)
AT_LEAST = {"availability": 0, "rate": 1, "min_stay_arrival": 1, "min_stay_through": 1, "max_stay": 0}
FLAGS = ("closed_to_arrival", "closed_to_departure", "stop_sell")
DEFAULTS: Mapping[str, Any] = {
    "min_stay_arrival": 1,
    "min_stay_through": 1,
    "max_stay": 0,
    **dict.fromkeys(FLAGS, False),
}


@dataclass
class ChannexChannel:
    """One account: what it believes of each room type and rate plan, and its revisions that nobody acknowledged.

    `nights` maps (room type or rate plan, night) to the values told; `answered` counts calls that were taken.
    """

    api_key: str
    nights: dict[tuple[str, date], dict[str, Any]] = field(default_factory=dict)
    revisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    calls: dict[tuple[str, str], deque[datetime]] = field(default_factory=dict)
    answered: int = 0

    def answer(self, request: OutboundRequest, now: datetime) -> ChannelAnswer:
        """What Channex answers to one request at `now`."""
        if request.headers.get("user-api-key") != self.api_key:
            return _error(401, "unauthorized", "Unauthorized")
        self.answered += 1
        path = urlsplit(request.url).path.partition("/api/v1")[2]
        if request.method == "GET" and path == "/properties":
            return _json(200, {"data": [], "meta": {"total": 0, "limit": 1, "page": 1}})
        if request.method == "GET" and path == "/booking_revisions/feed":
            return self._feed(request)
        if request.method == "POST" and path in ("/availability", "/restrictions"):
            return self._push(path, request, now)
        if request.method == "POST" and path.startswith("/booking_revisions/") and path.endswith("/ack"):
            return self._ack(path.split("/")[2])
        return _error(404, "not_found", "Resource Not Found")

    def _feed(self, request: OutboundRequest) -> ChannelAnswer:
        query = parse_qs(urlsplit(request.url).query)
        limit, page = int(query.get("pagination[limit]", ["10"])[0]), int(query.get("pagination[page]", ["1"])[0])
        waiting = [entry for key, entry in self.revisions.items() if key not in self.acknowledged]
        shown = waiting[(page - 1) * limit : page * limit]
        return _json(200, {"data": shown, "meta": {"total": len(waiting), "limit": limit, "page": page}})

    def _ack(self, revision_id: str) -> ChannelAnswer:
        if revision_id not in self.revisions:
            return _error(404, "not_found", "Resource Not Found")
        self.acknowledged.append(revision_id)
        return _json(200, {"meta": {"message": "Success"}})

    def _push(self, path: str, request: OutboundRequest, now: datetime) -> ChannelAnswer:
        if len(request.body) > MAX_BODY:
            return _error(413, "payload_too_large", "Payload Too Large")
        values = json.loads(request.body)["values"]
        if any(not self._may_call(path, property_id, now) for property_id in {v["property_id"] for v in values}):
            return _error(429, "http_too_many_requests", "Too Many Requests")
        warnings = []
        for value in values:
            wrong = _wrong(path, value, now.date())
            if wrong:
                warnings.append({**value, "warning": wrong})
            else:
                self._believe(path, value)
        meta: dict[str, Any] = {"message": "Success", **({"warnings": warnings} if warnings else {})}
        tasks = [{"id": "task", "type": "task"}] if len(warnings) < len(values) else []
        return _json(200, {"data": tasks, "meta": meta})

    def _may_call(self, path: str, property_id: str, now: datetime) -> bool:
        calls = self.calls.setdefault((path, property_id), deque())
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if len(calls) >= CALLS_A_MINUTE:
            return False
        calls.append(now)
        return True

    def _believe(self, path: str, value: Mapping[str, Any]) -> None:
        name = value["room_type_id" if path == "/availability" else "rate_plan_id"]
        told = {key: value[key] for key in (*AT_LEAST, *FLAGS) if key in value}
        night, last = (date.fromisoformat(value[key]) for key in ("date_from", "date_to"))
        while night <= last:
            known = self.nights.setdefault((name, night), dict(DEFAULTS) if path == "/restrictions" else {})
            known.update(told)
            night += timedelta(days=1)


def _wrong(path: str, value: Mapping[str, Any], today: date) -> dict[str, list[str]]:
    """Why a value is refused, by its field."""
    wrong: dict[str, list[str]] = {}
    target = "room_type_id" if path == "/availability" else "rate_plan_id"
    if not value.get(target):
        wrong[target] = ["can't be blank"]
    if date.fromisoformat(value["date_from"]) < today or value["date_to"] < value["date_from"]:
        wrong["date_from"] = ["is invalid"]
    for name, least in AT_LEAST.items():
        if name in value and (type(value[name]) is not int or value[name] < least):
            wrong[name] = [f"must be greater than or equal to {least}"]
    for name in FLAGS:
        if name in value and value[name] not in (True, False):
            wrong[name] = ["is invalid"]
    told = {"availability"} if path == "/availability" else {*AT_LEAST, *FLAGS} - {"availability"}
    if not told & value.keys():
        wrong["values"] = ["at least one restriction should be present"]
    return wrong


def _error(status: int, code: str, title: str) -> ChannelAnswer:
    return _json(status, {"errors": {"code": code, "title": title}})


def _json(status: int, body: Mapping[str, Any]) -> ChannelAnswer:
    return ChannelAnswer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
