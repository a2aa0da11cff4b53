"""Owns the channel's side of OpenTravel XML as a pure machine; used by its adapter's tests and simulators.

It refuses what docs/channels/ota-xml.md says the real one refuses. Its documents are read with the standard library, so
that what the adapter's parser gets wrong is not got wrong here too.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree

from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest

NAMESPACE = "http://www.opentravel.org/OTA/2003/05"
OTA = f"{{{NAMESPACE}}}"
ONE_NIGHT = timedelta(days=1)
MAX_ROOMS_TO_SELL = 254
QUEUES = {
    "OTA_HotelResNotif": ("HotelReservations", "HotelReservation"),
    "OTA_HotelResModifyNotif": ("HotelResModifies", "HotelResModify"),
}
STAYS = ("SetMinLOS", "SetMaxLOS", "SetForwardMinStay", "SetForwardMaxStay")


@dataclass
class OtaXmlChannel:
    """One account: its rooms with their rate plans, what it believes of nights, and its two queues.

    `rooms` maps (hotel, room type) to rate plans. `nights` maps (room type, rate plan or None, night) to what was told.
    A queue maps a reservation's number to the inside of its element.
    """

    user_and_password: str
    rooms: dict[tuple[str, str], tuple[str, ...]]
    nights: dict[tuple[str, str | None, date], dict[str, str]] = field(default_factory=dict)
    queues: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in QUEUES})
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    answered: int = 0

    def answer(self, request: OutboundRequest, now: datetime) -> ChannelAnswer:
        """What the channel answers to one request at `now`."""
        wanted = "Basic " + base64.b64encode(self.user_and_password.encode()).decode()
        if request.headers.get("Authorization") != wanted:
            return ChannelAnswer(
                401, {"Content-Type": "text/html"}, b"<html><body>Authorization Required</body></html>"
            )
        self.answered += 1
        kind = urlsplit(request.url).path.rpartition("/")[2]
        if kind in QUEUES:
            return self._queue(kind, now) if request.method == "GET" else self._acknowledge(kind, request.body)
        if kind == "OTA_HotelAvailNotif" and request.method == "POST":
            return self._told(kind, request.body, now, self._availability)
        if kind == "OTA_HotelRateAmountNotif" and request.method == "POST":
            return self._told(kind, request.body, now, self._rates)
        return ChannelAnswer(404, {"Content-Type": "text/html"}, b"<html><body>Not Found</body></html>")

    def _queue(self, kind: str, now: datetime) -> ChannelAnswer:
        outer, inner = QUEUES[kind]
        entries = "".join(f"<{inner}{content}</{inner}>" for content in self.queues[kind].values())
        return _xml(f"{kind}RQ", f"<{outer}>{entries}</{outer}>", f' TimeStamp="{now.isoformat(timespec="seconds")}"')

    def _acknowledge(self, kind: str, body: bytes) -> ChannelAnswer:
        root = _root(body)
        if root is None or root.tag != f"{OTA}{kind}RS" or root.find(f"{OTA}Success") is None or not _stamped(root):
            return _error(f"{kind}RS", "450", "Unable to process", 400)
        numbers = [found.get("ResID_Value", "") for found in root.iter(f"{OTA}HotelReservationID")]
        if not numbers or any(number not in self.queues[kind] for number in numbers):
            return _error(f"{kind}RS", "450", "Hotel reservation has transaction message of the wrong type", 400)
        for number in numbers:
            del self.queues[kind][number]
            self.acknowledged.append((kind, number))
        return _xml(f"{kind}RS", "<Success/>")

    def _told(
        self, kind: str, body: bytes, now: datetime, believe: Callable[[ElementTree.Element], str]
    ) -> ChannelAnswer:
        root = _root(body)
        if root is None or root.tag != f"{OTA}{kind}RQ" or not _stamped(root) or len(root) != 1:
            return _error(f"{kind}RS", "450", "Unable to process", 200)
        hotel = root[0].get("HotelCode", "")
        if not any(hotel == of for of, _ in self.rooms):
            return _error(f"{kind}RS", "497", "Authorization error", 200)
        warnings = []
        for part in root[0]:
            wrong = self._wrong(hotel, part, now) or believe(part)
            if wrong:
                record = part.get("LocatorID", "")
                warnings.append(f'<Warning Type="3" Code="320" RecordID="{record}" ShortText="{wrong}"/>')
        return _xml(f"{kind}RS", "<Success/>" + (f"<Warnings>{''.join(warnings)}</Warnings>" if warnings else ""))

    def _wrong(self, hotel: str, part: ElementTree.Element, now: datetime) -> str:
        control = part.find(f"{OTA}StatusApplicationControl")
        if control is None:
            return "no StatusApplicationControl"
        room, plan = control.get("InvTypeCode", ""), control.get("RatePlanCode")
        if (hotel, room) not in self.rooms:
            return "unknown room"
        if plan is not None and plan not in self.rooms[hotel, room]:
            return "unknown rate"
        start, end = (date.fromisoformat(control.get(name, "")) for name in ("Start", "End"))
        return "NOT_A_VALID_DATE" if start < now.date() - ONE_NIGHT or end < start else ""

    def _availability(self, part: ElementTree.Element) -> str:
        told = {}
        limit = part.get("BookingLimit")
        if limit is not None:
            if not limit.isdecimal() or int(limit) > MAX_ROOMS_TO_SELL:
                return "BookingLimit"
            told["BookingLimit"] = limit
        for length in part.iter(f"{OTA}LengthOfStay"):
            if length.get("MinMaxMessageType") not in STAYS or not length.get("Time", "").isdecimal():
                return "LengthOfStay"
            told[length.get("MinMaxMessageType", "")] = length.get("Time", "")
        for restriction in part.iter(f"{OTA}RestrictionStatus"):
            if restriction.get("Status") not in ("Open", "Close"):
                return "RestrictionStatus"
            told[restriction.get("Restriction", "Room")] = restriction.get("Status", "")
        return self._believe(part, told) if told else "nothing to update"

    def _rates(self, part: ElementTree.Element) -> str:
        amounts = list(part.iter(f"{OTA}BaseByGuestAmt"))
        if len(amounts) != 1 or not amounts[0].get("AmountAfterTax", "").isdecimal():
            return "BaseByGuestAmt"
        if int(amounts[0].get("AmountAfterTax", "0")) == 0:
            return "price of zero"
        return self._believe(part, dict(amounts[0].attrib))

    def _believe(self, part: ElementTree.Element, told: dict[str, str]) -> str:
        control = part.find(f"{OTA}StatusApplicationControl")
        assert control is not None
        night, end = (date.fromisoformat(control.get(name, "")) for name in ("Start", "End"))
        while night <= end:
            key = control.get("InvTypeCode", ""), control.get("RatePlanCode"), night
            self.nights.setdefault(key, {}).update(told)
            night += ONE_NIGHT
        return ""


def reservation(number: str, stays: str, *, attributes: str = "", guest: str = "", extra: str = "") -> str:
    """The inside of an entry of a queue, after its element's name, with guests and whatever else a test puts there."""
    return (
        f"{attributes}><RoomStays>{stays}</RoomStays>{guest}<ResGlobalInfo>{extra}"
        f'<HotelReservationIDs><HotelReservationID ResID_Value="{number}" ResID_Date="2026-04-01T10:00:00"/>'
        "</HotelReservationIDs></ResGlobalInfo>"
    )


