"""Proves how a property is sold on a real PostgreSQL: rules and rates decide every direct stay, at their version."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.errors import DatesUnavailable, NotFound, PriceChanged, StayRulesViolated, TermsRefused
from booking.domain.model import Property, PropertyTerms
from booking.domain.terms import DatedValue
from booking.events import snapshot
from booking.repository.reads import select_now
from booking.service import channel, modifying, properties, reservations, selling, transitions
from booking.service.modifying import Patch
from booking.service.terms import TermsCache
from contracts.values import LengthOfStayDiscount as DiscountSection
from rules.quotes import Fees, LengthOfStayDiscount, Quote, Rates
from rules.stay_rules import RequestedStay, StayRule, StayRules
from runtime.idempotency import StoredAnswer
from runtime.postgres import transaction
from tests.booking.checks import events_by_version, outbox_of, revision_of
from tests.booking.conftest import Ledger, night

pytestmark = pytest.mark.stack

NO_FEES = Fees()


async def priced(ledger: Ledger, agency: UUID, rate_minor: int = 10_000) -> UUID:
    house = await ledger.new_property(agency)
    await selling.put_rates(ledger.api, agency, house, Rates(rate_minor), NO_FEES, [])
    return house


def draft(house: UUID, first: int, last: int, expected: int | None = None) -> BookingDraft:
    guest = GuestDraft(name="Guest", email="guest@example.com")
    return BookingDraft(house, night(first), night(last), 2, 0, 0, "confirmed", None, guest, None, expected)


async def quoted(ledger: Ledger, agency: UUID, house: UUID, stay: RequestedStay) -> tuple[Property, Quote | None]:
    async with transaction(ledger.api.pool, agency) as connection:
        now = await select_now(connection)
        return await selling.quote_stay(ledger.api, connection, agency, house, stay, now)


def body_of(answer: StoredAnswer) -> Any:
    return json.loads(answer.body)


async def test_a_stay_costs_what_its_nights_cost(ledger: Ledger) -> None:
    agency = uuid4()
    house = await priced(ledger, agency)
    await selling.lay_rates(ledger.api, agency, house, [DatedValue(night(1), night(2), 25_000)])
    made = body_of(await ledger.book(agency, house, 0, 3))
    assert (made["total_amount_minor"], made["currency"]) == (45_000, "EUR")
    stay = RequestedStay(night(10), night(12), 2)
    owner, found = await quoted(ledger, agency, house, stay)
    assert found is not None
    assert (found.total_minor, [each.rate_minor for each in found.nights]) == (20_000, [10_000, 10_000])
    assert owner.rules_version == 3


async def test_an_unpriced_property_is_sold_without_an_amount(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    assert body_of(await ledger.book(agency, house, 0, 3))["total_amount_minor"] is None
    _, found = await quoted(ledger, agency, house, RequestedStay(night(5), night(6), 2))
    assert found is None


async def test_another_price_than_expected_is_refused_and_takes_no_night(ledger: Ledger) -> None:
    agency = uuid4()
    house = await priced(ledger, agency)
    with pytest.raises(PriceChanged, match="costs 30000"):
        await reservations.book(ledger.api, agency, draft(house, 0, 3, expected=29_999), None)
    assert isinstance(await reservations.book(ledger.api, agency, draft(house, 0, 3, 30_000), None), StoredAnswer)


async def test_every_broken_rule_is_told_at_once(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    rule = StayRule(min_stay_arrival=3, closed_to_departure=True)
    await selling.put_stay_rules(ledger.api, agency, house, StayRules(rule), [])
    await selling.lay_rates(ledger.api, agency, house, [DatedValue(night(0), night(1), 9_000)])
    with pytest.raises(StayRulesViolated) as refusal:
        await ledger.book(agency, house, 0, 2)
    assert [(broken.code, broken.date) for broken in refusal.value.violations] == [
        ("min_stay_arrival", night(0)),
        ("no_rate", night(1)),
        ("closed_to_departure", night(2)),
    ]


async def test_an_ota_stay_skips_the_rules_and_keeps_its_own_price(ledger: Ledger) -> None:
    agency = uuid4()
    house = await priced(ledger, agency)
    await selling.put_stay_rules(ledger.api, agency, house, StayRules(StayRule(stop_sell=True)), [])
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 0, 3))
    with pytest.raises(DatesUnavailable):
        await ledger.block(agency, house, 0, 1)


async def test_a_change_of_dates_is_judged_and_priced_anew(ledger: Ledger) -> None:
    agency = uuid4()
    house = await priced(ledger, agency)
    made = UUID(body_of(await ledger.book(agency, house, 0, 3))["id"])
    changed = await modifying.modify(ledger.api, agency, made, Patch(check_out=night(5)))
    assert changed.total_amount_minor == 50_000
    await selling.put_stay_rules(ledger.api, agency, house, StayRules(StayRule(min_stay_arrival=4)), [])
    with pytest.raises(StayRulesViolated):
        await modifying.modify(ledger.api, agency, made, Patch(check_out=night(2)))
    noted = await modifying.modify(ledger.api, agency, made, Patch(notes="late", sets_notes=True))
    assert (noted.notes, noted.total_amount_minor) == ("late", 50_000)


async def test_confirming_an_inquiry_is_judged_and_priced_like_a_new_booking(ledger: Ledger) -> None:
    agency = uuid4()
    house = await priced(ledger, agency)
    asked = UUID(body_of(await ledger.book(agency, house, 0, 3, status="inquiry"))["id"])
    await selling.put_rates(ledger.api, agency, house, Rates(20_000), NO_FEES, [])
    assert (await transitions.confirm(ledger.api, agency, asked)).total_amount_minor == 60_000
    other = UUID(body_of(await ledger.book(agency, house, 5, 6, status="inquiry"))["id"])
    await selling.put_stay_rules(ledger.api, agency, house, StayRules(StayRule(stop_sell=True)), [])
    with pytest.raises(StayRulesViolated):
        await transitions.confirm(ledger.api, agency, other)


async def test_a_price_that_moves_while_bookings_go_on_is_never_the_old_one(ledger: Ledger) -> None:
    """Each process keeps parsed terms: the write refuses what was judged by older ones."""
    agency = uuid4()
    house = await priced(ledger, agency)
    processes = [replace(ledger.api, terms=TermsCache()) for _ in range(2)]
    await reservations.book(processes[0], agency, draft(house, 0, 1), None)
    await selling.put_rates(processes[1], agency, house, Rates(30_000), NO_FEES, [])
    made = body_of(await reservations.book(processes[0], agency, draft(house, 1, 2), None))
    assert made["total_amount_minor"] == 30_000
    work: list[Any] = []
    for n in range(12):
        work.append(reservations.book(processes[n % 2], agency, draft(house, 10 + n, 11 + n), None))
        if n % 4 == 0:
            rates = Rates(40_000 + n)
            work.append(selling.put_rates(processes[(n + 1) % 2], agency, house, rates, NO_FEES, []))
    await asyncio.gather(*work)
    prices: dict[int, int] = {}
    for row in await outbox_of(ledger, house):
        if row["type"] == "PropertyChanged":
            prices[row["version"]] = row["data"]["rates"]["default_minor"]
        if row["type"] == "ReservationConfirmed":
            assert row["data"]["total_amount_minor"] == prices[max(prices)]


async def test_bulk_items_are_applied_or_refused_one_by_one(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    items = [
        DatedValue(night(0), night(10), 100),
        DatedValue(night(5), night(5), 200),
        DatedValue(night(5), night(6), 300),
        DatedValue(night(0), night(2), None),
    ]
    (_, terms), refusals = await selling.lay_rates(ledger.api, agency, house, items)
    assert [refusal is None for refusal in refusals] == [True, False, True, True]
    assert [(entry.start_date, entry.end_date, entry.rate_minor) for entry in terms.rates.dated] == [
        (night(2), night(5), 100),
        (night(5), night(6), 300),
        (night(6), night(10), 100),
    ]
    many = [DatedValue(night(2 * n), night(2 * n + 1), n) for n in range(801)]
    (_, terms), refusals = await selling.lay_rates(ledger.api, agency, house, many)
    assert len(terms.rates.dated) == 800
    assert any(refusals)
    with pytest.raises(TermsRefused):
        await selling.put_rates(ledger.api, agency, house, Rates(), NO_FEES, many)


async def test_only_a_real_change_takes_a_version_and_tells_the_changed_section_whole(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    fees = Fees(5_000, 1_000, 2, (LengthOfStayDiscount(7, 1_000),))
    for _ in range(2):
        await selling.put_rates(ledger.api, agency, house, Rates(10_000, {5: 12_000}), fees, [])
        await selling.put_stay_rules(ledger.api, agency, house, StayRules(StayRule(max_stay=30)), [])
        assert (await selling.modify(ledger.api, agency, house, {"name": "Casa Nova"})).name == "Casa Nova"
    assert await events_by_version(ledger, house) == ["PropertyCreated", *["PropertyChanged"] * 3]
    changed = [row["data"] for row in (await outbox_of(ledger, house))[1:]]
    assert changed[0]["rates"]["length_of_stay_discounts"] == [{"min_nights": 7, "basis_points": 1_000}]
    assert (changed[0]["profile"], changed[1]["rates"], changed[2]["profile"]["name"]) == (None, None, "Casa Nova")
    assert [data["rules_version"] for data in changed] == [2, 3, 4]
    found = await properties.state(ledger.system, house)
    assert found.terms == PropertyTerms(StayRules(StayRule(max_stay=30)), Rates(10_000, {5: 12_000}), fees)
    whole = snapshot(found.owner, found.terms, found.ranges)
    assert whole.rates.length_of_stay_discounts == [DiscountSection(min_nights=7, basis_points=1_000)]


async def test_another_agencys_property_is_not_there(ledger: Ledger) -> None:
    stranger = uuid4()
    house = await priced(ledger, uuid4())
    stay = RequestedStay(night(0), night(2), 2)
    for attempt in (
        selling.get(ledger.api, stranger, house),
        selling.modify(ledger.api, stranger, house, {"name": "Mine"}),
        selling.lay_rates(ledger.api, stranger, house, [DatedValue(night(0), night(1), 1)]),
        quoted(ledger, stranger, house, stay),
    ):
        with pytest.raises(NotFound):
            await attempt
