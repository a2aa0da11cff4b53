"""Proves the index against a dict: ids that share halves, removal, and many at once."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from availability.domain.store.property_index import SHARDS, PropertyIndex

# Few halves, so that ids share a shard, a lower half or both.
halves = st.sampled_from((0, 1, SHARDS, SHARDS + 1, 2**63, 2**64 - 1))
ids = st.builds(lambda high, low: UUID(int=high << 64 | low), halves, halves)


@given(st.lists(st.tuples(st.booleans(), ids), max_size=60))
def test_it_finds_what_a_dict_finds(program: list[tuple[bool, UUID]]) -> None:
    index, model = PropertyIndex(), dict[UUID, int]()
    for row, (is_added, property_id) in enumerate(program):
        if not is_added:
            assert index.remove(property_id) == model.pop(property_id, None)
        elif property_id in model:
            with pytest.raises(ValueError, match="has a row already"):
                index.add(property_id, row)
        else:
            index.add(property_id, row)
            model[property_id] = row
    assert len(index) == len(model)
    assert all(index.find(property_id) == row for property_id, row in model.items())


@given(st.sets(ids))
def test_an_index_made_at_once_finds_the_same(known: set[UUID]) -> None:
    order = list(known)
    highs = np.array([one.int >> 64 for one in order], np.uint64)
    lows = np.array([one.int & 2**64 - 1 for one in order], np.uint64)
    index = PropertyIndex.of(highs, lows, np.arange(len(order)) + 5)
    assert len(index) == len(order)
    assert [index.find(one) for one in order] == list(range(5, len(order) + 5))
    for one in order:
        assert index.remove(one) == order.index(one) + 5
    assert len(index) == 0


def test_an_index_of_a_property_that_is_there_twice_is_refused() -> None:
    half = np.array([7, 8, 7], np.uint64)
    with pytest.raises(ValueError, match="twice"):
        PropertyIndex.of(half, half, np.arange(3))
