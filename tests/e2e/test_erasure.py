"""Proves I21 for booking: what a guest was called and reached by is nowhere after their erasure, at once.

Three strings that occur nowhere else (name, e-mail, phone) enter by every way there is; they are searched for before
the erasure, to see the search find them, and after it in a dump of booking's database, in every topic of the broker but
the two that carry guests and their dead letters, in every file the processes wrote but the two stores' own (logs of the
services, of PostgreSQL and of Kafka; availability's snapshot file once it keeps one there), and in every exported span.

Channel-sync's database is searched once it has consumed `GuestErased`: an event with ids only, that names connection
and reservation code.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from contracts.topics import CHANNEL_SYNC_RESERVATIONS, OTA_INBOUND
from deploy.local.journey_client import Agency, NotYet, Reply, until
from deploy.local.journey_scene import Scene, new_code
from deploy.local.postgres import find_binaries
from deploy.local.provision import in_database
from deploy.local.services import SERVICES
from tests.e2e.infra import span_receiver
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

MAY_CARRY_GUESTS = {
    topic.name for carrier in (CHANNEL_SYNC_RESERVATIONS, OTA_INBOUND) for topic in (carrier, *carrier.dead_letters)
}
CHANGES = "booking.reservations.v1"
CHANNEL_DATABASE = "pms_channel_sync"
# The stores' own files: what is in them is asked of the stores.
STORES = ("postgres", "kafka")


@dataclass(frozen=True)
class Person:
    """Three strings that occur nowhere else, and the keys of the requests they came with."""

    name: str
    email: str
    phone: str

    @property
    def strings(self) -> dict[str, str]:
        """What is searched for; the name also without its first word, the e-mail also without its domain."""
        return {
            "name": self.name.rsplit(" ", maxsplit=1)[-1],
            "e-mail": self.email.partition("@")[0],
            "phone": self.phone.rsplit(" ", maxsplit=1)[-1],
        }

    @property
    def guest(self) -> dict[str, str]:
        """The guest of a request."""
        return {"name": self.name, "email": self.email, "phone": self.phone}

    @property
    def notes(self) -> str:
        """A note that repeats everything."""
        return f"{self.name} ({self.email}) asks to be called: {self.phone}"

    def found_in(self, chunks: Iterable[bytes]) -> set[str]:
        """Which of the strings are there, whatever their case, as text or as the hexadecimal of a dumped bytea."""
        found = set()
        for chunk in chunks:
            lower = chunk.lower()
            for what, text in self.strings.items():
                wanted = text.lower().encode()
                if wanted in lower or wanted.hex().encode() in lower or text.encode().hex().encode() in lower:
                    found.add(what)
        return found


ALL = {"name", "e-mail", "phone"}


class RecordedExports:
    """Stands where the receiver reads what the services export, and keeps every byte of it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def FromString(self, body: bytes) -> ExportTraceServiceRequest:  # noqa: N802 - protobuf's name
        """Keep it and read it."""
        self.bodies.append(body)
        message: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
        return message


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> RecordedExports:
    """Every byte that is exported during the test: also events and states of spans, which the receiver drops."""
    recorded = RecordedExports()
    monkeypatch.setattr(span_receiver, "ExportTraceServiceRequest", recorded)
    return recorded


@pytest.fixture
def person() -> Person:
    mark = secrets.token_hex(8)
    return Person(
        f"Zenobia Xq{mark}", f"Zq{secrets.token_hex(8)}@erasure.example", f"+351 9{secrets.randbelow(10**14)}"
    )


async def dump(running: Running, database: str = "pms_booking") -> bytes:
    """A plain dump of a service's database, every row of every table."""
    dsn = in_database(running.stack.postgres_admin_dsn, database)
    command = [str(find_binaries(None) / "pg_dump"), "--data-only", "--dbname", dsn]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    return bytes(done.stdout)


