"""Proves the arena against a dict of lists: nothing is overwritten, room is used again, little is wasted."""

from __future__ import annotations

import random

import numpy as np
import pytest

from availability.domain.arrays.arena import Arena, room_for

RECORD = np.dtype([("start", "<u2"), ("kind", "u1")])


def records(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.array([(value, value % 4) for value in values], RECORD)


@pytest.mark.parametrize("seed", range(5))
def test_every_list_stays_what_it_was_last_stored_as(seed: int) -> None:
    chance, arena = random.Random(seed), Arena(RECORD)
    model: dict[int, list[int]] = {}
    places: dict[int, int] = {}
    for _ in range(4000):
        name = chance.randrange(60)
        values = [chance.randrange(60_000) for _ in range(chance.choice((0, 1, 2, 5, 9, 40, 130)))]
        if name not in model:
            places[name] = arena.put(records(values))
            model[name] = values
        elif chance.random() < 0.2:
            arena.drop(places.pop(name), len(model.pop(name)))
        elif chance.random() < 0.4:
            value = chance.randrange(60_000)
            places[name] = arena.append(places[name], len(model[name]), (value, value % 4))
            model[name].append(value)
        elif chance.random() < 0.4 and model[name]:
            at = chance.randrange(len(model[name]))
            places[name] = arena.take_out(places[name], len(model[name]), at)
            model[name][at] = model[name][-1]
            model[name].pop()
        else:
            places[name] = arena.replace(places[name], len(model[name]), records(values))
            model[name] = values
    for name, values in model.items():
        found = arena.get(places[name], len(values))
        assert list(found["start"]) == values
        assert list(found["kind"]) == [value % 4 for value in values]


def test_what_was_given_out_does_not_change_when_the_list_does() -> None:
    arena = Arena(RECORD)
    place = arena.put(records([1, 2]))
    before = arena.get(place, 2)
    arena.replace(place, 2, records([3, 4]))
    assert list(before["start"]) == [1, 2]


def test_the_room_of_dropped_lists_is_used_again() -> None:
    arena = Arena(RECORD)
    for _ in range(50):
        places = [arena.put(records(list(range(100)))) for _ in range(200)]
        for place in places:
            arena.drop(place, 100)
    assert arena.nbytes <= 200 * room_for(100) * RECORD.itemsize * 1.3


def test_a_list_takes_at_most_an_eighth_more_than_it_needs() -> None:
    for length in range(1, 2000):
        assert length <= room_for(length) <= length * 1.125 + 1
    assert room_for(0) == 0


def test_records_are_gathered_from_many_lists_at_once() -> None:
    arena = Arena(RECORD)
    one, other = arena.put(records([1, 2, 3])), arena.put(records([4, 5]))
    assert list(arena.field("start", np.array([one + 2, other, one]))) == [3, 4, 1]


def test_a_record_is_found_where_it_begins_and_nowhere_else() -> None:
    arena = Arena(RECORD)
    place = arena.put(records([0x0102, 0x0200, 0x0001]))
    for at, value in enumerate((0x0102, 0x0200, 0x0001)):
        assert arena.find(place, 3, records([value]).tobytes()) == at
    lying_across = arena.get(place, 3).tobytes()[1:4]
    assert arena.find(place, 3, lying_across) is None
    assert arena.find(place, 1, records([0x0001]).tobytes()) is None
