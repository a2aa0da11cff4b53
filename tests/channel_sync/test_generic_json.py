"""Proves the generic JSON adapter: bytes to domain, domain to bytes, and what answers mean."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_sync.adapters import ADAPTERS
from channel_sync.domain.ari import ChannelTarget, ItemOutcome, NightValues, PushItem, ValueRun
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest, OutcomeKind
from channel_sync.domain.revisions import Guest, ParsedRevision, Party
from channel_sync.domain.signature import is_genuine
from contracts.channel_sync_http_v1 import GenericJsonPush, GenericJsonRevision

ADAPTER = ADAPTERS["generic-json"]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECRET = "a secret of sixteen characters"
TARGET = ChannelTarget("https://channel.example/push", SECRET, {})
RUNS = (
    ValueRun(date(2026, 5, 1), date(2026, 5, 3), NightValues(1, 9000, 2, None, 14, closed_to_arrival=True)),
    ValueRun(date(2026, 5, 3), date(2026, 5, 5), NightValues(0)),
)
ITEM = PushItem(UUID(int=1), 7, "L-1", "P-1", "EUR", RUNS)


def message(**changes: Any) -> dict[str, Any]:
    """A whole revision, with some fields changed; None takes a field away."""
    whole: dict[str, Any] = {
        "revision_id": "rev-1",
        "published_at": "2026-04-01T10:00:00.5Z",
        "status": "new",
        "ota_name": "channel",
        "ota_reservation_code": "ABC123",
        "ota_listing_id": "L-1",
        "check_in": "2026-06-01",
        "check_out": "2026-06-04",
        "occupancy": {"adults": 2, "children": 1},
        "guest": {"name": "Zoë Ångström", "email": "zoe@guest.example", "phone": "+351 1"},
        "total_amount_minor": 30000,
        "currency": "EUR",
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def body(**changes: Any) -> bytes:
    """The bytes of `message`."""
    return json.dumps(message(**changes)).encode()


def test_a_whole_revision_is_read_field_by_field() -> None:
    assert ADAPTER.parse(body()) == ParsedRevision(
        revision_id="rev-1",
        status="new",
        ota_name="channel",
        ota_reservation_code="ABC123",
        ota_listing_id="L-1",
        published_at=datetime(2026, 4, 1, 10, 0, 0, 500000, tzinfo=UTC),
        check_in=date(2026, 6, 1),
        check_out=date(2026, 6, 4),
        party=Party(2, 1, 0),
        guest=Guest("Zoë Ångström", "zoe@guest.example", "+351 1"),
        total_amount_minor=30000,
        currency="EUR",
    )


def test_a_cancellation_needs_no_stay() -> None:
    revision = ADAPTER.parse(body(status="cancelled", check_in=None, check_out=None, guest=None, occupancy=None))
    assert (revision.status, revision.check_in, revision.guest) == ("cancelled", None, None)


def test_fields_the_suite_does_not_know_are_ignored() -> None:
    assert ADAPTER.parse(body(loyalty_level="gold")).revision_id == "rev-1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"revision_id": None}, "revision_id"),
        ({"revision_id": ""}, "revision_id"),
        ({"revision_id": 7}, "revision_id"),
        ({"status": "booked"}, "status"),
        ({"check_in": None}, "check_in"),
        ({"status": "modified", "check_out": None}, "check_out"),
        ({"check_in": "2026-02-30"}, "check_in"),
        ({"check_in": "1999-12-31"}, "check_in"),
        ({"check_out": "2026-06-01"}, "check_out"),
        ({"status": "cancelled", "check_out": "2026-05-01"}, "check_out"),
        ({"occupancy": {"adults": 0}}, "occupancy.adults"),
        ({"published_at": "2026-04-01T10:00:00"}, "published_at"),
        ({"published_at": "1970-01-01T00:00:00Z"}, "published_at"),
        ({"total_amount_minor": 10.5}, "total_amount_minor"),
        ({"currency": "euro"}, "currency"),
        ({"ota_listing_id": "x" * 121}, "ota_listing_id"),
        ({"guest": {"name": "nul\x00"}}, "guest.name"),
        ({"ota_reservation_code": "nul\x00"}, "ota_reservation_code"),
    ],
)
def test_what_cannot_be_read_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UnparseableRevision) as refused:
        ADAPTER.parse(body(**changes))
    assert refused.value.field == field
    assert refused.value.log_id is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", body()[:-10], b'{"revision_id": "\xff"}', b'{"revision_id": "\\ud800"}'],
)
def test_bytes_that_are_no_revision_are_unparseable(raw: bytes) -> None:
    with pytest.raises(UnparseableRevision):
        ADAPTER.parse(raw)


def test_what_is_said_of_an_unreadable_revision_holds_nothing_of_the_guest() -> None:
    guest = {"name": "Secret Person" * 40, "email": "secret@guest.example", "phone": 5}
    with pytest.raises(UnparseableRevision) as refused:
        ADAPTER.parse(body(guest=guest, check_in="secret@guest.example"))
    told = f"{refused.value} {refused.value.field} {refused.value.code} {refused.value!r} {refused.value.__context__}"
    assert "ecret" not in told


def test_a_parsed_revision_does_not_show_the_guest_when_it_is_logged() -> None:
    shown = repr(ADAPTER.parse(body()))
    assert "Zoë" not in shown
    assert "zoe@guest.example" not in shown


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_unparseable(raw: bytes) -> None:
    try:
        ADAPTER.parse(raw)
    except UnparseableRevision:
        return


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(message())), inner, max_size=5)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_unparseable(value: Any) -> None:
    reason = ""
    try:
        ADAPTER.parse(json.dumps(value).encode())
    except UnparseableRevision as error:
        reason = f"{error}{error.code}"
    assert "\x00" not in reason, "PostgreSQL's text cannot hold it"


def test_what_the_contract_writes_the_adapter_reads() -> None:
    written = GenericJsonRevision.model_validate(message()).model_dump_json().encode()
    assert ADAPTER.parse(written) == ADAPTER.parse(body())


def test_a_push_says_every_night_as_an_absolute_value_and_is_signed() -> None:
    (push,) = ADAPTER.push_requests(TARGET, [ITEM], NOW)
    request = push.request

    assert (request.method, request.url) == ("POST", "https://channel.example/push")
    assert push.covers == (ITEM,)
    assert json.loads(request.body) == {
        "ota_listing_id": "L-1",
        "ota_rate_plan_id": "P-1",
        "inventory_version": 7,
        "days": [
            {
                "start_date": "2026-05-01",
                "end_date": "2026-05-03",
                "available": 1,
                "rate_minor": 9000,
                "currency": "EUR",
                "min_stay_arrival": 2,
                "max_stay": 14,
                "closed_to_arrival": True,
            },
            {"start_date": "2026-05-03", "end_date": "2026-05-05", "available": 0},
        ],
    }
    GenericJsonPush.model_validate_json(request.body)
    assert genuine(request)


def genuine(request: OutboundRequest) -> bool:
    """Whether the connection's secret signed it."""
    stamp, signature = request.headers["X-PMS-Timestamp"], request.headers["X-PMS-Signature"]
    return is_genuine(SECRET, stamp, signature, request.body, NOW)


