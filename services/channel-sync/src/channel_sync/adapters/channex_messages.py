"""Owns what Channex writes about bookings, and how it is read; called by the adapter `channex` alone.

Only the fields named here are read; everything else, cards above all, is ignored and never kept.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, ValidationError

from channel_sync.domain.currencies import minor_digits
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.revisions import MAX_STAYS, Guest, ParsedRevision, Party, room_suffix
from contracts.channel_sync_reservations_v1 import RevisionStatus
from contracts.values import EARLIEST_DATE, CalendarDate, Code, Currency, EventModel, Storable

Name = Annotated[Code, Storable]
Amount = Annotated[Decimal, Field(ge=0, le=10**9)]
Persons = Annotated[int, Field(ge=0, le=100)]

ROOM_FIELDS = ("checkin_date", "checkout_date", "room_type_id", "rate_plan_id", "amount")
REVISION_FIELDS = (
    *("id", "property_id", "booking_id", "unique_id", "system_id", "ota_reservation_code", "ota_name", "status"),
    *("arrival_date", "departure_date", "amount", "currency", "inserted_at"),
)
PERSONS_FIELDS = ("adults", "children", "infants")


class _Occupancy(EventModel):
    adults: Persons | None = None
    children: Persons | None = None
    infants: Persons | None = None


class _Room(EventModel):
    checkin_date: CalendarDate | None = None
    checkout_date: CalendarDate | None = None
    room_type_id: Name | None = None
    amount: Amount | None = None
    occupancy: _Occupancy | None = None


class _Customer(EventModel):
    name: str | None = None
    surname: str | None = None
    mail: str | None = None
    phone: str | None = None


class _Attributes(EventModel):
    property_id: Name
    unique_id: Name | None = None
    ota_reservation_code: Name | None = None
    ota_name: Name | None = None
    status: RevisionStatus
    rooms: list[_Room] = Field(default_factory=list, max_length=MAX_STAYS)
    customer: _Customer | None = None
    occupancy: _Occupancy | None = None
    arrival_date: CalendarDate | None = None
    departure_date: CalendarDate | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    inserted_at: datetime | None = None


class _Revision(EventModel):
    id: Name
    attributes: _Attributes


def listing_of(property_id: str, room_type_id: str | None) -> str:
    """What we call a listing of Channex: property and room type; the property alone for a room not mapped there."""
    return f"{property_id}/{room_type_id}" if room_type_id else property_id


def read_revision(raw: bytes) -> ParsedRevision:
    """One item of the feed; raises `UnparseableRevision` naming the field, never what it held."""
    message = _message(raw)
    if isinstance(message, UnparseableRevision):
        raise message
    rooms = message.attributes.rooms or [_Room()]
    first, *others = [_stay(message, room, number, len(rooms)) for number, room in enumerate(rooms, start=1)]
    return replace(first, others=tuple(others))


def instant(value: datetime | None) -> datetime | None:
    """The instant in UTC, which is what Channex's instants without an offset are taken for.

    None for one so near the calendar's ends that UTC has no date for it.
    """
    try:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        return None


def stripped(message: dict[str, Any]) -> dict[str, Any]:
    """One item of the feed with those fields alone that cannot name a guest."""
    attributes = _dict(message.get("attributes"))
    rooms = attributes.get("rooms")
    kept = _kept(attributes, REVISION_FIELDS)
    kept["rooms"] = [
        {**_kept(room, ROOM_FIELDS), **_occupancy(room)}
        for room in (rooms if isinstance(rooms, list) else [])
        if isinstance(room, dict)
    ]
    return {**_kept(message, ("id", "type")), "attributes": {**kept, **_occupancy(attributes)}}


def _message(raw: bytes) -> _Revision | UnparseableRevision:
    """The message, or why it is none; returned, so that the parser's error with its input is not in the context."""
    try:
        return _Revision.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    return UnparseableRevision(field, first["type"], first["msg"].removeprefix("Value error, "))


def _stay(message: _Revision, room: _Room, number: int, of: int) -> ParsedRevision:
    """The stay of one room; `number` counts from 1 and is in the names of all but the first."""
    about, status = message.attributes, message.attributes.status
    field = f"attributes.rooms.{number - 1}"
    check_in, check_out = room.checkin_date or about.arrival_date, room.checkout_date or about.departure_date
    if status is not RevisionStatus.CANCELLED and (check_in is None or check_out is None):
        name = "checkin_date" if check_in is None else "checkout_date"
        raise UnparseableRevision(f"{field}.{name}", "missing", "is required unless the revision is a cancellation")
    if check_in is not None and check_out is not None and check_out <= check_in:
        raise UnparseableRevision(f"{field}.checkout_date", "not_after_check_in", "must be after checkin_date")
    code = about.unique_id or about.ota_reservation_code
    if code is None:
        raise UnparseableRevision("attributes.unique_id", "missing", "is required")
    published_at = instant(about.inserted_at)
    if published_at is not None and published_at.date() < EARLIEST_DATE:
        raise UnparseableRevision("attributes.inserted_at", "too_early", f"must not be before {EARLIEST_DATE}")
    suffix = room_suffix(number)
    return ParsedRevision(
        revision_id=message.id + suffix,
        status=status.value,
        ota_name=about.ota_name or "channex",
        ota_reservation_code=code + suffix,
        ota_listing_id=listing_of(about.property_id, room.room_type_id),
        published_at=published_at,
        check_in=check_in,
        check_out=check_out,
        party=_party(room.occupancy) or (_party(about.occupancy) if of == 1 else None),
        guest=_guest(about.customer),
        total_amount_minor=_minor(about.amount if of == 1 else room.amount, about.currency),
        currency=about.currency,
    )


def _party(occupancy: _Occupancy | None) -> Party | None:
    """Who stays; None without an adult, which is what Channex writes when the OTA told it nothing."""
    if occupancy is None or not occupancy.adults:
        return None
    return Party(occupancy.adults, occupancy.children or 0, occupancy.infants or 0)


def _guest(customer: _Customer | None) -> Guest | None:
    """The guest, cut to the lengths our contract takes: no guest's name is a reason to lose a booking."""
    if customer is None:
        return None
    name = " ".join(part for part in (customer.name, customer.surname) if part)
    return Guest(_clean(name, 200), _clean(customer.mail, 320) or None, _clean(customer.phone, 40) or None)


def _clean(text: str | None, length: int) -> str:
    return (text or "").replace("\x00", "").encode("utf-8", "ignore").decode()[:length]


def _minor(amount: Decimal | None, currency: str | None) -> int | None:
    """Channex writes whole units with decimals ("153.00")."""
    if amount is None or currency is None:
        return None
    return int((amount * 10 ** minor_digits(currency)).to_integral_value())


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _kept(message: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Plain values under these names; what is nested is left out."""
    return {name: message[name] for name in names if name in message and not isinstance(message[name], dict | list)}


def _occupancy(message: dict[str, Any]) -> dict[str, Any]:
    return {"occupancy": _kept(_dict(message.get("occupancy")), PERSONS_FIELDS)} if "occupancy" in message else {}


def object_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None for anything else, a web page for one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
