"""Proves that what went wrong in the predecessor cannot happen here; docs/predecessor.md says which test is for what.

Requests are real HTTP to booking's application on its real database.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from availability.clients import Booking
from availability.service.answers import Answers, Question
from availability.service.cache import Cache
from availability.service.reading import Reader
from tests.booking.checks import assert_no_overlap
from tests.booking.conftest import PARTITIONS, Ledger, night
from tests.booking.predecessor_scene import GUEST, WRITERS, Client, dates, new_client, stay
from tests.booking.served import SECRET, Served, served_booking
from tests.conftest import Provisioned
from tests.waiting import eventually

pytestmark = pytest.mark.stack

TAKE_WITHOUT_LOCK = """
INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
VALUES (gen_random_uuid(), $1, $2, 'block', gen_random_uuid(), daterange($3, $4), daterange($3, $4), suite_now())"""
WAITS_FOR = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    async with served_booking(ledger, provisioned) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """An agency of its own."""
    return new_client(served)


@pytest.mark.parametrize("seed", range(6))
async def test_availability_and_the_booking_post_agree_on_any_calendar(client: Client, seed: int) -> None:
    """Two sources of truth: availability said free while POST said 409. Both come from the ledger's ranges here."""
    chance = random.Random(seed)
    house = await client.house(preparation_days=seed % 3)
    given_up = await _random_calendar(client, house, chance)
    assert given_up
    answers = Counter[int]()
    async with Booking(client.served.address, SECRET) as upstream:
        for _ in range(12):
            cache = Cache(PARTITIONS)
            asked = Answers(cache, Reader(cache, upstream, 1000, 50))
            first = chance.randrange(-3, 40)
            nights = range(first, first + chance.randint(1, 6))
            window = Question(UUID(house), night(nights.start), night(nights.stop))
            found = await asked.availability(client.agency, window)
            answer = await client.book(house, nights.start, nights.stop)
            assert answer.status == (409 if found.closed else 201), (found.closed, answer.text)
            answers[answer.status] += 1
            if answer.status == 201 and chance.random() < 0.5:
                await client.call("POST", f"/bookings/{answer.body['id']}/cancel")
    assert answers[201] >= 1
    assert answers[409] >= 1


async def _random_calendar(client: Client, house: str, chance: random.Random) -> int:
    """Stays, blocks, holds and inquiries, some given up again; how many."""
    given_up = 0
    for _ in range(14):
        first = chance.randrange(0, 28)
        last = first + chance.randint(1, 4)
        kind = chance.choice(["bookings", "blocks", "holds", "inquiry"])
        if kind == "blocks":
            span: dict[str, Any] = {"start_date": str(night(first)), "end_date": str(night(last))}
        else:
            span = dates(first, last)
        if kind in ("bookings", "inquiry"):
            status = "inquiry" if kind == "inquiry" else chance.choice(["confirmed", "pending"])
            made = await client.book(house, first, last, status=status)
        else:
            made = await client.call("POST", f"/{kind}", {"property_id": house, **span})
        assert made.status in (201, 409), made.text
        if made.status == 201 and chance.random() < 0.4:
            given_up += 1
            path = "bookings" if kind == "inquiry" else kind
            gone = f"/{path}/{made.body['id']}"
            if path == "bookings":
                assert (await client.call("POST", f"{gone}/cancel")).status == 200
            else:
                assert (await client.call("DELETE", gone)).status == 200
    return given_up


async def test_an_inquiry_keeps_nobody_out_whatever_constraint_there_is(client: Client) -> None:
    """A second constraint of the predecessor's database made inquiries block."""
    house = await client.house()
    for _ in range(2):
        await client.booked(house, 0, 3, status="inquiry")
    await client.booked(house, 0, 3)
    await client.booked(house, 0, 3, status="inquiry")
    admin = await asyncpg.connect(client.served.ledger.admin_dsn)
    try:
        rows = await admin.fetch("SELECT conname FROM pg_constraint WHERE contype = 'x'")
    finally:
        await admin.close()
    assert [row["conname"] for row in rows] == ["inventory_ranges_no_overlap"]


