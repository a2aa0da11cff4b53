"""Owns the scene of the predecessor's failures: a client of booking over HTTP, and every writer that takes nights."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from booking.service import channel
from tests.booking.checks import revision_of
from tests.booking.conftest import night
from tests.booking.served import Answer, Served

PROFILE: dict[str, Any] = {"name": "Casa", "time_zone": "Europe/Lisbon", "currency": "EUR", "max_occupancy": 4}
GUEST = {"name": "Ana", "email": "ana@example.com", "phone": "+351 555"}

Request = Callable[[], Coroutine[Any, Any, Answer]]


@dataclass(frozen=True)
class Client:
    """One agency that talks to booking over HTTP; nights are counted from the first of the test calendar."""

    served: Served
    agency: UUID

    async def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """One request, with an idempotency key if one is given."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.served.call(method, path, body, agency_id=self.agency, headers=headers)

    async def made(self, path: str, body: Any) -> str:
        """The id of what a POST made."""
        answer = await self.call("POST", path, body)
        assert answer.status == 201, answer.text
        return str(answer.body["id"])

    async def house(self, **profile: Any) -> str:
        """A property."""
        return await self.made("/properties", {**PROFILE, **profile})

    async def booked(self, house: str, first: int, last: int, **fields: Any) -> str:
        """The id of a booking."""
        return await self.made("/bookings", stay(house, first, last, **fields))

    async def book(self, house: str, first: int, last: int, **fields: Any) -> Answer:
        """A booking that may be refused."""
        return await self.call("POST", "/bookings", stay(house, first, last, **fields))

    async def ota_sends(self, house: str, code: str, number: int, first: int, last: int) -> None:
        """A revision from a channel."""
        revision = revision_of(self.agency, UUID(house), code, number, first, last)
        await channel.apply_revision(self.served.ledger.system, revision)


def new_client(served: Served) -> Client:
    """An agency of its own."""
    return Client(served, uuid4())


def dates(first: int, last: int) -> dict[str, str]:
    """The dates of a stay."""
    return {"check_in": str(night(first)), "check_out": str(night(last))}


def stay(house: str, first: int, last: int, **fields: Any) -> dict[str, Any]:
    """The body of a booking."""
    occupancy = {"adults": fields.pop("adults", 2), "children": fields.pop("children", 0)}
    guest = {} if "guest_id" in fields else {"guest": GUEST}
    return {"property_id": house, **dates(first, last), "occupancy": occupancy, **guest, **fields}


async def _post_booking(client: Client, house: str) -> Request:
    return lambda: client.book(house, 0, 3)


async def _post_pending(client: Client, house: str) -> Request:
    return lambda: client.book(house, 0, 3, status="pending")


async def _post_group(client: Client, house: str) -> Request:
    stays = [stay(each, 0, 3) for each in (house, await client.house())]
    for each in stays:
        del each["guest"]
    return lambda: client.call("POST", "/bookings/groups", {"stays": stays, "guest": GUEST})


async def _post_hold(client: Client, house: str) -> Request:
    return lambda: client.call("POST", "/holds", {"property_id": house, **dates(0, 3)})


async def _post_block(client: Client, house: str) -> Request:
    nights = {"start_date": str(night(0)), "end_date": str(night(3))}
    return lambda: client.call("POST", "/blocks", {"property_id": house, **nights})


async def _confirm_inquiry(client: Client, house: str) -> Request:
    inquiry = await client.booked(house, 0, 3, status="inquiry")
    return lambda: client.call("POST", f"/bookings/{inquiry}/confirm")


async def _patch_dates(client: Client, house: str) -> Request:
    own = await client.booked(house, 20, 23)
    return lambda: client.call("PATCH", f"/bookings/{own}", dates(0, 3))


async def _patch_property(client: Client, house: str) -> Request:
    own = await client.booked(await client.house(), 0, 3)
    return lambda: client.call("PATCH", f"/bookings/{own}", {"property_id": house})


async def _resolve_by_moving(client: Client, house: str) -> Request:
    full = await client.house()
    await client.booked(full, 0, 3)
    await client.ota_sends(full, f"M-{house}", 1, 0, 3)
    conflicts = (await client.call("GET", "/channel-conflicts?state=open")).body["items"]
    (conflict,) = [found for found in conflicts if found["property_id"] == full]
    body = {"action": "move", "property_id": house}
    return lambda: client.call("POST", f"/channel-conflicts/{conflict['id']}/resolve", body)


WRITERS: dict[str, Callable[[Client, str], Awaitable[Request]]] = {
    "POST /bookings": _post_booking,
    "POST /bookings, pending": _post_pending,
    "POST /bookings/groups": _post_group,
    "POST /holds": _post_hold,
    "POST /blocks": _post_block,
    "confirm an inquiry": _confirm_inquiry,
    "PATCH dates": _patch_dates,
    "PATCH property": _patch_property,
    "resolve a conflict by moving": _resolve_by_moving,
}
"""Each prepares itself on a free property, and then wants its nights 0 to 3."""
