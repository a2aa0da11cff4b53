"""Owns the OpenTravel messages we write, and what an answer says of them; called by the adapter `ota-xml` alone.

Every message validates against OpenTravel's schemas of 2015B and 2017B. The order of children is the schema's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from lxml import etree

from channel_sync.adapters.ota_xml_parser import NAMESPACE, Element, attribute, descend, root_of, written
from channel_sync.domain.ari import NightValues, PushItem, ValueRun
from channel_sync.domain.currencies import minor_digits

ONE_NIGHT = timedelta(days=1)
MESSAGE_VERSION = "1.005"
AVAILABILITY, RATES = "OTA_HotelAvailNotif", "OTA_HotelRateAmountNotif"
RESERVATIONS, CHANGES = "OTA_HotelResNotif", "OTA_HotelResModifyNotif"
NO_LIMIT = 0
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Span = tuple[date, date]
Told = Callable[[NightValues], tuple[tuple[str, str], ...]]


def hotel_of(item: PushItem) -> str:
    """The hotel's code in a listing's name, `<hotel>/<room type>`."""
    return _writable(item.ota_listing_id.partition("/")[0])


def room_of(item: PushItem) -> str:
    """The room type's code in a listing's name. A name without one is sent as it is: no room type would mean all."""
    return _writable(item.ota_listing_id.partition("/")[2] or item.ota_listing_id)


def plan_of(item: PushItem) -> str | None:
    """The rate plan's code as it is sent."""
    return None if item.ota_rate_plan_id is None else _writable(item.ota_rate_plan_id)


def availability_message(items: Sequence[PushItem], now: datetime, target: str) -> bytes:
    """The booking limits and restrictions of listings of one hotel; those without a rate plan have limits alone."""
    root, messages = _message(AVAILABILITY, "AvailStatusMessages", items, now, target)
    for item in items:
        for span, told in _joined(item.runs, _limit):
            _applied(messages, "AvailStatusMessage", item, span, None, told)
        plan = plan_of(item)
        if plan is None:
            continue
        for span, told in _joined(item.runs, _lengths):
            holder = _applied(messages, "AvailStatusMessage", item, span, plan)
            lengths = _child(holder, "LengthsOfStay")
            for kind, nights in told:
                _child(lengths, "LengthOfStay", Time=nights, MinMaxMessageType=kind)
        for restriction in (_stopped, _arrival, _departure):
            for span, told in _joined(item.runs, restriction):
                holder = _applied(messages, "AvailStatusMessage", item, span, plan)
                _child(holder, "RestrictionStatus", **dict(told))
    return written(root)


def rates_message(items: Sequence[PushItem], now: datetime, target: str) -> bytes | None:
    """The prices of listings of one hotel that have a rate plan; None when there is no price to tell."""
    root, messages = _message(RATES, "RateAmountMessages", items, now, target)
    for item in items:
        digits, plan = str(minor_digits(item.currency)), plan_of(item)
        for span, told in _joined(item.runs, _price):
            if plan is None or not told:
                continue
            holder = _applied(messages, "RateAmountMessage", item, span, plan)
            amounts = _child(_child(_child(holder, "Rates"), "Rate"), "BaseByGuestAmts")
            _child(amounts, "BaseByGuestAmt", **dict(told), DecimalPlaces=digits, CurrencyCode=item.currency)
    return written(root) if len(messages) else None


def acknowledgement(kind: str, reservation_id: str, hotel: str | None, stamp: str | None, target: str) -> bytes:
    """That one reservation of a queue is stored; `kind` is the queue, `stamp` the instant its message carried.

    The hotel's element is the schema's wish; the number is all a channel asks for.
    """
    root = _root(f"{kind}RS", stamp, target)
    _child(root, "Success")
    path = ("HotelReservations", "HotelReservation") if kind == RESERVATIONS else ("HotelResModifies", "HotelResModify")
    holder = root
    for name in (*path, "ResGlobalInfo"):
        holder = _child(holder, name)
    numbers = _child(holder, "HotelReservationIDs")
    _child(numbers, "HotelReservationID", ResID_Type="14", ResID_Value=reservation_id)
    _child(holder, "BasicPropertyInfo", **({} if hotel is None else {"HotelCode": hotel}))
    return written(root)


