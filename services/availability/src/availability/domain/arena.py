"""Many short lists of equal records in one array: what is stored per property without a Python object for each.

Used by the property store. A list is known by its place and its length, which the caller keeps. Nothing that is given
out refers to the array: it moves when it grows.
"""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST_SIZE = 1024
GROWTH = 1.25


class Arena:
    """Lists of records of one type. Lists of a similar length share a size, so that the room of one fits another."""

    def __init__(self, record: DTypeLike) -> None:
        self._records = np.zeros(FIRST_SIZE, record)
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    @property
    def nbytes(self) -> int:
        """The memory of the array, used or not."""
        return self._records.nbytes

    def put(self, records: NDArray[np.void]) -> int:
        """Store a new list; its place."""
        room = room_for(len(records))
        if room == 0:
            return 0
        free = self._free[room]
        place = free.pop() if free else self._append(room)
        self._records[place : place + len(records)] = records
        return place

    def replace(self, place: int, length: int, records: NDArray[np.void]) -> int:
        """Store a list where one of `length` records was, or elsewhere when it does not fit there; its place."""
        if room_for(length) == room_for(len(records)):
            self._records[place : place + len(records)] = records
            return place
        self.drop(place, length)
        return self.put(records)

    def drop(self, place: int, length: int) -> None:
        """Give the room of a list back."""
        if length:
            self._free[room_for(length)].append(place)

    def get(self, place: int, length: int) -> NDArray[np.void]:
        """A copy of a list."""
        return self._records[place : place + length].copy()

    def field(self, name: str, places: NDArray[np.integer]) -> NDArray[Any]:
        """One field of the records at these places, whatever lists they are of."""
        found: NDArray[Any] = self._records[name][places]
        return found

    def _append(self, room: int) -> int:
        place, self._end = self._end, self._end + room
        if self._end > len(self._records):
            # Moves pages instead of copying them; safe because no view of the array is ever given out.
            self._records.resize(max(self._end, int(len(self._records) * GROWTH)), refcheck=False)
        return place


def room_for(length: int) -> int:
    """The room a list of this length takes: at most an eighth more than it needs."""
    if length <= 8:
        return length
    step = 1 << (length.bit_length() - 4)
    return -(-length // step) * step
