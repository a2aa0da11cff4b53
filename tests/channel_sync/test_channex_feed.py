"""Proves the Channex adapter's feed: revisions cut out, read, stripped of guests and cards, and acknowledged."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from channel_sync.adapters.channex import Channex
from channel_sync.domain.ari import ChannelTarget
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer
from channel_sync.domain.revisions import Guest, ParsedRevision, Party
from tests.channel_sync.channels.channex import ChannexChannel

KEY = "the key of the account"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TARGET = ChannelTarget("https://channel.example/api/v1", KEY, {})
ADAPTER = Channex()
CARD = "400000******0002"


def room(**changes: Any) -> dict[str, Any]:
    return {
        "checkin_date": "2026-06-01",
        "checkout_date": "2026-06-04",
        "room_type_id": "R1",
        "rate_plan_id": "T1",
        "amount": "270.00",
        "occupancy": {"adults": 2, "children": 1, "infants": 0, "ages": [4]},
        "guests": [{"name": "Zoë", "surname": "Ångström"}],
        "meta": {"remarks": ["for Zoë"]},
        **changes,
    }


def entry(**changes: Any) -> dict[str, Any]:
    """A whole revision as the feed shows it, with some attributes changed."""
    attributes = {
        "property_id": "P",
        "booking_id": "B1",
        "unique_id": "BDC-77",
        "ota_reservation_code": "77",
        "ota_name": "BookingCom",
        "status": "new",
        "rooms": [room()],
        "customer": {"name": "Zoë", "surname": "Ångström", "mail": "zoe@guest.example", "phone": "+351 1"},
        "guarantee": {"card_number": CARD, "cardholder_name": "Z ANGSTROM"},
        "occupancy": {"adults": 2, "children": 1, "infants": 0},
        "arrival_date": "2026-06-01",
        "departure_date": "2026-06-04",
        "amount": "300.50",
        "currency": "EUR",
        "notes": "Zoë comes late",
        "inserted_at": "2026-04-01T10:00:00.500000",
        **changes,
    }
    return {"id": "rev-1", "type": "booking_revision", "attributes": attributes}


def raw(**changes: Any) -> bytes:
    return json.dumps(entry(**changes)).encode()


WHOLE = ParsedRevision(
    revision_id="rev-1",
    status="new",
    ota_name="BookingCom",
    ota_reservation_code="BDC-77",
    ota_listing_id="P/R1",
    published_at=datetime(2026, 4, 1, 10, 0, 0, 500000, tzinfo=UTC),
    check_in=date(2026, 6, 1),
    check_out=date(2026, 6, 4),
    party=Party(2, 1, 0),
    guest=Guest("Zoë Ångström", "zoe@guest.example", "+351 1"),
    total_amount_minor=30050,
    currency="EUR",
)


@pytest.mark.parametrize("status", ["new", "modified", "cancelled"])
def test_a_revision_is_read_whole_whatever_its_status(status: Any) -> None:
    assert ADAPTER.parse(raw(status=status)) == replace(WHOLE, status=status)


def test_several_rooms_are_several_stays_with_names_and_amounts_of_their_own() -> None:
    second = room(room_type_id="R2", amount="30.50", checkout_date="2026-06-03", occupancy={"adults": 1})
    revision = ADAPTER.parse(raw(rooms=[room(), second]))
    assert replace(revision, others=()) == replace(WHOLE, total_amount_minor=27000)
    assert revision.others == (
        replace(
            WHOLE,
            revision_id="rev-1#2",
            ota_reservation_code="BDC-77#2",
            ota_listing_id="P/R2",
            check_out=date(2026, 6, 3),
            party=Party(1, 0, 0),
            total_amount_minor=3050,
        ),
    )


def test_a_room_that_is_not_mapped_at_the_channel_is_kept_under_its_property() -> None:
    assert ADAPTER.parse(raw(rooms=[room(room_type_id=None)])).ota_listing_id == "P"


def test_a_cancellation_needs_no_rooms_and_no_dates() -> None:
    revision = ADAPTER.parse(raw(status="cancelled", rooms=[], arrival_date=None, departure_date=None))
    assert (revision.status, revision.check_in, revision.check_out) == ("cancelled", None, None)


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 300), ("KWD", 300500), ("USD", 30050)])
def test_amounts_are_in_the_minor_unit_of_their_currency(currency: str, minor: int) -> None:
    assert ADAPTER.parse(raw(currency=currency)).total_amount_minor == minor


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"status": "commit"}, "attributes.status"),
        ({"rooms": [room(checkout_date="2026-06-01")]}, "attributes.rooms.0.checkout_date"),
        ({"rooms": [room(checkin_date=None)], "arrival_date": None}, "attributes.rooms.0.checkin_date"),
        ({"rooms": [room(), room(amount="Zoë")]}, "attributes.rooms.1.amount"),
        ({"unique_id": None, "ota_reservation_code": None}, "attributes.unique_id"),
        ({"property_id": None}, "attributes.property_id"),
        ({"inserted_at": "1999-01-01T00:00:00"}, "attributes.inserted_at"),
        ({"customer": ["Zoë"]}, "attributes.customer"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field_without_saying_what_it_held(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnparseableRevision) as refusal:
        ADAPTER.parse(raw(**changes))
    assert refusal.value.field == field
    assert "Zoë" not in repr(refusal.value)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_revision_is_refused_and_has_nothing_to_strip(body: bytes) -> None:
    with pytest.raises(UnparseableRevision):
        ADAPTER.parse(body)
    assert ADAPTER.without_guest(body) == b""


def test_without_the_guest_the_same_stay_is_read_and_no_guest_is_named() -> None:
    stripped = ADAPTER.without_guest(raw())
    assert ADAPTER.parse(stripped) == replace(WHOLE, guest=None)
    for secret in ("Zo\\u00eb", "Zoë", "ngstr", "zoe@", "+351", CARD, "Z ANGSTROM"):
        assert secret.encode() not in stripped


def test_a_guest_with_an_endless_name_loses_no_booking() -> None:
    guest = ADAPTER.parse(raw(customer={"name": "Z" * 1000, "phone": "\x00" + "1" * 99})).guest
    assert guest == Guest("Z" * 200, None, "1" * 40)


def test_a_feed_is_drained_by_acknowledging_each_revision() -> None:
    channel = ChannexChannel(KEY, revisions={f"rev-{n}": {**entry(), "id": f"rev-{n}"} for n in range(250)})
    seen: list[str] = []
    more = True
    while more:
        page = ADAPTER.feed_page(channel.answer(ADAPTER.feed_request(TARGET, None), NOW))
        more = page.has_more
        for item in page.items:
            seen.append(item.revision_id)
            ack = ADAPTER.ack_request(TARGET, [item])
            assert ack is not None
            assert ADAPTER.acked(channel.answer(ack, NOW))
    assert seen == [f"rev-{n}" for n in range(250)] == channel.acknowledged
    assert ADAPTER.feed_page(channel.answer(ADAPTER.feed_request(TARGET, None), NOW)).items == ()


def test_a_revision_is_cut_out_of_the_feed_as_it_is_but_for_the_card() -> None:
    channel = ChannexChannel(KEY, revisions={"rev-1": entry()})
    (item,) = ADAPTER.feed_page(channel.answer(ADAPTER.feed_request(TARGET, None), NOW)).items
    assert ADAPTER.parse(item.raw) == WHOLE
    assert item.published_at == WHOLE.published_at
    assert CARD.encode() not in item.raw
    assert "Zo" not in repr(item)


def test_an_acknowledgement_of_an_unknown_revision_is_none() -> None:
    channel = ChannexChannel(KEY, revisions={"rev-1": entry()})
    (item,) = ADAPTER.feed_page(channel.answer(ADAPTER.feed_request(TARGET, None), NOW)).items
    ack = ADAPTER.ack_request(TARGET, [replace(item, revision_id="../other")])
    assert ack is not None
    assert not ADAPTER.acked(channel.answer(ack, NOW))


def test_one_call_acknowledges_one_revision() -> None:
    channel = ChannexChannel(KEY, revisions={"rev-1": entry()})
    (item,) = ADAPTER.feed_page(channel.answer(ADAPTER.feed_request(TARGET, None), NOW)).items
    assert ADAPTER.ack_request(TARGET, []) is None
    with pytest.raises(ValueError, match="one revision"):
        ADAPTER.ack_request(TARGET, [item, item])


@pytest.mark.parametrize(
    "answer",
    [
        ChannelAnswer(200, {}, b"<html>"),
        ChannelAnswer(200, {}, b'{"meta": {}}'),
        ChannelAnswer(200, {}, b'{"data": [{"attributes": {}}]}'),
        ChannelAnswer(200, {}, b'{"data": ["rev"]}'),
        ChannelAnswer(500, {}, b""),
        ChannelAnswer(401, {}, b"{}"),
    ],
)
def test_a_feed_that_is_none_is_said_to_be_unreadable(answer: ChannelAnswer) -> None:
    with pytest.raises(FeedUnreadable):
        ADAPTER.feed_page(answer)
