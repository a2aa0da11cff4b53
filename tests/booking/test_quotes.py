"""Proves quotes over HTTP on a real PostgreSQL: a price told once, fixed by a hold, otherwise good for now alone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from booking.domain import quotes
from booking.service.retention import retention_step
from tests.booking.conftest import Ledger, night
from tests.booking.served import Answer, Served, served_booking
from tests.clock import clock_ahead
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

TWO = {"adults": 2, "children": 0, "infants": 0}


@dataclass(frozen=True)
class House:
    """A property at 100.00 EUR a night, and requests of its agency."""

    served: Served
    agency_id: UUID
    id: str

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.served.call(method, path, body, agency_id=self.agency_id, headers=headers)

    async def costs(self, default_minor: int | None, **more: Any) -> None:
        body = {"default_minor": default_minor, **more}
        assert (await self.call("PUT", f"/properties/{self.id}/rates", body)).status == 200

    async def quote(self, first: int = 0, last: int = 3, **more: Any) -> Answer:
        return await self.call("POST", "/quotes", self.stay(first, last, **more))

    async def quote_id(self, first: int = 0, last: int = 3, **more: Any) -> str:
        answer = await self.quote(first, last, **more)
        assert answer.status == 201, answer
        return str(answer.body["quote_id"])

    async def hold(self, first: int = 0, last: int = 3, seconds: int = 900) -> str:
        dates = {"check_in": str(night(first)), "check_out": str(night(last))}
        made = await self.call("POST", "/holds", {"property_id": self.id, **dates, "expires_in_s": seconds})
        assert made.status == 201, made
        return str(made.body["id"])

    async def book(self, first: int = 0, last: int = 3, **more: Any) -> Answer:
        guest = {"name": "Guest", "email": "guest@example.com"}
        return await self.call("POST", "/bookings", self.stay(first, last, guest=guest, **more))

    async def bookings(self) -> int:
        return len((await self.call("GET", "/bookings")).body["items"])

    def stay(self, first: int, last: int, **more: Any) -> dict[str, Any]:
        dates = {"check_in": str(night(first)), "check_out": str(night(last))}
        return {"property_id": self.id, **dates, "occupancy": TWO, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    async with served_booking(ledger, provisioned) as made:
        yield made


async def new_house(served: Served, agency_id: UUID) -> House:
    house = House(served, agency_id, str(await served.ledger.new_property(agency_id)))
    await house.costs(10_000)
    return house


@pytest_asyncio.fixture(loop_scope="session")
async def house(served: Served) -> House:
    return await new_house(served, uuid4())


def assert_problem(answer: Answer, status: int, code: str) -> Any:
    assert (answer.status, answer.media_type) == (status, "application/problem+json"), answer
    assert answer.body["code"] == code
    return answer.body


def without_trace(answer: Answer) -> Any:
    return {name: value for name, value in answer.body.items() if name != "trace_id"}


async def test_a_quote_has_an_id_every_night_and_an_end(house: House) -> None:
    answer = await house.quote(0, 2)
    assert answer.status == 201
    body = answer.body
    assert body["id"] == body["quote_id"]
    assert body["nights"] == [{"date": str(night(n)), "rate_minor": 10_000} for n in (0, 1)]
    assert (body["total_minor"], body["currency"], body["occupancy"]) == (20_000, "EUR", TWO)
    assert body["expires_at"] > body["created_at"]
    assert "hold_id" not in body


async def test_a_price_pinned_to_a_hold_is_honoured_though_rates_rise(house: House) -> None:
    hold = await house.hold()
    quote = await house.quote_id(hold_id=hold)
    await house.costs(99_000)
    booked = await house.book(hold_id=hold, quote_id=quote)
    assert (booked.status, booked.body["total_amount_minor"]) == (201, 30_000)
    spent = await house.call("GET", f"/guests/{booked.body['guest_id']}")
    assert spent.body["total_spent"] == {"EUR": 30_000}


async def test_a_pinned_price_lives_as_long_as_its_hold_is_extended(house: House) -> None:
    hold = await house.hold(seconds=60)
    quote = await house.quote_id(hold_id=hold)
    assert (await house.call("PATCH", f"/holds/{hold}", {"expires_in_s": 7200})).status == 200
    await house.costs(99_000)
    async with clock_ahead(house.served.ledger.owner_dsn, timedelta(minutes=90)):
        await retention_step(house.served.ledger.system)
        booked = await house.book(hold_id=hold, quote_id=quote)
    assert (booked.status, booked.body["total_amount_minor"]) == (201, 30_000)


async def test_a_pinned_price_is_worth_nothing_once_its_hold_is_over(house: House) -> None:
    hold = await house.hold(seconds=60)
    quote = await house.quote_id(hold_id=hold)
    async with clock_ahead(house.served.ledger.owner_dsn, timedelta(minutes=2)):
        assert_problem(await house.book(hold_id=hold, quote_id=quote), 409, "hold_not_active")
        assert_problem(await house.quote(hold_id=hold), 409, "hold_not_active")
    assert await house.bookings() == 0


async def test_a_pinned_price_holds_in_its_currency_though_rates_and_currency_are_gone(house: House) -> None:
    hold = await house.hold()
    quote = await house.quote_id(hold_id=hold)
    only_later = {"start_date": str(night(20)), "end_date": str(night(30)), "rate_minor": 1}
    await house.costs(None, dated=[only_later])
    assert (await house.call("PATCH", f"/properties/{house.id}", {"currency": "USD"})).status == 200
    assert_problem(await house.book(hold_id=hold), 422, "stay_rules_violated")
    booked = await house.book(hold_id=hold, quote_id=quote)
    assert booked.status == 201, booked
    assert (booked.body["total_amount_minor"], booked.body["currency"]) == (30_000, "EUR")


async def test_a_pinned_price_fixes_no_other_rule(house: House) -> None:
    hold = await house.hold()
    quote = await house.quote_id(hold_id=hold)
    rules = {"default": {"stop_sell": True}}
    assert (await house.call("PUT", f"/properties/{house.id}/stay-rules", rules)).status == 200
    refused = assert_problem(await house.book(hold_id=hold, quote_id=quote), 422, "stay_rules_violated")
    assert {violation["code"] for violation in refused["violations"]} == {"stop_sell"}


async def test_a_pinned_price_must_be_what_the_client_expects(house: House) -> None:
    hold = await house.hold()
    quote = await house.quote_id(hold_id=hold)
    refused = await house.book(hold_id=hold, quote_id=quote, expected_total_minor=29_999)
    assert assert_problem(refused, 409, "price_changed")["total_amount_minor"] == 30_000
    assert (await house.book(hold_id=hold, quote_id=quote, expected_total_minor=30_000)).status == 201


async def test_a_quote_without_a_hold_is_refused_at_another_price_and_takes_no_night(house: House) -> None:
    quote = await house.quote_id()
    await house.costs(10_001)
    refused = await house.book(quote_id=quote)
    assert assert_problem(refused, 409, "price_changed")["total_amount_minor"] == 30_003
    assert await house.bookings() == 0
    await house.costs(10_000)
    booked = await house.book(quote_id=quote)
    assert (booked.status, booked.body["total_amount_minor"]) == (201, 30_000)


async def test_the_same_number_in_another_currency_is_another_price(house: House) -> None:
    quote = await house.quote_id()
    assert (await house.call("PATCH", f"/properties/{house.id}", {"currency": "JPY"})).status == 200
    assert_problem(await house.book(quote_id=quote), 409, "price_changed")


async def test_a_quote_of_an_unpriced_property_is_refused_once_it_has_a_price(served: Served) -> None:
    agency = uuid4()
    plain = House(served, agency, str(await served.ledger.new_property(agency)))
    quote = await plain.quote_id()
    assert (await plain.book(5, 6, quote_id=await plain.quote_id(5, 6))).body["total_amount_minor"] is None
    await plain.costs(10_000)
    assert_problem(await plain.book(quote_id=quote), 409, "price_changed")


async def test_a_quote_runs_out_and_is_forgotten_later(house: House) -> None:
    quote = await house.quote_id()
    missing = await house.book(quote_id=str(uuid4()))
    assert_problem(missing, 404, "not_found")
    async with clock_ahead(house.served.ledger.owner_dsn, quotes.LIFE):
        assert_problem(await house.book(quote_id=quote), 409, "quote_expired")
    async with clock_ahead(house.served.ledger.owner_dsn, quotes.LIFE + timedelta(hours=2)):
        while (await retention_step(house.served.ledger.system)).quotes:
            pass
        assert without_trace(await house.book(quote_id=quote)) == without_trace(missing)


async def test_another_agencys_quote_is_not_there(served: Served, house: House) -> None:
    stranger = await new_house(served, uuid4())
    quote = await house.quote_id()
    foreign = await stranger.book(quote_id=quote)
    assert_problem(foreign, 404, "not_found")
    assert without_trace(foreign) == without_trace(await stranger.book(quote_id=str(uuid4())))
    hold = await house.hold()
    assert without_trace(await stranger.quote(hold_id=hold)) == without_trace(
        await stranger.quote(hold_id=str(uuid4()))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"check_in": str(night(1))},
        {"check_out": str(night(4))},
        {"occupancy": {"adults": 1}},
        {"occupancy": {"adults": 2, "infants": 1}},
    ],
    ids=["arrival", "departure", "adults", "infants"],
)
async def test_a_quote_of_another_stay_is_refused_by_name(house: House, change: dict[str, Any]) -> None:
    body = {**house.stay(0, 3), "guest": {"name": "Guest", "email": "guest@example.com"}, **change}
    refused = await house.call("POST", "/bookings", {**body, "quote_id": await house.quote_id()})
    found = assert_problem(refused, 422, "validation_error")
    assert [error["field"] for error in found["errors"]] == ["body.quote_id"]
    assert await house.bookings() == 0


async def test_a_quote_of_another_property_is_refused_by_name(served: Served, house: House) -> None:
    other = await new_house(served, house.agency_id)
    refused = assert_problem(await other.book(quote_id=await house.quote_id()), 422, "validation_error")
    assert refused["errors"][0]["field"] == "body.quote_id"


async def test_a_pinned_quote_needs_its_own_hold(house: House) -> None:
    pinned = await house.quote_id(hold_id=await house.hold())
    for hold in (None, await house.hold(5, 8)):
        refused = assert_problem(await house.book(quote_id=pinned, hold_id=hold), 422, "validation_error")
        assert refused["errors"][0]["field"] == "body.quote_id"


async def test_a_price_is_fixed_for_held_nights_only(served: Served, house: House) -> None:
    hold = await house.hold(0, 3)
    for first, last in ((0, 4), (10, 12)):
        refused = assert_problem(await house.quote(first, last, hold_id=hold), 422, "validation_error")
        assert refused["errors"][0]["field"] == "body.hold_id"
    other = await new_house(served, house.agency_id)
    assert_problem(await other.quote(hold_id=hold), 404, "not_found")
    quote = await house.quote_id(1, 3, hold_id=hold)
    assert (await house.book(1, 3, hold_id=hold, quote_id=quote)).body["total_amount_minor"] == 20_000


async def test_a_group_books_each_stay_at_its_quote(house: House) -> None:
    hold = await house.hold()
    pinned = await house.quote_id(hold_id=hold)
    open_quote = await house.quote_id(5, 6)
    stays = [house.stay(0, 3, hold_id=hold, quote_id=pinned), house.stay(5, 6, quote_id=open_quote)]
    guest = {"name": "Guest", "email": "guest@example.com"}
    await house.costs(10_001)
    assert_problem(await house.call("POST", "/bookings/groups", {"stays": stays, "guest": guest}), 409, "price_changed")
    assert await house.bookings() == 0
    del stays[1]["quote_id"]
    made = await house.call("POST", "/bookings/groups", {"stays": stays, "guest": guest})
    assert [booking["total_amount_minor"] for booking in made.body["bookings"]] == [30_000, 10_001]


async def test_a_quote_asked_for_again_under_its_key_is_the_same_to_the_byte(house: House) -> None:
    key = {"Idempotency-Key": "quote"}
    first = await house.call("POST", "/quotes", house.stay(0, 3), **key)
    await house.costs(99_000)
    again = await house.call("POST", "/quotes", house.stay(0, 3), **key)
    headers = {name.lower(): value for name, value in again.headers.items()}
    assert (again.text, headers.get("idempotent-replayed")) == (first.text, "true")
    assert_problem(await house.call("POST", "/quotes", house.stay(0, 2), **key), 422, "idempotency_mismatch")
    count = "SELECT count(*) FROM quotes WHERE property_id = $1"
    assert await house.served.ledger.system.pool.fetchval(count, UUID(house.id)) == 1


async def test_a_stay_that_breaks_a_rule_gets_no_quote(house: House) -> None:
    refused = await house.quote(0, 3, occupancy={"adults": 9})
    assert_problem(refused, 422, "stay_rules_violated")


async def test_an_expected_total_guards_the_price_over_http(house: House) -> None:
    refused = await house.book(expected_total_minor=1)
    assert assert_problem(refused, 409, "price_changed")["total_amount_minor"] == 30_000
    assert await house.bookings() == 0
    assert (await house.book(expected_total_minor=30_000)).status == 201


async def test_a_property_has_so_many_quotes_at_a_time_and_no_more(
    served: Served, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotes, "MAX_LIVE", 3)
    for _ in range(3):
        await house.quote_id()
    refused = await house.quote()
    assert_problem(refused, 429, "too_many_requests")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await (await new_house(served, house.agency_id)).quote()).status == 201
    async with clock_ahead(served.ledger.owner_dsn, quotes.LIFE):
        assert (await house.quote()).status == 201


async def test_a_booking_that_names_no_quote_never_looks_at_quotes(house: House) -> None:
    quote = await house.quote_id(5, 6)
    async with house.served.ledger.owner() as owner:
        await owner.execute("REVOKE SELECT ON quotes FROM booking_app")
        try:
            plain = await house.book()
            naming = await house.book(5, 6, quote_id=quote)
        finally:
            await owner.execute("GRANT SELECT ON quotes TO booking_app")
    assert (plain.status, naming.status) == (201, 500)


async def test_retention_purges_what_ran_out_and_keeps_what_is_pinned_to_a_living_hold(house: House) -> None:
    hold = await house.hold(seconds=7200)
    kept, purged = await house.quote_id(hold_id=hold), await house.quote_id(5, 6)
    async with clock_ahead(house.served.ledger.owner_dsn, timedelta(minutes=90)):
        assert (await house.call("PATCH", f"/holds/{hold}", {"expires_in_s": 86_400})).status == 200
    async with clock_ahead(house.served.ledger.owner_dsn, timedelta(hours=5)):
        while (await retention_step(house.served.ledger.system)).quotes:
            pass
    stored = await house.served.ledger.system.pool.fetch(
        "SELECT id FROM quotes WHERE id = ANY ($1::uuid[])", [UUID(kept), UUID(purged)]
    )
    assert [str(row["id"]) for row in stored] == [kept]


async def test_the_api_sees_no_quote_of_another_agency_and_can_change_none(house: House) -> None:
    quote = UUID(await house.quote_id())
    pool = house.served.ledger.api.pool
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.agency_id', $1, true)", str(uuid4()))
        assert await connection.fetchval("SELECT count(*) FROM quotes WHERE id = $1", quote) == 0
    async with pool.acquire() as connection:
        for privilege in ("UPDATE", "DELETE"):
            assert not await connection.fetchval("SELECT has_table_privilege('quotes', $1)", privilege)
