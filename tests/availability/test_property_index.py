"""Proves the index against a dict: ids that share halves, removal, and pages that others change meanwhile."""

from __future__ import annotations

from itertools import islice
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from availability.domain.property_index import SHARDS, PropertyIndex

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
    assert dict(index.after(None)) == model


@given(st.sets(ids), ids)
def test_pages_continue_behind_any_id_whether_it_is_known_or_not(known: set[UUID], cursor: UUID) -> None:
    index = PropertyIndex()
    for row, property_id in enumerate(known):
        index.add(property_id, row)
    whole = [property_id for property_id, _ in index.after(None)]
    assert sorted(whole) == sorted(known)
    for place, property_id in enumerate(whole):
        assert [found for found, _ in index.after(property_id)] == whole[place + 1 :]
    with_cursor = PropertyIndex()
    for property_id in known | {cursor}:
        with_cursor.add(property_id, 0)
    order = [property_id for property_id, _ in with_cursor.after(None)]
    behind = order[order.index(cursor) + 1 :]
    assert [found for found, _ in index.after(cursor)] == behind


def test_what_comes_and_goes_while_pages_are_read_neither_repeats_nor_hides_others() -> None:
    index = PropertyIndex()
    stay = [uuid4() for _ in range(3000)]
    for row, property_id in enumerate(stay):
        index.add(property_id, row)
    seen: list[UUID] = []
    pages = index.after(None)
    comes = [uuid4() for _ in range(300)]
    for new in comes:
        seen += [property_id for property_id, _ in islice(pages, 10)]
        index.add(new, 0)
        index.remove(new) if new.int % 2 else None
    seen += [property_id for property_id, _ in pages]
    assert len(seen) == len(set(seen))
    assert set(stay) <= set(seen)
