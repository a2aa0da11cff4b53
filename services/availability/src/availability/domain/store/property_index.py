"""Finds the row of a property by its id without an object per property: a dict would take as much as its nights.

Used by the property store. Ids are spread over shards by their lowest bits, each a sorted array, so that a new id moves
a few kilobytes at most however many there are.
"""

from array import array
from bisect import bisect_left
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

SHARDS = 1024
_SHARD_MASK = SHARDS - 1
_LOW_MASK = 2**64 - 1


class PropertyIndex:
    """Rows by id."""

    def __init__(self) -> None:
        self._lows = [array("Q") for _ in range(SHARDS)]
        self._highs = [array("Q") for _ in range(SHARDS)]
        self._rows = [array("I") for _ in range(SHARDS)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, property_id: UUID) -> int | None:
        """The row of a property; None for an unknown one."""
        shard, at, is_there = self._look(property_id)
        return self._rows[shard][at] if is_there else None

    @classmethod
    def of(cls, highs: NDArray[np.uint64], lows: NDArray[np.uint64], rows: NDArray[np.int64]) -> "PropertyIndex":
        """An index of many properties, the halves of whose ids are given. Raises ValueError for one given twice."""
        made = cls()
        shards = (lows & np.uint64(_SHARD_MASK)).astype(np.int64)
        order = np.lexsort((highs, lows, shards))
        ends = np.cumsum(np.bincount(shards, minlength=SHARDS))
        highs, lows, sorted_rows = highs[order], lows[order], rows[order].astype(np.uint32)
        if np.any((highs[1:] == highs[:-1]) & (lows[1:] == lows[:-1])):
            raise ValueError("a property is there twice")
        for shard in range(SHARDS):
            part = slice(int(ends[shard - 1]) if shard else 0, int(ends[shard]))
            made._lows[shard].frombytes(lows[part].tobytes())
            made._highs[shard].frombytes(highs[part].tobytes())
            made._rows[shard].frombytes(sorted_rows[part].tobytes())
        made._count = len(rows)
        return made

    def add(self, property_id: UUID, row: int) -> None:
        """A property that is not known yet has this row."""
        shard, at, is_there = self._look(property_id)
        if is_there:
            raise ValueError(f"{property_id} has a row already")
        self._lows[shard].insert(at, property_id.int & _LOW_MASK)
        self._highs[shard].insert(at, property_id.int >> 64)
        self._rows[shard].insert(at, row)
        self._count += 1

    def remove(self, property_id: UUID) -> int | None:
        """Forget a property; the row it had, None for an unknown one."""
        shard, at, is_there = self._look(property_id)
        if not is_there:
            return None
        row = self._rows[shard][at]
        for column in (self._lows, self._highs, self._rows):
            del column[shard][at]
        self._count -= 1
        return row

    def _look(self, property_id: UUID) -> tuple[int, int, bool]:
        """The shard of an id, where in it the id is or belongs, and whether it is there."""
        number = property_id.int
        low, high = number & _LOW_MASK, number >> 64
        shard = low & _SHARD_MASK
        lows, highs = self._lows[shard], self._highs[shard]
        at = bisect_left(lows, low)
        while at < len(lows) and lows[at] == low and highs[at] < high:  # two ids with one lower half are possible
            at += 1
        return shard, at, at < len(lows) and lows[at] == low and highs[at] == high