def stay(hotel: str, room: str, plan: str, nights: list[date], price: int = 9000, adults: int = 2) -> str:
    """A room of a reservation as this channel writes it: its dates are those of its prices."""
    rates = "".join(
        f'<RoomRate EffectiveDate="{night}" RatePlanCode="{plan}"><Rates><Rate><Total AmountAfterTax="{price}"'
        ' DecimalPlaces="2" CurrencyCode="EUR"/></Rate></Rates></RoomRate>'
        for night in nights
    )
    return (
        f'<RoomStay IndexNumber="460"><RoomTypes><RoomType RoomTypeCode="{room}"/></RoomTypes>'
        f'<RoomRates>{rates}</RoomRates><GuestCounts><GuestCount Count="{adults}"/></GuestCounts>'
        f'<Total AmountAfterTax="{price * len(nights)}" DecimalPlaces="2" CurrencyCode="EUR"/>'
        f'<BasicPropertyInfo HotelCode="{hotel}"/></RoomStay>'
    )


def _root(body: bytes) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None


def _stamped(root: ElementTree.Element) -> bool:
    return root.get("Target") in ("Test", "Production") and root.get("TimeStamp") is not None


def _error(name: str, code: str, text: str, status: int) -> ChannelAnswer:
    errors = f'<Errors><Error Type="12" Code="{code}" ShortText="{text}"/></Errors>'
    return ChannelAnswer(status, {"Content-Type": "application/xml"}, _xml(name, errors).body)


def _xml(name: str, content: str, attributes: str = "") -> ChannelAnswer:
    text = f'<{name} xmlns="{NAMESPACE}" Version="2.001"{attributes}>{content}</{name}>'
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    return ChannelAnswer(200, {"Content-Type": "application/xml"}, body)
