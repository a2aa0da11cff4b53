"""Proves that what the OpenTravel XML adapter writes has the names, order and attributes of OpenTravel's schemas.

The schemas may not be redistributed with this suite (docs/channels/ota-xml.md): validate_ota_xml.py beside this file
validates the same messages against a copy of your own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from lxml import etree

from channel_sync.adapters.ota_xml import OtaXml
from channel_sync.adapters.ota_xml_parser import name_of, root_of
from channel_sync.domain.ari import ChannelTarget, FeedItem, NightValues, PushItem, ValueRun
from channel_sync.domain.pushes import ChannelAnswer
from tests.channel_sync.channels.ota_xml import NAMESPACE, OtaXmlChannel, reservation, stay

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TARGET = ChannelTarget("https://channel.example/hotels/ota", "user:password", {})
ORDER = {
    "AvailStatusMessage": ("StatusApplicationControl", "LengthsOfStay", "RestrictionStatus"),
    "RateAmountMessage": ("StatusApplicationControl", "Rates"),
    "ResGlobalInfo": ("HotelReservationIDs", "BasicPropertyInfo"),
    "OTA_HotelResNotifRS": ("Success", "HotelReservations"),
    "OTA_HotelResModifyNotifRS": ("Success", "HotelResModifies"),
}
CHILDREN = {
    "OTA_HotelAvailNotifRQ": {"AvailStatusMessages"},
    "AvailStatusMessages": {"AvailStatusMessage"},
    "LengthsOfStay": {"LengthOfStay"},
    "OTA_HotelRateAmountNotifRQ": {"RateAmountMessages"},
    "RateAmountMessages": {"RateAmountMessage"},
    "Rates": {"Rate"},
    "Rate": {"BaseByGuestAmts"},
    "BaseByGuestAmts": {"BaseByGuestAmt"},
    "HotelReservations": {"HotelReservation"},
    "HotelResModifies": {"HotelResModify"},
    "HotelReservation": {"ResGlobalInfo"},
    "HotelResModify": {"ResGlobalInfo"},
    "HotelReservationIDs": {"HotelReservationID"},
}
ATTRIBUTES = {
    "OTA_HotelAvailNotifRQ": {"EchoToken", "TimeStamp", "Target", "Version"},
    "OTA_HotelRateAmountNotifRQ": {"EchoToken", "TimeStamp", "Target", "Version"},
    "OTA_HotelResNotifRS": {"TimeStamp", "Target", "Version"},
    "OTA_HotelResModifyNotifRS": {"TimeStamp", "Target", "Version"},
    "AvailStatusMessages": {"HotelCode"},
    "RateAmountMessages": {"HotelCode"},
    "BasicPropertyInfo": {"HotelCode"},
    "AvailStatusMessage": {"BookingLimit", "LocatorID"},
    "RateAmountMessage": {"LocatorID"},
    "StatusApplicationControl": {"Start", "End", "InvTypeCode", "RatePlanCode"},
    "LengthOfStay": {"Time", "MinMaxMessageType"},
    "RestrictionStatus": {"Restriction", "Status"},
    "BaseByGuestAmt": {"AmountAfterTax", "DecimalPlaces", "CurrencyCode"},
    "HotelReservationID": {"ResID_Type", "ResID_Value"},
}


def messages() -> Iterator[bytes]:
    """One of each message we write, with everything in it that we can write."""
    day = timedelta(days=1)
    values = (NightValues(1, 9000, 2, 3, 7, True, True, True), NightValues(0), NightValues(1, 0))
    runs = tuple(ValueRun(NOW.date() + n * day, NOW.date() + (n + 1) * day, value) for n, value in enumerate(values))
    items = [
        PushItem(UUID(int=1), 7, "8011855/801185501", "1278606", "EUR", runs),
        PushItem(UUID(int=2), 8, "8011855/801185502", None, "KWD", runs),
        PushItem(UUID(int=3), 8, "8011855", "1278606", "JPY", runs),
    ]
    yield from (request.request.body for request in OtaXml().push_requests(TARGET, items, NOW))
    channel = OtaXmlChannel("user:password", {})
    for kind, cursor in (("OTA_HotelResNotif", None), ("OTA_HotelResModifyNotif", "changes")):
        channel.queues[kind]["77"] = reservation("77", stay("8011855", "801185501", "1278606", [NOW.date()]))
        yield acknowledgement_of(channel.answer(OtaXml().feed_request(TARGET, cursor), NOW))


def acknowledgement_of(answer: ChannelAnswer) -> bytes:
    items: tuple[FeedItem, ...] = OtaXml().feed_page(answer).items
    request = OtaXml().ack_request(TARGET, items)
    assert request is not None
    return request.body


def test_every_message_has_the_names_and_the_order_of_the_schema_and_nothing_else() -> None:
    names = set()
    for body in messages():
        root = root_of(body)
        names.add(name_of(root))
        for element in root.iter():
            name, inside = name_of(element), [name_of(child) for child in element]
            assert etree.QName(element).namespace == NAMESPACE
            assert set(map(str, element.attrib)) <= ATTRIBUTES.get(name, set())
            assert "" not in element.attrib.values()
            if name in ORDER:
                assert inside == [child for child in ORDER[name] if child in inside]
            else:
                assert set(inside) <= CHILDREN.get(name, set())
    assert len(names) == 4


def test_parts_of_a_message_are_numbered_from_one_and_each_number_is_used_once() -> None:
    for body in messages():
        numbers = [element.get("LocatorID") for element in root_of(body).iter() if element.get("LocatorID")]
        assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