def test_a_connection_is_tested_by_a_signed_get_that_tells_nothing() -> None:
    request = ADAPTER.test_request(TARGET, NOW)
    assert (request.method, request.url, request.body) == ("GET", "https://channel.example/push", b"")
    assert genuine(request)
    assert ADAPTER.test_error(ChannelAnswer(204, {}, b"")) is None
    assert "401" in str(ADAPTER.test_error(ChannelAnswer(401, {}, b"")))
    assert "web page" in str(ADAPTER.test_error(ChannelAnswer(200, {}, b"<html>")))


def answered(status: int, headers: dict[str, str] | None = None, text: bytes = b"{}") -> ItemOutcome:
    """What an answer to the push means."""
    (push,) = ADAPTER.push_requests(TARGET, [ITEM], NOW)
    (outcome,) = ADAPTER.push_outcome(push, ChannelAnswer(status, headers or {}, text), NOW)
    return outcome


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_accepted_with_its_nights(status: int) -> None:
    assert answered(status, text=b"") == ItemOutcome(ITEM.listing_id, OutcomeKind.ACCEPTED, RUNS)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_refused_and_names_the_status(status: int) -> None:
    outcome = answered(status)
    assert (outcome.kind, outcome.runs) == (OutcomeKind.REFUSED, ())
    assert str(status) in str(outcome.error)


def test_a_web_page_with_200_is_not_accepted() -> None:
    assert answered(200, text=b"\n <!doctype html><html>").kind is OutcomeKind.REFUSED


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    later = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert answered(429, {"retry-after": "7"}).retry_after_s == 7
    assert answered(503, {"Retry-After": later}).retry_after_s == 90
    assert answered(429, {"Retry-After": "soon"}).retry_after_s is None
    assert answered(429).retry_after_s is None
    assert answered(500, {"Retry-After": "7"}).retry_after_s is None
