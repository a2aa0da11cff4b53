"""Owns what OpenTravel's reservation messages say, and how they are read; called by the adapter `ota-xml` alone.

Only what is named here is read, and only that is kept: no card, no remark and no service of a reservation is stored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from lxml import etree

from channel_sync.adapters.ota_xml_parser import (
    Element,
    XmlRefused,
    attribute,
    children,
    descend,
    first,
    kept,
    name_of,
    root_of,
    text_of,
    written,
)
from channel_sync.domain.currencies import minor_digits
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.revisions import MAX_REVISION_BYTES, Guest, ParsedRevision, Party, RevisionStatus
from contracts.values import EARLIEST_DATE, LATEST_DATE

ONE_NIGHT = timedelta(days=1)
LONGEST_NAME = 120
MAX_ROOMS = 100
MAX_PERSONS = 100
MAX_MINOR = 10**12
NEW, MODIFIED = "OTA_HotelResNotifRQ", "OTA_HotelResModifyNotifRQ"
ENTRIES: Mapping[str, str] = {NEW: "HotelReservations/HotelReservation", MODIFIED: "HotelResModifies/HotelResModify"}
CANCELLED = frozenset(("Cancel", "Cancelled"))
STATUSES: Mapping[str, frozenset[str]] = {
    NEW: frozenset(("Book", "Commit", "Reserved")),
    MODIFIED: frozenset(("Modify", "Commit", "Reserved")),
}
"""What `ResStatus` may say beside a cancellation; absent is the same."""

RESERVATION_NUMBER = "14"
ADULT, CHILD, INFANT = "10", "8", "7"

WITHOUT_GUEST: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((NEW, MODIFIED), ("EchoToken", "TimeStamp", "Target", "Version", "ResStatus")),
    **dict.fromkeys(("HotelReservations", "HotelResModifies"), ()),
    **dict.fromkeys(("HotelReservation", "HotelResModify"), ("CreateDateTime", "LastModifyDateTime", "ResStatus")),
    "UniqueID": ("Type", "ID"),
    **dict.fromkeys(("RoomStays", "RoomTypes", "RoomRates", "GuestCounts"), ()),
    "RoomStay": ("IndexNumber", "RoomStayStatus"),
    "RoomType": ("RoomTypeCode",),
    "RoomRate": ("RoomTypeCode", "RatePlanCode", "EffectiveDate", "ExpireDate"),
    "GuestCount": ("AgeQualifyingCode", "Count"),
    "TimeSpan": ("Start", "End"),
    "Total": ("AmountBeforeTax", "AmountAfterTax", "CurrencyCode", "DecimalPlaces"),
    "BasicPropertyInfo": ("HotelCode",),
    **dict.fromkeys(("ResGlobalInfo", "HotelReservationIDs"), ()),
    "HotelReservationID": ("ResID_Type", "ResID_Value", "ResID_Date"),
}
OF_GUESTS = ("ResGuests", "ResGuest", "Profiles", "ProfileInfo", "Profile", "Customer", "PersonName")
GUEST_TEXTS = frozenset(("GivenName", "Surname", "Email"))
WITH_GUEST: Mapping[str, tuple[str, ...]] = {
    **WITHOUT_GUEST,
    **dict.fromkeys((*OF_GUESTS, *GUEST_TEXTS), ()),
    "Telephone": ("PhoneNumber",),
}


def read_revision(raw: bytes) -> ParsedRevision:
    """One message with one reservation; raises `UnparseableRevision` naming the field, never what it held."""
    root, entry = _entry_of(raw)
    global_info = first(entry, "ResGlobalInfo")
    status = _status(root, entry)
    code = reservation_id(entry)
    if code is None:
        raise UnparseableRevision("ResGlobalInfo.HotelReservationIDs", "missing", "a reservation's number is required")
    stays = list(descend(entry, "RoomStays/RoomStay"))[: MAX_ROOMS + 1]
    if len(stays) > MAX_ROOMS:
        raise UnparseableRevision("RoomStays", "too_many", f"must not have more than {MAX_ROOMS} rooms")
    published_at = _published_at(root, entry)
    whole = ParsedRevision(
        revision_id=_name(attribute(root, "EchoToken") or revision_id(root, entry), "EchoToken"),
        status=status,
        ota_name="ota-xml",
        ota_reservation_code=_name(code, "ResGlobalInfo.HotelReservationIDs"),
        ota_listing_id="",
        published_at=published_at,
        guest=_guest(entry),
    )
    found = [
        _stay(whole, stay, global_info, number, len(stays)) for number, stay in enumerate(stays or [None], start=1)
    ]
    return replace(found[0], others=tuple(found[1:]))


def stripped(raw: bytes) -> bytes:
    """The same message without who the guest is; nothing of what cannot be read."""
    try:
        root = root_of(raw)
    except XmlRefused:
        return b""
    return written(kept(root, WITHOUT_GUEST)) if name_of(root) in ENTRIES else b""


def entries_of(root: Element) -> list[Element]:
    """The reservations of a message of a feed; raises KeyError for a message that has none."""
    return list(descend(root, ENTRIES[name_of(root)]))


def single(root: Element, entry: Element) -> bytes:
    """A message with one reservation of a feed, to be kept: it says which revision it is, and holds no card."""
    alone = kept(root, {name_of(root): WITH_GUEST[name_of(root)]})
    alone.set("EchoToken", revision_id(root, entry))
    holder = etree.SubElement(alone, etree.QName(alone, ENTRIES[name_of(root)].partition("/")[0]))
    holder.append(kept(entry, WITH_GUEST, GUEST_TEXTS))
    return written(alone)


def reservation_id(entry: Element) -> str | None:
    """The channel's number of a reservation; None when there is none."""
    numbers = list(descend(entry, "ResGlobalInfo/HotelReservationIDs/HotelReservationID"))
    numbers.sort(key=lambda number: attribute(number, "ResID_Type") != RESERVATION_NUMBER)
    values = [attribute(number, "ResID_Value") for number in numbers]
    values += [
        attribute(unique, "ID")
        for unique in children(entry, "UniqueID")
        if attribute(unique, "Type") == RESERVATION_NUMBER
    ]
    return next((value for value in values if value), None)


