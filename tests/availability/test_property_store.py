"""Proves the packed store against plain states: what is put comes out, changes apply alike, bits and ranges agree."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from uuid import UUID

import numpy as np
import pytest

from availability.domain.packed_ranges import NO_RANGES
from availability.domain.property_calendar import CalendarState, Delta, Profile
from availability.domain.store.property_store import PropertyStore
from availability.domain.store.range_table import RangeMissing
from rules.calendar import StoredRange, is_open, open_bits
from rules.stay_rules import SellingConditions
from tests.availability.making import DAY, NOW, TODAY, WINDOW, make_state, stored
from tests.availability.packing import packed


def without_ids(ranges: Iterable[StoredRange]) -> set[StoredRange]:
    """Ranges as far as the store promises them: ids are kept of what expires only."""
    nil = UUID(int=0)
    return {
        found if found.expires_at or found.kind == "hold" else replace(found, range_id=nil, source_id=nil)
        for found in ranges
    }


def assert_is(store: PropertyStore, row: int, wanted: CalendarState) -> None:
    found = store.state(row)
    assert replace(found, ranges=NO_RANGES) == replace(wanted, ranges=NO_RANGES)
    assert without_ids(found.ranges.stored) == without_ids(wanted.ranges.stored)


@dataclass
class Model:
    """What the store must hold: states by id."""

    states: dict[UUID, CalendarState] = field(default_factory=dict)

    def assert_same(self, store: PropertyStore) -> None:
        assert len(store) == len(self.states)
        for property_id, wanted in self.states.items():
            row = store.find(property_id)
            assert row is not None
            assert (store.property_id(row), store.version(row)) == (property_id, wanted.version)
            assert_is(store, row, wanted)
            assert store.taken.bits_agree(row)
            self.assert_windows(store, row, wanted)
        for agency_id in {found.agency_id for found in self.states.values()}:
            wanted_ids = {key for key, one in self.states.items() if one.agency_id == agency_id and not one.is_gone}
            assert set(store.ids(store.rows_of(agency_id))) == wanted_ids
        shown = sorted((key for key, one in self.states.items() if not one.is_gone), key=lambda key: key.int)
        page = [store.property_id(row) for row in store.page(None, 10)]
        assert page == shown[:10]
        if len(shown) > 12:
            assert [store.property_id(row) for row in store.page(shown[4], 5)] == shown[5:10]

    def assert_windows(self, store: PropertyStore, row: int, wanted: CalendarState) -> None:
        for first, nights in ((-2, 5), (3, 14), (30, 1), (700, 90)):
            start, end = TODAY + DAY * first, TODAY + DAY * (first + nights)
            days = wanted.profile.preparation_days
            near, ranges = store.taken.ranges(row, start, end).stored, wanted.ranges.stored
            assert open_bits(near, days, start, nights, NOW) == open_bits(ranges, days, start, nights, NOW)
            timeless = [replace(one, expires_at=None) for one in ranges]
            is_closed = bool(store.taken.closed(np.array([row]), start, nights)[0])
            assert is_closed == (not is_open(timeless, days, start, end, NOW))


def change_of(chance: random.Random, state: CalendarState) -> Delta:
    """A change of nights: some are given back, some are taken."""
    live = [one for one in state.ranges.stored if one.occupied_end > TODAY - DAY * 2]
    released = tuple(chance.sample(live, min(len(live), chance.choice((0, 1, 1, 2)))))
    kept = [one for one in state.ranges.stored if one not in released]
    wanted = stored(chance, chance.randrange(0, 780), chance.randint(1, 6), chance.choice((0, 1)))
    is_free = all(
        one.occupied_end <= wanted.occupied_start or one.occupied_start >= wanted.occupied_end for one in kept
    )
    version = state.version + 1
    return Delta(
        state.agency_id, version, version, occupied=packed([wanted] if is_free else []), released=packed(released)
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_store_holds_what_a_plain_model_holds(seed: int) -> None:
    chance, store, model = random.Random(seed), PropertyStore(TODAY - DAY * 2), Model()
    agencies = [UUID(int=number) for number in (7, 8, 9)]
    for step in range(600):
        property_id = UUID(int=chance.choice((1, 2**64, 2**90)) * chance.randrange(1, 9))
        known = model.states.get(property_id)
        if known is None or chance.random() < 0.15:
            state = make_state(chance, chance.choice(agencies), (known.version if known else 0) + chance.randint(1, 5))
            store.put(property_id, step % 6, state)
            model.states[property_id] = state
        elif chance.random() < 0.05:
            store.remove(property_id)
            del model.states[property_id]
        else:
            delta = change_of(chance, known)
            row = store.find(property_id)
            assert row is not None
            store.apply(row, delta)
            model.states[property_id] = known.after(delta)
        if step % 50 == 0:
            model.assert_same(store)
    model.assert_same(store)


def put_one(store: PropertyStore, *ranges: StoredRange, agency: int = 7) -> int:
    profile = Profile(0, SellingConditions("UTC", 4, 0, 365, time(15)), "EUR")
    return store.put(UUID(int=77), 3, CalendarState(UUID(int=agency), 4, 1, profile, ranges=packed(ranges)))


def taken(first: int, nights: int, **fields: object) -> StoredRange:
    start, end = TODAY + DAY * first, TODAY + DAY * (first + nights)
    made = StoredRange(UUID(int=1), "reservation", UUID(int=2), start, end, start, end)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_a_change_that_releases_what_is_not_there_changes_nothing() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store, taken(3, 2))
    before = store.state(row)
    with pytest.raises(RangeMissing):
        store.apply(
            row, Delta(UUID(int=7), 5, 5, released=packed([taken(3, 2), taken(8, 1)]), occupied=packed([taken(20, 1)]))
        )
    assert store.state(row) == before
    assert store.taken.bits_agree(row)


def test_a_range_that_ended_before_the_window_may_be_gone_already() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store)
    store.apply(row, Delta(UUID(int=7), 5, 5, released=packed([taken(-9, 7)])))
    assert store.version(row) == 5


def test_holds_whose_time_is_over_are_listed_until_they_are_released() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    held = taken(3, 2, kind="hold", expires_at=NOW)
    row = put_one(store, held)
    assert store.taken.overdue(NOW - timedelta(seconds=1)).tolist() == []
    assert store.taken.overdue(NOW).tolist() == [row]
    assert store.taken.overdue(NOW + DAY).tolist() == [row]
    assert store.taken.closed(np.array([row]), TODAY + DAY * 3, 1).tolist() == [True]
    store.apply(row, Delta(UUID(int=7), 5, 5, released=packed([held])))
    assert store.taken.overdue(NOW + DAY).tolist() == []
    assert store.taken.closed(np.array([row]), TODAY + DAY * 3, 1).tolist() == [False]


@pytest.mark.parametrize("days", [1, 5, 799, 900, -1, -40])
def test_a_new_day_brings_nights_that_have_bits_once_every_row_is_refilled(days: int) -> None:
    store = PropertyStore(TODAY - DAY * 2)
    places = [taken(at, 3) for at in range(-60, 1900, 7)]
    row = put_one(store, *places)
    first = TODAY + DAY * (days - 2)
    store.taken.roll(first)
    assert store.taken.first == first
    assert store.taken.bits_agree(row)
    if days > 0:
        assert store.taken.end == max(TODAY + DAY * (WINDOW - 2), first)
    with pytest.raises(ValueError, match="without bits"):
        store.taken.closed(np.array([row]), store.taken.end, 1)
    store.taken.refill(row)
    store.taken.refilled()
    assert store.taken.end == first + DAY * WINDOW
    assert store.taken.bits_agree(row)
    for night in range(0, WINDOW, 3):
        start = first + DAY * night
        closed = bool(store.taken.closed(np.array([row]), start, 1)[0])
        assert closed == (not is_open(places, 0, start, start + DAY, NOW))


def test_forgetting_the_past_keeps_what_the_window_needs() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store, taken(-30, 3), taken(-5, 3), taken(4, 2), taken(-9, 2, kind="hold", expires_at=NOW))
    store.taken.forget_past(row, TODAY - DAY * 5)
    assert {one.stay_start for one in store.state(row).ranges.stored} == {TODAY - DAY * 5, TODAY + DAY * 4}
    assert store.taken.bits_agree(row)


def test_a_flipped_bit_is_seen() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store, taken(3, 2))
    assert store.taken.bits_agree(row)
    night = (TODAY + DAY * 9).toordinal()
    store.taken._nights.close(row, night, night + 1)
    assert not store.taken.bits_agree(row)


@pytest.mark.parametrize("rolled", [0, 1, 30, 900])
def test_many_rows_looked_at_together_are_wrong_exactly_where_each_by_itself_is(rolled: int) -> None:
    chance, store = random.Random(rolled), PropertyStore(TODAY - DAY * 2)
    agency_id, count = UUID(int=7), 200
    for number in range(count):
        store.put(UUID(int=number), 0, make_state(chance, agency_id, 1))
    for number in chance.sample(range(count), 20):
        store.remove(UUID(int=number))
    nights = store.taken._nights
    for row in chance.sample(range(count), 40):
        night = chance.randrange(nights.first, nights.end)
        nights.put(row, ~nights.get(row) >> (night - nights.first) & 1, night, night + 1)
    if rolled:
        store.taken.roll(TODAY + DAY * rolled)
    wrong = [row for row in range(count) if not store.taken.bits_agree(row)]
    assert (len(wrong) > 0) is (rolled < 900)
    looked_at = range(0, count, 64)
    assert [row for start in looked_at for row in store.taken.wrong_bits(start, start + 64).tolist()] == wrong
    for row in range(count):
        store.taken.refill(row)
    store.taken.refilled()
    healed = {row for start in looked_at for row in store.taken.wrong_bits(start, start + 64).tolist()}
    assert healed == {row for row in range(count) if not store.taken.bits_agree(row)} <= set(wrong)


def test_a_parked_row_is_left_out_of_searches_and_pages() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store)
    store.park(row, is_parked=True)
    assert (store.rows_of(UUID(int=7)).tolist(), store.page(None, 5)) == ([], [])
    store.park(row, is_parked=False)
    assert (store.rows_of(UUID(int=7)).tolist(), store.page(None, 5)) == ([row], [row])


def test_an_agency_never_sees_a_row_that_went_to_another() -> None:
    store = PropertyStore(TODAY - DAY * 2)
    row = put_one(store)
    store.remove(UUID(int=77))
    assert put_one(store, agency=8) == row
    assert store.rows_of(UUID(int=7)).tolist() == []
    assert store.rows_of(UUID(int=8)).tolist() == [row]
    put_one(store, agency=9)
    assert [store.rows_of(UUID(int=number)).tolist() for number in (8, 9)] == [[], [row]]
