"""Finds the row of a property by its id without an object per property: a dict would take as much as its nights.

Used by the property store. Ids are spread over shards by their lowest bits, each a sorted array, so that a new id moves
a few kilobytes at most however many there are.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from uuid import UUID

SHARDS = 1024
_SHARD_MASK = SHARDS - 1
_LOW_MASK = 2**64 - 1


class PropertyIndex:
    """Rows by id. The order of iteration is that of `position`, which has nothing to do with time or agency."""

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

    def after(self, cursor: UUID | None) -> Iterator[tuple[UUID, int]]:
        """Every property and its row, behind `cursor` in the order of this index; what comes and goes meanwhile may be
        left out, nothing comes twice.
        """
        shard, at, is_there = self._look(cursor) if cursor is not None else (0, 0, False)
        at += is_there
        while shard < SHARDS:
            lows, highs = self._lows[shard], self._highs[shard]
            if at >= len(lows):
                shard, at = shard + 1, 0
                continue
            low, high = lows[at], highs[at]
            yield UUID(int=high << 64 | low), self._rows[shard][at]
            at = bisect_left(lows, low)  # anew: others may have come and gone meanwhile
            while at < len(lows) and (lows[at], highs[at]) <= (low, high):
                at += 1

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