@pytest.mark.parametrize("path", ["/bookings", "/holds", "/blocks", "/bookings/groups", "/quotes"])
async def test_a_post_for_a_property_that_is_not_there_is_404_and_never_500(client: Client, path: str) -> None:
    """The lock used the property id before it was read: every POST was a 500."""
    nowhere = str(uuid4())
    bodies: dict[str, Any] = {
        "/bookings": stay(nowhere, 0, 3),
        "/holds": {"property_id": nowhere, **dates(0, 3)},
        "/blocks": {"property_id": nowhere, "start_date": str(night(0)), "end_date": str(night(3))},
        "/bookings/groups": {
            "stays": [{"property_id": nowhere, **dates(0, 3), "occupancy": {"adults": 2}}],
            "guest": GUEST,
        },
        "/quotes": {"property_id": nowhere, **dates(0, 3), "occupancy": {"adults": 2}},
    }
    answer = await client.call("POST", path, bodies[path])
    assert (answer.status, answer.body["code"]) == (404, "not_found")


@pytest.mark.parametrize("writer", WRITERS)
async def test_every_writer_waits_for_the_lock_before_it_decides(client: Client, writer: str) -> None:
    """What commits under the lock while a writer waits for it is seen by its decision."""
    house = await client.house()
    request = await WRITERS[writer](client, house)
    async with client.served.ledger.system.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(property_lock_key($1))", UUID(house))
        waiting = asyncio.create_task(request())
        await _somebody_waits_for(client, connection)
        await connection.execute(TAKE_WITHOUT_LOCK, client.agency, UUID(house), night(1), night(2))
    answer = await waiting
    assert (answer.status, answer.body["code"]) == (409, "inventory_overlap"), answer.text
    await assert_no_overlap(client.served.ledger, UUID(house))


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_real_violation_of_the_constraint_is_409_at_every_writer(client: Client, writer: str) -> None:
    """SQLSTATE 23P01 became a 500. Here somebody who ignores the lock wins the nights after the decision."""
    house = await client.house()
    request = await WRITERS[writer](client, house)
    async with client.served.ledger.system.pool.acquire() as connection, connection.transaction():
        await connection.execute(TAKE_WITHOUT_LOCK, client.agency, UUID(house), night(1), night(2))
        waiting = asyncio.create_task(request())
        await _somebody_waits_for(client, connection)
    answer = await waiting
    assert (answer.status, answer.body["code"]) == (409, "inventory_overlap"), answer.text
    taken = {"kind": "block", "start_date": str(night(1)), "end_date": str(night(2))}
    assert answer.body["conflict"] == taken
    await assert_no_overlap(client.served.ledger, UUID(house))


async def test_an_ota_stay_whose_nights_somebody_takes_past_the_lock_is_kept_as_overbooked(client: Client) -> None:
    house = await client.house()
    async with client.served.ledger.system.pool.acquire() as connection, connection.transaction():
        await connection.execute(TAKE_WITHOUT_LOCK, client.agency, UUID(house), night(1), night(2))
        waiting = asyncio.create_task(client.ota_sends(house, "SLIP", 1, 0, 3))
        await _somebody_waits_for(client, connection)
    await waiting
    (kept,) = (await client.call("GET", f"/bookings?property_id={house}")).body["items"]
    assert kept["status"] == "overbooked"


async def _somebody_waits_for(client: Client, connection: Any) -> None:
    pid = connection.get_server_pid()

    async def look() -> bool | None:
        return await client.served.ledger.system.pool.fetchval(WAITS_FOR, pid) > 0 or None

    await eventually(look, "a request that waits for the other session")


async def test_every_refusal_of_nights_has_one_shape_whoever_refuses_whatever_holds_them(client: Client) -> None:
    """One conflict had three response shapes."""
    nights = {"start_date": str(night(0)), "end_date": str(night(3))}
    shapes = Counter[tuple[Any, ...]]()
    kinds = set()
    for holder, path in (("reservation", "/bookings"), ("block", "/blocks"), ("hold", "/holds")):
        for prepare in WRITERS.values():
            house = await client.house()
            request = await prepare(client, house)
            span = nights if holder == "block" else dates(0, 3)
            body = stay(house, 0, 3) if holder == "reservation" else {"property_id": house, **span}
            await client.made(path, body)
            refused = await request()
            assert refused.media_type == "application/problem+json"
            assert refused.body["conflict"] == {"kind": holder, **nights}
            kinds.add(refused.body["conflict"]["kind"])
            shape = {name: type(value).__name__ for name, value in refused.body.items()}
            shapes[(refused.status, refused.body["code"], refused.body["title"], *sorted(shape.items()))] += 1
    assert len(shapes) == 1, shapes
    assert sum(shapes.values()) == 3 * len(WRITERS)
    assert kinds == {"reservation", "block", "hold"}