def hotel_code(entry: Element) -> str | None:
    """The hotel a reservation is of; None when it does not say."""
    places = ("RoomStays/RoomStay/BasicPropertyInfo", "ResGlobalInfo/BasicPropertyInfo")
    codes = (attribute(found, "HotelCode") for place in places for found in descend(entry, place))
    return next((code for code in codes if code), None)


def revision_id(root: Element, entry: Element) -> str:
    """A name for a state of a reservation, which this channel does not give one.

    Not a digest of what it says: a reservation that is changed back says again what it said before. The instant is the
    reservation's own, else the one at which it was fetched: then a revision fetched twice has two names.
    """
    at = attribute(entry, "LastModifyDateTime") or attribute(root, "TimeStamp") or ""
    kind = "new" if name_of(root) == NEW else "change"
    return f"{reservation_id(entry)}/{kind}/{at}"


def instant(text: str | None) -> datetime | None:
    """The instant in UTC, which is what instants without an offset are taken for; None for what is none."""
    try:
        found = datetime.fromisoformat(text or "")
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _entry_of(raw: bytes) -> tuple[Element, Element]:
    refusal = None
    try:
        root = root_of(raw, MAX_REVISION_BYTES)
    except XmlRefused as error:
        refusal = UnparseableRevision("body", error.code, error.reason)
    if refusal is not None:
        raise refusal
    if name_of(root) not in ENTRIES:
        raise UnparseableRevision("body", "unknown_message", f"must be one of {', '.join(ENTRIES)}")
    entries = entries_of(root)
    if len(entries) != 1:
        raise UnparseableRevision(ENTRIES[name_of(root)].replace("/", "."), "not_one", "must be there once")
    return root, entries[0]


