"""Proves the OpenTravel XML adapter's queues: reservations are cut out, read, stripped, acknowledged."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_sync.adapters.ota_xml import OtaXml
from channel_sync.domain.ari import ChannelTarget, FeedItem
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer
from channel_sync.domain.revisions import Guest, ParsedRevision, Party
from tests.channel_sync.channels.ota_xml import NAMESPACE, OtaXmlChannel, reservation, stay

SECRET = "pms-user:the password"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TARGET = ChannelTarget("https://channel.example/hotels/ota", SECRET, {})
ADAPTER = OtaXml()
CARD = "4000000000000002"
JUNE = [date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 3)]
ROOM = stay("H", "R1", "T1", JUNE)
NEW, CHANGES = "OTA_HotelResNotif", "OTA_HotelResModifyNotif"
CHANGED_AT = ' LastModifyDateTime="2026-04-02T08:00:00+02:00"'
TOTAL = '<Total AmountAfterTax="30050" DecimalPlaces="2" CurrencyCode="EUR"/>'
CUSTOMER = (
    "<Profiles><ProfileInfo><Profile><Customer><PersonName><GivenName>Zoë</GivenName><Surname>Ångström</Surname>"
    '</PersonName><Telephone PhoneNumber="+351 1"/><Email>zoe@guest.example</Email></Customer></Profile></ProfileInfo>'
    "</Profiles>"
)
GUEST = "<ResGuests><ResGuest><Profiles><ProfileInfo><Profile><Customer><PersonName><Surname>Zoë</Surname></PersonName>"
GUEST += "</Customer></Profile></ProfileInfo></Profiles></ResGuest></ResGuests>"
REMARK = (
    '<Comments><Comment><Text>Zoë comes late, &lt;!DOCTYPE &#x1F600;</Text></Comment></Comments><Guarantee CardNumber="'
)
EXTRA = f'{REMARK}{CARD}"/>{TOTAL}{CUSTOMER}'


def message(kind: str = NEW, *entries: str, attributes: str = ' TimeStamp="2026-05-01T12:00:00+00:00"') -> bytes:
    outer, inner = ("HotelReservations", "HotelReservation") if kind == NEW else ("HotelResModifies", "HotelResModify")
    inside = "".join(f"<{inner}{entry}</{inner}>" for entry in entries)
    return f'<{kind}RQ xmlns="{NAMESPACE}"{attributes}><{outer}>{inside}</{outer}></{kind}RQ>'.encode()


def raw(stays: str = ROOM, kind: str = NEW, **changes: Any) -> bytes:
    return message(kind, reservation("77", stays, **{"attributes": CHANGED_AT, "extra": EXTRA, **changes}))


def page(body: bytes) -> tuple[FeedItem, ...]:
    return ADAPTER.feed_page(ChannelAnswer(200, {}, body)).items


WHOLE = ParsedRevision(
    revision_id="77/new/2026-04-02T08:00:00+02:00",
    status="new",
    ota_name="ota-xml",
    ota_reservation_code="77",
    ota_listing_id="H/R1",
    published_at=datetime(2026, 4, 2, 6, tzinfo=UTC),
    check_in=date(2026, 6, 1),
    check_out=date(2026, 6, 4),
    party=Party(2, 0, 0),
    guest=Guest("Zoë Ångström", "zoe@guest.example", "+351 1"),
    total_amount_minor=30050,
    currency="EUR",
)


def test_a_new_reservation_is_read_whole() -> None:
    assert ADAPTER.parse(raw()) == WHOLE


@pytest.mark.parametrize(
    ("said", "status"),
    [("", "modified"), (' ResStatus="Modify"', "modified"), (' ResStatus="Cancel"', "cancelled")],
)
def test_a_change_is_a_modification_or_a_cancellation(said: str, status: Any) -> None:
    revision = ADAPTER.parse(raw(kind=CHANGES, attributes=CHANGED_AT + said))
    assert revision == replace(WHOLE, status=status, revision_id="77/change/2026-04-02T08:00:00+02:00")


def test_the_message_may_say_the_status_for_its_reservation() -> None:
    body = message(CHANGES, reservation("77", ROOM, extra=TOTAL), attributes=' ResStatus="Cancel"')
    assert ADAPTER.parse(body).status == "cancelled"


def test_a_cancellation_needs_no_nights() -> None:
    bare = '<RoomStay><BasicPropertyInfo HotelCode="H"/></RoomStay>'
    revision = ADAPTER.parse(raw(bare, CHANGES, attributes=' ResStatus="Cancel"'))
    assert (revision.status, revision.check_in, revision.check_out) == ("cancelled", None, None)
    assert (revision.ota_listing_id, revision.ota_reservation_code) == ("H", "77")


def test_several_rooms_are_several_stays_with_names_and_amounts_of_their_own() -> None:
    revision = ADAPTER.parse(raw(ROOM + stay("H", "R2", "T1", JUNE[:2], price=1525, adults=1)))
    assert replace(revision, others=()) == replace(WHOLE, total_amount_minor=27000)
    second = replace(
        WHOLE,
        revision_id=f"{WHOLE.revision_id}#2",
        ota_reservation_code="77#2",
        ota_listing_id="H/R2",
        check_out=date(2026, 6, 3),
        party=Party(1, 0, 0),
        total_amount_minor=3050,
    )
    assert revision.others == (second,)


def test_the_reservations_number_is_the_one_marked_as_such_wherever_it_stands() -> None:
    marked = raw().replace(
        b"<HotelReservationID ", b'<HotelReservationID ResID_Type="34" ResID_Value="pin"/><HotelReservationID '
    )
    marked = marked.replace(b'ResID_Value="77"', b'ResID_Type="14" ResID_Value="77"')
    elsewhere = (
        raw().replace(b'ResID_Value="77"', b"").replace(b"<RoomStays>", b'<UniqueID Type="14" ID="77"/><RoomStays>')
    )
    assert [ADAPTER.parse(body).ota_reservation_code for body in (marked, elsewhere)] == ["77", "77"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_message_does_anything_but_refuse_it(data: st.DataObject) -> None:
    body = raw(guest=GUEST)
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    text = data.draw(
        st.text(max_size=20) | st.sampled_from(["9" * 5000, "-1", "1e999", "0001-01-01T00:00:00+23:00", '"'])
    )
    damaged = body[:start] + text.encode("utf-8", "replace") + body[end:]
    with suppress(UnparseableRevision):
        ADAPTER.parse(damaged)
    with suppress(FeedUnreadable):
        page(damaged)
    assert CARD.encode() not in ADAPTER.without_guest(damaged)


def test_one_room_of_several_may_be_cancelled_alone() -> None:
    gone = stay("H", "R2", "T1", JUNE).replace("<RoomStay ", '<RoomStay RoomStayStatus="Cancelled" ')
    revision = ADAPTER.parse(raw(ROOM + gone, CHANGES))
    assert [revision.status, *(other.status for other in revision.others)] == ["modified", "cancelled"]


def test_the_span_of_a_room_comes_before_its_prices_and_they_before_that_of_the_whole_reservation() -> None:
    whole = '<TimeSpan Start="2026-08-01" End="2026-08-02"/>'
    spanned = ROOM.replace(
        "<BasicPropertyInfo", '<TimeSpan Start="2026-07-01" End="2026-07-05T11:00:00"/><BasicPropertyInfo'
    )
    spans = []
    for stays in (spanned, ROOM, ""):
        room = stays or '<RoomStay><BasicPropertyInfo HotelCode="H"/></RoomStay>'
        revision = ADAPTER.parse(raw(room, extra=whole))
        spans.append((revision.check_in, revision.check_out))
    assert spans == [
        (date(2026, 7, 1), date(2026, 7, 5)),
        (date(2026, 6, 1), date(2026, 6, 4)),
        (date(2026, 8, 1), date(2026, 8, 2)),
    ]


@pytest.mark.parametrize(
    ("counts", "party"),
    [
        ('<GuestCount AgeQualifyingCode="10" Count="2"/><GuestCount AgeQualifyingCode="8" Count="1"/>', Party(2, 1, 0)),
        ('<GuestCount AgeQualifyingCode="7" Count="1"/><GuestCount Count="3"/>', Party(3, 0, 1)),
        ('<GuestCount AgeQualifyingCode="8" Count="1"/>', None),
        ("", None),
    ],
)
def test_guests_are_counted_by_age_and_a_count_without_an_age_counts_adults(counts: str, party: Party | None) -> None:
    assert ADAPTER.parse(raw(ROOM.replace('<GuestCount Count="2"/>', counts))).party == party


@pytest.mark.parametrize(
    ("total", "minor"),
    [
        ('AmountAfterTax="300.50" CurrencyCode="EUR"', 30050),
        ('AmountAfterTax="300.50" DecimalPlaces="2" CurrencyCode="EUR"', 30050),
        ('AmountAfterTax="30050" DecimalPlaces="2" CurrencyCode="EUR"', 30050),
        ('AmountBeforeTax="300" CurrencyCode="EUR"', 30000),
        ('AmountAfterTax="300" DecimalPlaces="0" CurrencyCode="JPY"', 300),
        ('AmountAfterTax="300.500" CurrencyCode="KWD"', 300500),
        ('AmountAfterTax="300"', None),
    ],
)
def test_amounts_are_in_the_minor_unit_of_their_currency(total: str, minor: int | None) -> None:
    assert ADAPTER.parse(raw(extra=f"<Total {total}/>")).total_amount_minor == minor


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (raw(attributes=' ResStatus="Zoë"'), "ResStatus"),
        (raw(attributes=' LastModifyDateTime="1999-01-01T00:00:00"'), "LastModifyDateTime"),
        (message(NEW, reservation("", ROOM)), "ResGlobalInfo.HotelReservationIDs"),
        (message(NEW, reservation("7" * 121, ROOM)), "EchoToken"),
        (message(NEW), "HotelReservations.HotelReservation"),
        (message(NEW, reservation("1", ROOM), reservation("2", ROOM)), "HotelReservations.HotelReservation"),
        (raw(""), "RoomStays.RoomStay.0.TimeSpan"),
        (raw(ROOM + stay("H", "R2", "T1", [JUNE[0], JUNE[2]])), "RoomStays.RoomStay.1.RoomRates"),
        (raw(ROOM.replace("2026-06-01", "Zoë")), "RoomStays.RoomStay.0.RoomRates.EffectiveDate"),
        (raw(ROOM.replace("2026-06-01", "1999-06-01")), "RoomStays.RoomStay.0.RoomRates.EffectiveDate"),
        (
            raw(ROOM.replace('EffectiveDate="2026-06-03"', 'EffectiveDate="2026-06-03" ExpireDate="2026-06-09"')),
            "RoomStays.RoomStay.0.RoomRates.ExpireDate",
        ),
        (raw(ROOM.replace('HotelCode="H"', "")), "RoomStays.RoomStay.0.BasicPropertyInfo.HotelCode"),
        (raw(ROOM.replace('Count="2"', f'Count="{"9" * 5000}"')), "RoomStays.RoomStay.0.GuestCounts"),
        (raw(ROOM.replace('Count="2"', 'Count="Zoë"')), "RoomStays.RoomStay.0.GuestCounts"),
        (raw(extra='<Total AmountAfterTax="Zoë" CurrencyCode="EUR"/>'), "RoomStays.RoomStay.0.Total"),
        (raw(extra='<Total AmountAfterTax="NaN" CurrencyCode="EUR"/>'), "RoomStays.RoomStay.0.Total"),
        (raw(extra='<Total AmountAfterTax="1" CurrencyCode="Zoë"/>'), "RoomStays.RoomStay.0.Total.CurrencyCode"),
        (raw('<RoomStay><TimeSpan Start="2026-06-01" End="2026-06-01"/></RoomStay>'), "RoomStays.RoomStay.0.TimeSpan"),
        (raw(ROOM * 101), "RoomStays"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field_without_saying_what_it_held(body: bytes, field: str) -> None:
    with pytest.raises(UnparseableRevision) as refusal:
        ADAPTER.parse(body)
    assert refusal.value.field == field
    assert "Zoë" not in repr(refusal.value)
    assert refusal.value.__context__ is None


def test_what_a_feed_holds_is_kept_without_cards_and_remarks_and_reads_the_same() -> None:
    (item,) = page(raw(guest=GUEST))
    assert ADAPTER.parse(item.raw) == WHOLE
    assert (item.revision_id, item.published_at) == (WHOLE.revision_id, WHOLE.published_at)
    for secret in (CARD, "comes late", "Guarantee"):
        assert secret.encode() not in item.raw
    assert "Zo" not in repr(item)


def test_without_the_guest_the_same_stay_is_read_and_no_guest_is_named() -> None:
    (item,) = page(raw(guest=GUEST))
    for body in (item.raw, raw(guest=GUEST)):
        nameless = ADAPTER.without_guest(body)
        assert ADAPTER.parse(nameless) == replace(WHOLE, guest=None)
        for secret in ("Zoë", "ngstr", "zoe@", "+351", CARD, "comes late"):
            assert secret.encode() not in nameless


def test_who_stays_is_the_guest_where_nobody_is_said_to_have_booked_and_an_endless_name_loses_no_booking() -> None:
    endless = GUEST.replace("Zoë", "Z" * 1000)
    assert ADAPTER.parse(raw(guest=endless, extra=TOTAL)).guest == Guest("Z" * 200, None, None)


def test_a_reservation_changed_back_is_another_revision_and_not_a_duplicate() -> None:
    holder = OtaXmlChannel(SECRET, {})
    seen: list[FeedItem] = []
    for minute, stays in enumerate((ROOM, stay("H", "R1", "T1", JUNE[:1]), ROOM)):
        holder.queues[CHANGES]["77"] = reservation("77", stays)
        now = NOW + timedelta(minutes=minute)
        seen += ADAPTER.feed_page(holder.answer(ADAPTER.feed_request(TARGET, "changes"), now)).items
    assert len({item.revision_id for item in seen}) == 3
    instants = [item.published_at for item in seen if item.published_at is not None]
    assert instants == sorted(set(instants))
    assert len(instants) == 3


def test_a_revision_that_says_when_it_was_changed_has_one_name_however_often_it_is_fetched() -> None:
    fetched = [
        message(
            NEW, reservation("77", ROOM, attributes=CHANGED_AT), attributes=f' TimeStamp="2026-05-01T1{hour}:00:00"'
        )
        for hour in (1, 2)
    ]
    first, second = (page(body)[0].revision_id for body in fetched)
    assert first == second


def test_both_queues_are_drained_by_acknowledging_each_reservation_at_its_own() -> None:
    holder = OtaXmlChannel(SECRET, {})
    for number in range(30):
        holder.queues[NEW][f"new-{number}"] = reservation(f"new-{number}", ROOM)
        holder.queues[CHANGES][f"old-{number}"] = reservation(f"old-{number}", ROOM, attributes=' ResStatus="Cancel"')
    cursor, more, seen = None, True, []
    while more:
        found = ADAPTER.feed_page(holder.answer(ADAPTER.feed_request(TARGET, cursor), NOW))
        cursor, more = found.cursor, found.has_more
        for item in found.items:
            seen.append(ADAPTER.parse(item.raw))
            acknowledgement = ADAPTER.ack_request(TARGET, [item])
            assert acknowledgement is not None
            assert ADAPTER.acked(holder.answer(acknowledgement, NOW))
    assert [revision.status for revision in seen] == ["new"] * 30 + ["cancelled"] * 30
    assert holder.queues == {NEW: {}, CHANGES: {}}
    assert (cursor, len(holder.acknowledged)) == (None, 60)


def test_what_left_its_queue_is_not_acknowledged_again_and_nothing_is_acknowledged_for_nothing() -> None:
    holder = OtaXmlChannel(SECRET, {})
    holder.queues[NEW]["77"] = reservation("77", ROOM)
    (item,) = ADAPTER.feed_page(holder.answer(ADAPTER.feed_request(TARGET, None), NOW)).items
    request = ADAPTER.ack_request(TARGET, [item])
    assert request is not None
    assert [ADAPTER.acked(holder.answer(request, NOW)) for _ in range(2)] == [True, False]
    assert ADAPTER.ack_request(TARGET, []) is None
    with pytest.raises(ValueError, match="one revision"):
        ADAPTER.ack_request(TARGET, [item, item])


def test_reservations_may_be_had_at_a_host_of_their_own() -> None:
    target = replace(TARGET, settings={"reservations_url": "https://secure.example/ota/"})
    assert ADAPTER.feed_request(target, None).url == "https://secure.example/ota/OTA_HotelResNotif"
    assert ADAPTER.feed_request(target, "changes").url == "https://secure.example/ota/OTA_HotelResModifyNotif"


@pytest.mark.parametrize(
    "answer",
    [
        ChannelAnswer(500, {}, raw()),
        ChannelAnswer(200, {}, b"<html/>"),
        ChannelAnswer(200, {}, b""),
        ChannelAnswer(200, {}, message(NEW, reservation("", ROOM))),
        ChannelAnswer(200, {}, raw().replace(b"<HotelReservations>", b"<Errors/><HotelReservations>")),
        ChannelAnswer(200, {}, f'<{NEW}RS xmlns="{NAMESPACE}"><Success/></{NEW}RS>'.encode()),
    ],
)
def test_what_is_no_queue_is_refused_and_nothing_is_taken_from_it(answer: ChannelAnswer) -> None:
    with pytest.raises(FeedUnreadable) as refusal:
        ADAPTER.feed_page(answer)
    assert "Zoë" not in repr(refusal.value)