async def test_of_ten_concurrent_posts_for_the_same_nights_one_is_201_and_nine_are_409(client: Client) -> None:
    house = await client.house()
    answers = await asyncio.gather(*(client.book(house, 0, 3) for _ in range(10)))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 9}
    assert {answer.body["code"] for answer in answers if answer.status == 409} == {"inventory_overlap"}
    assert len((await client.call("GET", f"/bookings?property_id={house}")).body["items"]) == 1


@pytest.mark.parametrize("writer", ["confirm an inquiry", "PATCH dates", "PATCH property"])
async def test_of_two_confirmations_or_changes_into_the_same_nights_exactly_one_wins(
    client: Client, writer: str
) -> None:
    """Confirming an inquiry and changing dates took no lock."""
    for _ in range(5):
        house = await client.house()
        rivals: list[tuple[str, str, Any]] = []
        for first in (20, 30):
            own = await client.booked(await client.house(), 0, 3) if writer == "PATCH property" else None
            if writer == "confirm an inquiry":
                inquiry = await client.booked(house, 0, 3, status="inquiry")
                rivals.append(("POST", f"/bookings/{inquiry}/confirm", None))
            elif own is not None:
                rivals.append(("PATCH", f"/bookings/{own}", {"property_id": house}))
            else:
                moved = await client.booked(house, first, first + 3)
                rivals.append(("PATCH", f"/bookings/{moved}", dates(0, 3)))
        answers = await asyncio.gather(*(client.call(*rival) for rival in rivals))
        assert sorted(answer.status for answer in answers) == [200, 409]
        await assert_no_overlap(client.served.ledger, UUID(house))


async def test_a_request_full_of_uuids_is_replayed_to_the_byte_and_books_once(client: Client) -> None:
    """The idempotency record could not be stored, because a UUID is no JSON: a replay booked twice."""
    house = await client.house()
    ana = await client.made("/guests", GUEST)
    hold = await client.made("/holds", {"property_id": house, **dates(0, 3)})
    body = stay(house, 0, 3, guest_id=ana, hold_id=hold)
    first, second = [await client.call("POST", "/bookings", body, key="once") for _ in range(2)]
    assert (first.status, second.status, second.text) == (201, 201, first.text)
    replayed = [{name.lower() for name in answer.headers} >= {"idempotent-replayed"} for answer in (first, second)]
    assert replayed == [False, True]
    assert len((await client.call("GET", f"/bookings?property_id={house}")).body["items"]) == 1
    stays = [stay(house, 5, 7), stay(await client.house(), 5, 7)]
    for each in stays:
        del each["guest"]
    group = {"stays": stays, "guest_id": ana}
    one, two = [await client.call("POST", "/bookings/groups", group, key="group") for _ in range(2)]
    assert (one.status, two.text) == (201, one.text)


async def test_a_stay_sold_twice_by_an_ota_closes_its_nights_and_is_confirmed_when_the_first_is_cancelled(
    client: Client,
) -> None:
    """Nights 10 to 12 are sold, the OTA sends 11 to 15: 12 to 14 is refused; the first cancelled, 11 to 15 is kept."""
    house = await client.house()
    first = await client.booked(house, 10, 12)
    await client.ota_sends(house, "X", 1, 11, 15)
    refused = await client.book(house, 12, 14)
    assert (refused.status, refused.body["conflict"]["kind"]) == (409, "conflict")
    assert (await client.call("POST", f"/bookings/{first}/cancel")).status == 200
    (kept,) = (await client.call("GET", f"/bookings?property_id={house}&source=ota")).body["items"]
    assert (kept["status"], kept["check_in"], kept["check_out"]) == ("confirmed", str(night(11)), str(night(15)))
    assert (await client.call("GET", "/channel-conflicts?state=open")).body["items"] == []


async def test_each_409_leaves_a_line_that_names_constraint_property_dates_and_status(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    house = await client.house()
    await client.booked(house, 0, 3)
    capfd.readouterr()
    assert (await client.book(house, 1, 2)).status == 409
    written = capfd.readouterr()
    lines = [line for line in (written.out + written.err).splitlines() if "nights refused" in line]
    assert len(lines) == 1
    for word in ("inventory_ranges_no_overlap", house, str(night(1)), str(night(2)), "confirmed", "reservation"):
        assert word in lines[0]


async def test_cancelled_nights_are_booked_again_at_once(client: Client) -> None:
    house = await client.house()
    for _ in range(3):
        own = await client.booked(house, 0, 3)
        assert (await client.book(house, 1, 2)).status == 409
        assert (await client.call("POST", f"/bookings/{own}/cancel")).status == 200