def _status(root: Element, entry: Element) -> RevisionStatus:
    said = attribute(entry, "ResStatus") or attribute(root, "ResStatus")
    if said in CANCELLED:
        return "cancelled"
    if said is not None and said not in STATUSES[name_of(root)]:
        raise UnparseableRevision("ResStatus", "enum", "must say that the reservation is booked, changed or cancelled")
    return "new" if name_of(root) == NEW else "modified"


def _published_at(root: Element, entry: Element) -> datetime | None:
    for holder, name in ((entry, "LastModifyDateTime"), (root, "TimeStamp"), (entry, "CreateDateTime")):
        found = instant(attribute(holder, name))
        if found is not None:
            if found.date() < EARLIEST_DATE:
                raise UnparseableRevision(name, "too_early", f"must not be before {EARLIEST_DATE}")
            return found
    return None


def _stay(
    whole: ParsedRevision, stay: Element | None, global_info: Element | None, number: int, of: int
) -> ParsedRevision:
    """The stay of one room, which may be cancelled alone; `number` counts from 1 and is in all names but the first."""
    field = f"RoomStays.RoomStay.{number - 1}"
    status: RevisionStatus = "cancelled" if attribute(stay, "RoomStayStatus") in CANCELLED else whole.status
    check_in, check_out = _span(stay, global_info, field)
    if status != "cancelled" and (check_in is None or check_out is None):
        raise UnparseableRevision(f"{field}.TimeSpan", "missing", "is required unless the revision is a cancellation")
    if check_in is not None and check_out is not None and check_out <= check_in:
        raise UnparseableRevision(f"{field}.TimeSpan", "not_after_check_in", "must end after it starts")
    own, all_of_it = first(stay, "Total"), first(global_info, "Total")
    total, currency = _money((all_of_it if of == 1 and all_of_it is not None else own), field)
    suffix = "" if number == 1 else f"#{number}"
    return replace(
        whole,
        revision_id=_name(whole.revision_id + suffix, "EchoToken"),
        status=status,
        ota_reservation_code=_name(whole.ota_reservation_code + suffix, "ResGlobalInfo.HotelReservationIDs"),
        ota_listing_id=_listing(stay, global_info, field),
        check_in=check_in,
        check_out=check_out,
        party=_party(stay, field),
        total_amount_minor=total,
        currency=currency,
    )


def _listing(stay: Element | None, global_info: Element | None, field: str) -> str:
    """Hotel and room type; the hotel alone where no room is named, as in a bare cancellation."""
    hotel = attribute(first(stay, "BasicPropertyInfo"), "HotelCode")
    hotel = hotel or attribute(first(global_info, "BasicPropertyInfo"), "HotelCode")
    if hotel is None:
        raise UnparseableRevision(f"{field}.BasicPropertyInfo.HotelCode", "missing", "is required")
    room = attribute(first(stay, "RoomTypes/RoomType"), "RoomTypeCode")
    room = room or attribute(first(stay, "RoomRates/RoomRate"), "RoomTypeCode")
    return _name(f"{hotel}/{room}" if room else hotel, f"{field}.RoomTypes")


def _span(stay: Element | None, global_info: Element | None, field: str) -> tuple[date | None, date | None]:
    """Check-in and check-out: the room's span, else its priced nights, else the whole reservation's span."""
    for holder in (first(stay, "TimeSpan"), None, first(global_info, "TimeSpan")):
        if holder is None:
            nights = sorted(_nights(stay, field))
            if nights:
                return _without_gaps(nights, field)
            continue
        start, end = attribute(holder, "Start"), attribute(holder, "End")
        if start is not None and end is not None:
            return _date(start, f"{field}.TimeSpan.Start"), _date(end, f"{field}.TimeSpan.End")
    return None, None


