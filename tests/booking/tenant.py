"""Owns an agency with one of everything, made by the use cases themselves; for tests that keep two agencies apart."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from booking.domain.accounts import Grant
from booking.service import channel
from booking.service.accounts import login, operator
from booking.service.accounts.deps import AccessDeps, Seal
from booking.service.accounts.passwords import Passwords
from tests.booking.accounts_scene import PASSWORD, CountingHasher
from tests.booking.checks import revision_of
from tests.booking.good_bodies import PARTY, PROFILE
from tests.booking.served import Served


@dataclass(frozen=True)
class Tenant:
    """An agency with one of everything: ids by the name of the path parameter that takes them."""

    agency_id: UUID
    ids: dict[str, str]


async def seeded(served: Served) -> Tenant:
    """An agency made by the use cases themselves."""
    ledger = served.ledger
    agency = await operator.create_agency(ledger.system.pool, "Casas do Mar")

    async def make(path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        key = {"Idempotency-Key": uuid4().hex}
        answer = await served.call(method, path, body, agency_id=agency, headers=key)
        assert answer.status in (200, 201), f"{path}: {answer.text}"
        return dict(answer.body)

    house = (await make("/properties", {**PROFILE, "preparation_days": 0, "lead_time_hours": 0}))["id"]
    stay = {"property_id": house, "occupancy": PARTY}
    guest = (await make("/guests", {"name": "Ada", "email": f"{uuid4().hex}@example.com"}))["id"]
    booked = await make("/bookings", {**stay, "check_in": "2027-05-11", "check_out": "2027-05-13", "guest_id": guest})
    await make(f"/properties/{house}/stay-rules", {"default": {"max_stay": 30}}, "PUT")
    hold = await make("/holds", {"property_id": house, "check_in": "2027-06-01", "check_out": "2027-06-03"})
    block = await make("/blocks", {"property_id": house, "start_date": "2027-07-01", "end_date": "2027-07-03"})
    await make("/quotes", {**stay, "check_in": "2027-08-01", "check_out": "2027-08-03"})
    past = await make("/blocks", {"property_id": house, "start_date": "2020-07-01", "end_date": "2020-07-03"})
    await make(f"/blocks/{past['id']}", {}, "DELETE")
    await channel.apply_revision(ledger.system, revision_of(agency, UUID(house), uuid4().hex, 1, 11, 15))
    (conflict,) = (await served.call("GET", "/channel-conflicts", agency_id=agency)).body["items"]
    user = await make("/users", {"email": f"{uuid4().hex}@example.com", "roles": ["staff"]})
    key = await make("/api-keys", {"name": "importer", "roles": ["staff"]})
    access = AccessDeps(
        ledger.api, ledger.system.pool, Passwords(CountingHasher()), Seal("s" * 32), lambda **_: "a token"
    )
    link = await operator.invite(
        ledger.system.pool, agency, f"{uuid4().hex}@example.com", Grant(frozenset({"admin"}), None)
    )
    member = await login.accept_link(access, link.token, PASSWORD)
    await login.exchange_password(access, member.email, PASSWORD, agency)
    return Tenant(
        agency,
        {
            "property_id": house,
            "booking_id": booked["id"],
            "reservation_id": booked["id"],
            "guest_id": guest,
            "hold_id": hold["id"],
            "block_id": block["id"],
            "conflict_id": conflict["id"],
            "user_id": user["id"],
            "key_id": key["id"],
        },
    )
