"""The first of thousands of rows in an order, without sorting them all; used by searches.

The order is that of `Position`: groups by name, in a group by value, equal values by the property's id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from availability.domain.search.search import Position
from availability.domain.store.property_store import PropertyStore

LEAST_AT_ONCE = 64
"""Rows that are taken and looked at together; more than are wanted, as some will not do."""
MOST_AT_ONCE = 4096
GROWTH = 4
LOW_MASK = 2**64 - 1

Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
WillDo = Callable[[Places], Mask]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are in order by their values: `places` says where they are among all; `name` puts groups in order."""

    name: str
    places: Places


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows, each with a value, in groups."""

    rows: NDArray[np.int64]
    values: NDArray[np.int64]
    groups: Sequence[Group]


def first_of(
    store: PropertyStore, ranked: Ranked, after: Position | None, wanted: int, will_do: WillDo | None
) -> list[tuple[str, int, int]]:
    """Group, value and place of the first `wanted` rows behind a position, of those that `will_do` (all), in order."""
    found: list[tuple[str, int, int]] = []
    for group in sorted(ranked.groups, key=lambda one: one.name):
        if after is not None and group.name < after.group:
            continue
        places = group.places
        if after is not None and group.name == after.group:
            places = places[_is_behind(store, ranked, places, after)]
        chosen = _first_in_group(store, ranked, places, wanted - len(found), will_do)
        found += zip(repeat(group.name), ranked.values[chosen].tolist(), chosen, strict=False)
        if len(found) == wanted:
            break
    return found


def _is_behind(store: PropertyStore, ranked: Ranked, places: Places, after: Position) -> Mask:
    values = ranked.values[places]
    is_behind: Mask = values > after.value
    equal = (values == after.value).nonzero()[0]
    if len(equal):
        high, low = np.uint64(after.number >> 64), np.uint64(after.number & LOW_MASK)
        highs, lows = store.id_halves(ranked.rows[places[equal]])
        is_behind[equal] = (highs > high) | ((highs == high) & (lows > low))
    return is_behind


def _first_in_group(
    store: PropertyStore, ranked: Ranked, places: Places, wanted: int, will_do: WillDo | None
) -> list[int]:
    found: list[int] = []
    at_once = max(LEAST_AT_ONCE, 2 * wanted)
    while len(places) and len(found) < wanted:
        batch, places = _lowest(store, ranked, places, at_once)
        found += (batch if will_do is None else batch[will_do(batch)]).tolist()
        at_once = min(at_once * GROWTH, MOST_AT_ONCE)
    return found[:wanted]


def _lowest(store: PropertyStore, ranked: Ranked, places: Places, count: int) -> tuple[Places, Places]:
    """About the first `count` places in order, and the rest in no order."""
    rest = places[:0]
    if len(places) > count:
        places, rest = _below(ranked.values[places], places, count)
        if len(places) > GROWTH * count:  # many of one value: the halves of their ids will tell them apart
            highs, _ = store.id_halves(ranked.rows[places])
            is_first = ranked.values[places] < ranked.values[places].max()
            highs[is_first] = 0
            places, more = _below(highs, places, count)
            rest = np.concatenate((rest, more))
    highs, lows = store.id_halves(ranked.rows[places])
    return places[np.lexsort((lows, highs, ranked.values[places]))], rest


def _below(keys: NDArray[np.integer], places: Places, count: int) -> tuple[Places, Places]:
    """The places with the `count` lowest keys and those with the same as the last of them; the others."""
    limit = np.partition(keys, count - 1)[count - 1]
    is_near = keys <= limit
    return places[is_near], places[~is_near]