def _nights(stay: Element | None, field: str) -> Iterator[date]:
    """The night of each price. A price for several nights would make the stay too short, so it is refused."""
    for rate in descend(stay, "RoomRates/RoomRate"):
        at = attribute(rate, "EffectiveDate")
        if at is None:
            continue
        night = _date(at, f"{field}.RoomRates.EffectiveDate")
        until = attribute(rate, "ExpireDate")
        if until is not None and _date(until, f"{field}.RoomRates.ExpireDate") > night + ONE_NIGHT:
            raise UnparseableRevision(
                f"{field}.RoomRates.ExpireDate", "several_nights", "must be the night or the next"
            )
        yield night


def _without_gaps(nights: list[date], field: str) -> tuple[date, date]:
    start, end = nights[0], nights[-1] + ONE_NIGHT
    if len(set(nights)) != (end - start).days:
        raise UnparseableRevision(f"{field}.RoomRates", "gap", "must have a price for each night")
    return start, end


def _date(text: str, field: str) -> date:
    """A date; of an instant its date as written, which is the hotel's own."""
    try:
        found = date.fromisoformat(text) if len(text) == len("2027-01-31") else datetime.fromisoformat(text).date()
    except ValueError:
        found = None
    if found is None or not EARLIEST_DATE <= found <= LATEST_DATE:
        raise UnparseableRevision(field, "date", f"must be a date from {EARLIEST_DATE} to {LATEST_DATE}")
    return found


def _party(stay: Element | None, field: str) -> Party | None:
    """Who stays; None without an adult. A count that does not say whom it counts, counts adults."""
    counts = {ADULT: 0, CHILD: 0, INFANT: 0}
    for entry in descend(stay, "GuestCounts/GuestCount"):
        text = attribute(entry, "Count") or "0"
        if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= MAX_PERSONS):
            raise UnparseableRevision(f"{field}.GuestCounts", "count", f"must be whole numbers up to {MAX_PERSONS}")
        age = attribute(entry, "AgeQualifyingCode")
        counts[age if age in (CHILD, INFANT) else ADULT] += int(text)
    return Party(counts[ADULT], counts[CHILD], counts[INFANT]) if counts[ADULT] else None


def _money(total: Element | None, field: str) -> tuple[int | None, str | None]:
    """The amount in minor units, and its currency: "15000" with DecimalPlaces 2 is 150.00, "150.00" is so too."""
    text = attribute(total, "AmountAfterTax") or attribute(total, "AmountBeforeTax")
    currency = attribute(total, "CurrencyCode")
    if text is None or currency is None:
        return None, None
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise UnparseableRevision(f"{field}.Total.CurrencyCode", "currency", "must be three capital letters")
    places = attribute(total, "DecimalPlaces") or "0"
    try:
        amount = Decimal(text) if len(text) <= 20 else Decimal(-1)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MAX_MINOR or places not in ("0", "1", "2", "3", "4"):
        raise UnparseableRevision(f"{field}.Total", "amount", "must be an amount of money")
    implied = 0 if "." in text else int(places)
    minor = (amount * Decimal(10) ** (minor_digits(currency) - implied)).to_integral_value()
    return (int(minor), currency) if minor <= MAX_MINOR else (None, currency)


def _guest(entry: Element) -> Guest | None:
    """Who booked, else the first who stays; cut to the lengths our contract takes: no name loses a booking."""
    customers = [
        *descend(entry, "ResGlobalInfo/Profiles/ProfileInfo/Profile/Customer"),
        *descend(entry, "ResGuests/ResGuest/Profiles/ProfileInfo/Profile/Customer"),
    ]
    for customer in customers:
        person = first(customer, "PersonName")
        name = " ".join(part for part in (text_of(first(person, n)) for n in ("GivenName", "Surname")) if part)
        email, phone = text_of(first(customer, "Email")), attribute(first(customer, "Telephone"), "PhoneNumber") or ""
        if name or email or phone:
            return Guest(name[:200], email[:320] or None, phone[:40] or None)
    return None


def _name(text: str, field: str) -> str:
    if len(text) > LONGEST_NAME:
        raise UnparseableRevision(field, "too_long", f"must not be longer than {LONGEST_NAME} characters")
    return text