def concerned(request: bytes) -> dict[str, tuple[str, str | None, Span]]:
    """Of a push of ours: the room type, rate plan and nights each numbered part of it tells of."""
    found = {}
    for messages in root_of(request):
        for part in messages:
            control = next(descend(part, "StatusApplicationControl"))
            start, end = (date.fromisoformat(control.attrib[name]) for name in ("Start", "End"))
            room, plan = control.attrib["InvTypeCode"], control.get("RatePlanCode")
            found[part.attrib["LocatorID"]] = (room, plan, (start, end + ONE_NIGHT))
    return found


def codes(parts: Iterable[Element]) -> str:
    """The numbers of errors or warnings, as "320, 450": what they say in words may quote what was sent."""
    found = {code for part in parts if (code := attribute(part, "Code")) and code.isdecimal() and len(code) <= 4}
    return ", ".join(sorted(found)) or "it does not say which"


def _message(kind: str, parts: str, items: Sequence[PushItem], now: datetime, target: str) -> tuple[Element, Element]:
    root = _root(f"{kind}RQ", now.astimezone(UTC).isoformat(timespec="seconds"), target)
    root.set("EchoToken", f"{items[0].listing_id}-{items[0].version}")
    return root, _child(root, parts, HotelCode=hotel_of(items[0]))


def _root(name: str, stamp: str | None, target: str) -> Element:
    root = etree.Element(etree.QName(NAMESPACE, name), nsmap={None: NAMESPACE})
    if stamp is not None:
        root.set("TimeStamp", stamp)
    root.set("Target", target)
    root.set("Version", MESSAGE_VERSION)
    return root


def _child(parent: Element, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, etree.QName(NAMESPACE, name), attributes)


def _applied(
    messages: Element,
    name: str,
    item: PushItem,
    span: Span,
    plan: str | None,
    told: tuple[tuple[str, str], ...] = (),
) -> Element:
    """One numbered part that says of which nights of which room type and rate plan it tells."""
    part = _child(messages, name, **dict(told), LocatorID=str(len(messages) + 1))
    control = {
        "Start": span[0].isoformat(),
        "End": (span[1] - ONE_NIGHT).isoformat(),
        "InvTypeCode": room_of(item),
    }
    _child(part, "StatusApplicationControl", **control, **({} if plan is None else {"RatePlanCode": plan}))
    return part


def _writable(text: str) -> str:
    """The text without the characters that XML has no way to write: a channel refuses such a name, lxml the message."""
    return UNWRITABLE.sub("\ufffd", text)


def _limit(values: NightValues) -> tuple[tuple[str, str], ...]:
    return (("BookingLimit", str(values.available)),)


def _lengths(values: NightValues) -> tuple[tuple[str, str], ...]:
    """Absolute, so what has no value here is told as the value that restricts nothing."""
    return (
        ("SetMinLOS", str(values.min_stay_through or 1)),
        ("SetForwardMinStay", str(values.min_stay_arrival or 1)),
        ("SetForwardMaxStay", str(values.max_stay or NO_LIMIT)),
    )


def _stopped(values: NightValues) -> tuple[tuple[str, str], ...]:
    return (("Status", _open(values.stop_sell)),)


def _arrival(values: NightValues) -> tuple[tuple[str, str], ...]:
    return (("Restriction", "Arrival"), ("Status", _open(values.closed_to_arrival)))


def _departure(values: NightValues) -> tuple[tuple[str, str], ...]:
    return (("Restriction", "Departure"), ("Status", _open(values.closed_to_departure)))


def _price(values: NightValues) -> tuple[tuple[str, str], ...]:
    return () if values.rate_minor is None else (("AmountAfterTax", str(values.rate_minor)),)


def _open(closed: bool) -> str:
    return "Close" if closed else "Open"


def _joined(runs: Iterable[ValueRun], told: Told) -> Iterator[tuple[Span, tuple[tuple[str, str], ...]]]:
    """Neighbouring runs that this part need not tell apart, as one."""
    joined: list[tuple[Span, tuple[tuple[str, str], ...]]] = []
    for run in runs:
        value = told(run.values)
        if joined and joined[-1][0][1] == run.start and joined[-1][1] == value:
            joined[-1] = ((joined[-1][0][0], run.end), value)
        else:
            joined.append(((run.start, run.end), value))
    yield from joined