async def topics_of(running: Running) -> dict[str, list[bytes]]:
    """Every record of every topic the broker has, but its own: key, value and headers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=running.suite.kafka_bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics()
    finally:
        await admin.close()
    found: dict[str, list[bytes]] = {}
    for topic in described:
        if not topic["topic"].startswith("__"):
            assert len(topic["partitions"]) == running.suite.kafka_partitions, "all of it is read"
            found[topic["topic"]] = [
                b"".join((record.key or b"", record.value or b"", *(value for _, value in record.headers)))
                for record in await running.topics.records(topic["topic"])
            ]
    return found


def written_files(running: Running) -> dict[str, bytes]:
    """What the processes wrote into their folder, but for the stores, by its place there."""
    folder = running.supervisor.run_dir
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = {path: path.relative_to(folder) for path in paths}
    return {str(place): path.read_bytes() for path, place in inside.items() if place.parts[0] not in STORES}


@dataclass(frozen=True)
class Entered:
    """What the guest left: their id, reservations, and the requests that were made with a key."""

    guest_id: str
    booking_ids: list[str]
    keyed: list[tuple[str, dict[str, Any], str]]


async def enter_everywhere(running: Running, scene: Scene, person: Person) -> Entered:
    """The person comes in by every way there is, allowed or refused; all of it ends at one guest."""
    agency = scene.agency
    house = scene.property_id
    keyed: list[tuple[str, dict[str, Any], str]] = []

    async def post(path: str, body: dict[str, Any], *, keep: bool = True) -> Reply:
        key = secrets.token_hex(8)
        if keep:
            keyed.append((path, body, key))
        return await agency.request("POST", path, body, headers={"Idempotency-Key": key})

    def stay(first: int, last: int) -> dict[str, Any]:
        start, end = days(first, last)
        return {"property_id": house, "check_in": str(start), "check_out": str(end), "occupancy": {"adults": 2}}

    made = (await post("/guests", person.guest)).expect(201)
    guest_id = str(made["id"])
    first = (await post("/bookings", {**stay(0, 3), "guest": person.guest, "notes": person.notes})).expect(201)
    group = {"stays": [{**stay(5, 7), "notes": person.notes}, stay(8, 9)], "guest": person.guest}
    booked = (await post("/bookings/groups", group)).expect(201)
    asked = {**stay(0, 3), "guest_id": guest_id, "status": "inquiry", "notes": person.notes}
    inquiry = (await post("/bookings", asked)).expect(201)
    # Changes, each kept in the history.
    (await agency.request("PATCH", f"/guests/{guest_id}", {"name": f"Dr {person.name}"})).expect(200)
    (await agency.request("PATCH", f"/guests/{guest_id}", {"name": person.name, "phone": None})).expect(200)
    (await agency.request("PATCH", f"/guests/{guest_id}", {"phone": person.phone})).expect(200)
    (await agency.request("PATCH", f"/bookings/{first['id']}", {"notes": f"again: {person.notes}"})).expect(200)
    cancelled = booked["bookings"][1]["id"]
    (await agency.request("POST", f"/bookings/{cancelled}/cancel", {"reason": person.notes})).expect(200)
    (await agency.request("POST", f"/bookings/{inquiry['id']}/decline", {"reason": person.notes})).expect(200)
    # What is refused leaves traces, too: taken nights, an e-mail that is known, a body that is wrong.
    (await post("/bookings", {**stay(1, 2), "guest": person.guest}, keep=False)).expect(409)
    (await post("/guests", person.guest, keep=False)).expect(409)
    other = (await post("/guests", {"name": "Somebody else"}, keep=False)).expect(201)
    (await agency.request("PATCH", f"/guests/{other['id']}", {"email": person.email})).expect(409)
    (await post("/guests", {**person.guest, "unexpected": person.notes}, keep=False)).expect(422)
    wrong = {"name": person.notes, "email": person.name, "phone": [person.phone]}
    (await post("/guests", wrong, keep=False)).expect(422)
    # An OTA sells to the same person, changes the stay, and sends something nobody can read.
    code = new_code()
    await scene.sell(days(10, 13), code, guest=person.guest)
    await scene.reservation(code, "confirmed")
    await scene.sell(days(10, 14), code, status="modified", guest={**person.guest, "name": f"Dr {person.name}"})
    sold = await _with_check_out(scene, code, days(10, 14)[1])
    assert sold["guest_id"] == guest_id
    await scene.ota.send_revision(
        scene.inbound_url,
        ota_listing_id=scene.listing_id,
        ota_reservation_code=code,
        check_in=None,
        check_out=None,
        guest=person.guest,
    )
    # Searched for by each of them.
    for path, query in (
        ("/guests", {"q": person.strings["name"]}),
        ("/guests", {"q": person.strings["e-mail"]}),
        ("/guests", {"email": person.email}),
        ("/bookings", {"q": person.strings["name"]}),
        ("/bookings", {"q": person.email}),
        ("/bookings", {"q": person.phone}),
    ):
        found = (await agency.request("GET", path, params=query)).expect(200)["items"]
        assert found or query["q"] == person.phone, f"{path} {query}"
    stays = [first["id"], *(item["id"] for item in booked["bookings"]), inquiry["id"], sold["id"]]
    return Entered(guest_id, stays, keyed)


async def _with_check_out(scene: Scene, code: str, check_out: date) -> Any:
    async def look() -> Any:
        for item in await scene.agency.bookings(scene.property_id):
            if item.get("ota_reservation_code") == code and item["check_out"] == str(check_out):
                return item
        raise NotYet("the old stay")

    return await until(look, f"{code} until {check_out}")


async def erased_events(running: Running, scene: Scene, count: int) -> list[Any]:
    """The events of the erasure, once they are all on the topic."""

    async def look() -> list[Any]:
        events = await running.topics.events_of(CHANGES, scene.property_id)
        found = [event for event in events if event.type == "GuestErased"]
        if len(found) < count:
            raise NotYet(f"{len(found)} events")
        return found

    return await until(look, f"{count} times GuestErased")


async def forgotten_by_channel_sync(running: Running, person: Person) -> None:
    """Once channel-sync consumed the events, its database does not name the person."""

    async def look() -> None:
        if found := person.found_in([await dump(running, CHANNEL_DATABASE)]):
            raise NotYet(f"still there: {found}")

    await until(look, "channel-sync to forget the guest")


async def look_after(agency: Agency, person: Person, entered: Entered) -> None:
    """The API no longer shows the person, whichever way it is asked."""
    for path in (
        f"/guests/{entered.guest_id}",
        f"/guests/{entered.guest_id}/timeline",
        *(f"/bookings/{booking_id}" for booking_id in entered.booking_ids),
        *(f"/bookings/{booking_id}/history" for booking_id in entered.booking_ids),
    ):
        reply = await agency.request("GET", path)
        reply.expect(200)
        assert person.found_in([reply.content]) == set(), path
    for path, query in (
        ("/guests", {"q": person.strings["name"]}),
        ("/guests", {"email": person.email}),
        ("/bookings", {"q": person.strings["name"]}),
        ("/bookings", {"q": person.email}),
    ):
        assert (await agency.request("GET", path, params=query)).expect(200)["items"] == [], f"{path} {query}"
    for path, body, key in entered.keyed:
        reply = await agency.request("POST", path, body, headers={"Idempotency-Key": key})
        assert (reply.status, reply.body["code"]) == (410, "erased"), f"{path}: {reply.content!r}"
        assert person.found_in([reply.content]) == set(), path


async def test_an_erased_guest_is_in_no_dump_no_topic_no_file_and_no_span(
    running: Running, scene: Scene, person: Person, exports: RecordedExports
) -> None:
    agency = scene.agency
    entered = await enter_everywhere(running, scene, person)
    # The search finds what is there.
    assert person.found_in([await dump(running)]) == ALL
    assert person.found_in([await dump(running, CHANNEL_DATABASE)]) == ALL
    before = await topics_of(running)
    assert person.found_in(before[CHANNEL_SYNC_RESERVATIONS.name]) == ALL
    assert set(before) >= MAY_CARRY_GUESTS
    files = written_files(running)
    assert {f"logs/{service}.log" for service in SERVICES} <= set(files)
    assert scene.property_id.encode() in files["logs/booking.log"], "of the stay that was refused"

    erased = await agency.request("POST", f"/guests/{entered.guest_id}/erase")
    erased.expect(200)
    # At once: nothing is waited for before the dump.
    left = await dump(running)
    assert person.found_in([left]) == set()
    assert entered.guest_id.encode() in left, "the reservations stay"
    assert person.found_in([erased.content]) == set()
    await look_after(agency, person, entered)

    events = await erased_events(running, scene, len(entered.booking_ids))
    assert {event.data["reservation_id"] for event in events} == set(entered.booking_ids)
    from_the_ota = [event.data for event in events if event.data.get("connection_id")]
    assert [data["connection_id"] for data in from_the_ota] == [scene.connection_id]
    assert from_the_ota[0]["ota_reservation_code"]
    assert person.found_in([json.dumps(event.data).encode() for event in events]) == set()
    await forgotten_by_channel_sync(running, person)
    for name, records in (await topics_of(running)).items():
        if name not in MAY_CARRY_GUESTS:
            assert person.found_in(records) == set(), name

    last = await agency.request("GET", f"/guests/{entered.guest_id}")
    await running.spans.wait_for(
        last.trace_id, "the last spans", lambda spans: {"gateway", "booking"} <= {span.service for span in spans}
    )
    assert any(bytes.fromhex(erased.trace_id) in body for body in exports.bodies)
    assert person.found_in(exports.bodies) == set()
    for place, content in written_files(running).items():
        assert person.found_in([content]) == set(), place


async def test_erasing_twice_answers_the_same_and_tells_nothing_more(
    running: Running, scene: Scene, person: Person
) -> None:
    booked = (await scene.agency.book(scene.property_id, days(0, 3), guest=person.guest)).expect(201)
    path = f"/guests/{booked['guest_id']}/erase"
    answers = [(await scene.agency.request("POST", path)).expect(200) for _ in range(2)]
    assert answers[0] == answers[1]
    (event,) = await erased_events(running, scene, 1)
    later = (await scene.agency.book(scene.property_id, days(5, 6), guest=person.guest)).expect(201)
    assert later["guest_id"] != booked["guest_id"]
    confirmed = await scene.agency.booking(later["id"])
    assert confirmed["inventory_version"] == event.version + 1
