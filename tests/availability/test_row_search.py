"""Proves that searches over columns offer what checking and pricing every stay by itself offers, in the same order."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

import pytest

from availability.domain.search.row_search import Found, search_rows
from availability.domain.search.search import Offer, Search, Sort, offer_of
from availability.domain.selling import prepared_stays
from availability.domain.store.property_store import PART_ROWS, PropertyStore
from rules.quotes import Fees, Rates
from rules.stay_rules import StayRules, TimeZoneUnknown
from tests.availability.search_model import (
    AMENITIES,
    DAY,
    NOW,
    NOWHERE,
    OWN,
    TODAY,
    Fixed,
    Generated,
    Told,
    drawn,
    generated,
    slowly,
)

CODES = {
    "inactive", "max_occupancy", "past", "lead_time", "booking_window", "closed_to_arrival", "closed_to_departure",
    "min_stay_arrival", "min_stay_through", "max_stay", "stop_sell", "no_rate", "inventory_overlap", "bookable",
}  # fmt: skip


def told(offer: Offer) -> Told:
    check_in = date.fromordinal(offer.check_in)
    return (UUID(int=offer.number), check_in, offer.total_minor, offer.currency, offer.metres, offer.version)


def page(made: Generated, search: Search, *, is_prepared: bool = True) -> tuple[list[Offer], Found]:
    """The first offers, as the service puts them together; without what is remembered of stays unless prepared."""
    rows = made.store.rows_of(OWN)
    for _ in range(2):  # what is asked for again is prepared
        found = search_rows(made.store, rows if is_prepared else rows.copy(), search, NOW)
    alone = [
        offer_of(made.store.property_id(row), made.store.state(row, search.first, search.end), search, NOW)
        for row in found.alone
    ]
    offers = sorted([*found.offers, *filter(None, alone)])
    return offers[: search.limit + 1], found


def all_pages(made: Generated, search: Search, *, is_prepared: bool = True) -> list[Offer]:
    """The offers of every page, each page behind the last offer of the one before."""
    offers: list[Offer] = []
    while True:
        found, _ = page(made, search, is_prepared=is_prepared)
        offers += found[: search.limit]
        if len(found) <= search.limit:
            return offers
        search = replace(search, after=offers[-1].position)


@pytest.mark.parametrize("seed", range(6))
def test_every_page_together_is_what_single_checks_and_quotes_say(seed: int) -> None:
    chance = random.Random(seed)
    made, offered, one_by_one = generated(chance, 400), 0, 0
    for _ in range(24):
        search = drawn(chance)
        expected = slowly(made, search)
        for is_prepared in (False, True):
            assert [told(offer) for offer in all_pages(made, search, is_prepared=is_prepared)] == expected, search
        offered += len(expected)
        one_by_one += len(page(made, search)[1].alone)
    assert set(made.codes) == CODES
    assert min(made.codes.values()) >= 10
    assert offered > 200
    assert one_by_one > 20


@pytest.mark.parametrize("seed", range(4))
def test_the_judgement_of_one_property_is_that_of_the_columns(seed: int) -> None:
    chance = random.Random(seed)
    made = generated(chance, 150)
    for _ in range(20):
        search = replace(drawn(chance), limit=10_000)
        singly = []
        for place in made.places:
            if place.is_parked or place.state.agency_id != OWN or place.state.profile.conditions.time_zone == NOWHERE:
                continue
            singly.append(offer_of(place.id, place.state, search, NOW))
        offers = sorted(filter(None, singly))
        assert [told(offer) for offer in offers] == slowly(made, search), search


@pytest.mark.parametrize("rates", [Rates(), Rates(9_000)], ids=["unpriced", "one price"])
def test_offers_that_are_all_equal_come_in_the_order_of_their_ids(rates: Rates) -> None:
    made = generated(random.Random(3), 1_500, Fixed(rates, Fees(), StayRules()))
    search = Search(TODAY + DAY * 20, TODAY + DAY * 20, 1, 1, currency="EUR", limit=7)
    expected = slowly(made, search)
    assert len(expected) > 200
    for is_prepared in (False, True):
        assert [told(offer) for offer in all_pages(made, search, is_prepared=is_prepared)] == expected


def test_what_changes_meanwhile_moves_nobody_else_to_another_page() -> None:
    made = generated(random.Random(5), 400)
    search = Search(TODAY + DAY * 9, TODAY + DAY * 9, 1, 1, limit=5)
    everything = [told(offer) for offer in all_pages(made, search)]
    first, _ = page(made, search)
    for offer in first[:3]:  # who was shown is booked by somebody
        made.store.remove(UUID(int=offer.number))
    rest = all_pages(made, replace(search, after=first[4].position))
    assert [told(offer) for offer in [*first[:5], *rest]] == everything


def test_a_property_whose_time_zone_nobody_knows_is_counted_and_harms_no_other() -> None:
    made = generated(random.Random(1), 300)
    search = Search(TODAY + DAY * 5, TODAY + DAY * 5, 2, 2)
    nowhere = [
        place.id
        for place in made.places
        if place.state.profile.conditions.time_zone == NOWHERE and place.state.agency_id == OWN
        if not (place.is_parked or place.state.is_gone)
    ]
    everything = search_rows(made.store, made.store.rows_of(OWN), replace(search, last=search.first + DAY), NOW)
    assert everything.unknown == len(nowhere) > 0
    assert page(made, search)[0]
    (state,) = [place.state for place in made.places if place.id == nowhere[0]]
    with pytest.raises(TimeZoneUnknown):
        offer_of(nowhere[0], replace(state, ranges=type(state.ranges)()), search, NOW)


@pytest.mark.parametrize(("ahead", "is_judged"), [(-30, True), (790, True), (1_500, True), (700, False)])
def test_nights_without_bits_are_unknown_unless_no_conditions_sell_them(ahead: int, is_judged: bool) -> None:
    made = generated(random.Random(2), 100)
    first = TODAY + DAY * ahead
    made.store.taken._end = (TODAY + DAY * 600).toordinal()  # as while the window rolls
    found = search_rows(made.store, made.store.rows_of(OWN), Search(first, first, 1, 1), NOW)
    assert found.offers == []
    nowhere = sum(made.store.state(row).profile.conditions.time_zone == NOWHERE for row in made.store.rows_of(OWN))
    assert (found.unknown == nowhere) is is_judged


def test_an_empty_agency_and_an_unknown_currency_have_no_offers() -> None:
    made = generated(random.Random(2), 100)
    search = Search(TODAY + DAY * 9, TODAY + DAY * 12, 1, 1)
    assert search_rows(made.store, made.store.rows_of(UUID(int=99)), search, NOW) == Found([], [], 0)
    assert page(made, replace(search, currency="CHF"))[0] == []
    assert page(made, replace(search, last=search.first, currency="CHF"))[0] == []


def test_amenities_are_found_also_after_sets_came_and_went() -> None:
    made = generated(random.Random(4), 120)
    search = Search(TODAY + DAY * 9, TODAY + DAY * 20, 1, 1, amenities=frozenset(AMENITIES[:1]), limit=500)
    assert [told(offer) for offer in page(made, search)[0]] == slowly(made, search)
    for number, place in enumerate(made.places):
        profile = replace(place.state.profile, amenities=frozenset({AMENITIES[number % 4], f"view {number}"}))
        place.state, place.is_parked = replace(place.state, profile=profile), False
        made.store.put(place.id, 0, place.state)
    assert [told(offer) for offer in page(made, search)[0]] == slowly(made, search)
    named = replace(search, amenities=frozenset({"view 0", AMENITIES[0]}))
    assert [told(offer) for offer in page(made, named)[0]] == slowly(made, named)


def test_a_hold_counts_until_its_time_is_over_and_not_after() -> None:
    made = generated(random.Random(6), 400)
    search = Search(TODAY + DAY * 9, TODAY + DAY * 9, 2, 1, limit=1_000)
    offered = Counter(told(offer) for offer in page(made, search)[0])
    later = search_rows(made.store, made.store.rows_of(OWN), search, NOW + timedelta(seconds=2))
    assert len(later.alone) > len(page(made, search)[1].alone)
    assert sum(offered.values()) == len(slowly(made, search))


@pytest.mark.parametrize("sort", list(Sort))
def test_offers_are_in_order_of_their_positions(sort: Sort) -> None:
    made = generated(random.Random(8), 300)
    search = Search(TODAY + DAY * 3, TODAY + DAY * 9, 2, 2, place=(38.7, -9.1), sort=sort, limit=40)
    positions = [offer.position for offer in page(made, search)[0]]
    assert len(positions) > 20
    assert positions == sorted(set(positions))


def test_a_store_that_was_saved_and_loaded_is_searched_like_before() -> None:
    chance = random.Random(9)
    made, loaded = generated(chance, 400), PropertyStore(TODAY - DAY * 2)
    for place in made.places:
        row = made.store.find(place.id)
        if place.is_parked and row is not None:  # a file leaves it out
            made.store.remove(place.id)
    for start in range(0, made.store.row_count, PART_ROWS):
        loaded.load(made.store.dump(start, ()))
    loaded.loaded()
    for _ in range(30):
        search = drawn(chance)
        before = [told(offer) for offer in all_pages(made, search)]
        assert [told(offer) for offer in all_pages(Generated(loaded, made.places), search)] == before


@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_of_stays_follows_every_change(seed: int) -> None:
    chance = random.Random(seed)
    made, others = generated(chance, 60), generated(chance, 60).places
    searches = [Search(TODAY + DAY * at, TODAY + DAY * at, 2, 2, limit=100) for at in (4, 9, 15)]
    changed = 0
    for _ in range(120):
        place, other = chance.choice(made.places), chance.choice(others)
        match chance.randrange(5):
            case 0:  # all of it, the agency included
                place.state, place.is_parked = other.state, False
            case 1:
                place.state, place.is_parked = replace(place.state, pricing=other.state.pricing), False
            case 2:
                place.state, place.is_parked = replace(place.state, ranges=other.state.ranges, version=99), False
            case 3:
                place.state, place.is_parked = replace(place.state, is_gone=not place.state.is_gone), False
            case _:
                place.is_parked = not place.is_parked
        row = made.store.put(place.id, 0, place.state)
        made.store.park(row, is_parked=place.is_parked)
        search = chance.choice(searches)
        before = made.store._prepared.nbytes
        assert [told(offer) for offer in page(made, search)[0]] == slowly(made, search)
        changed += made.store._prepared.nbytes > before
    assert 0 < changed < 120


def test_stays_are_forgotten_when_they_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generated(random.Random(7), 200)
    monkeypatch.setattr(prepared_stays, "MOST_BYTES", 4_000)
    for _ in range(2):
        for at in range(20):
            search = Search(TODAY + DAY * at, TODAY + DAY * at, 1, 1, limit=500)
            assert [told(offer) for offer in page(made, search)[0]] == slowly(made, search)
            assert made.store._prepared.nbytes <= 4_000
    assert len(made.store._prepared._known) >= 2
    made.store.remove(made.places[0].id)
    for place in made.places:
        made.store.remove(place.id)
    assert (made.store._prepared.nbytes, dict(made.store._prepared._of_agency)) == (0, {})
