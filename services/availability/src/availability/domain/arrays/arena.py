"""Many short lists of equal records in one array: what is stored per property without a Python object for each.

Used by the property store. A list is known by its place and its length, which the caller keeps. Nothing that is given
out refers to the array: it moves when it grows.
"""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST_SIZE = 1024
GROWTH_SHARE = 16
"""A full array grows by this part of itself: the rest is memory that nobody uses."""


class Arena:
    """Lists of records of one type. Lists of a similar length share a size, so that the room of one fits another."""

    def __init__(self, record: DTypeLike) -> None:
        self._records = np.zeros(FIRST_SIZE, record)
        # Without fields many records are copied at once, not field by field.
        self._opaque = np.dtype((np.void, self._records.itemsize))
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    @property
    def nbytes(self) -> int:
        """The memory of the array, used or not."""
        return self._records.nbytes

    def put(self, records: NDArray[np.void]) -> int:
        """Store a new list; its place."""
        place = self._take(room_for(len(records)))
        self._records[place : place + len(records)] = records
        return place

    def replace(self, place: int, length: int, records: NDArray[np.void]) -> int:
        """Store a list where one of `length` records was, or elsewhere when it does not fit there; its place."""
        if room_for(length) == room_for(len(records)):
            self._records[place : place + len(records)] = records
            return place
        self.drop(place, length)
        return self.put(records)

    def append(self, place: int, length: int, record: tuple[int, ...]) -> int:
        """Store one more record behind a list; its place, which may be another."""
        if room_for(length) != room_for(length + 1):
            longer = self._records[place : place + length].copy()
            self.drop(place, length)
            place = self._take(room_for(length + 1))
            self._records[place : place + length] = longer
        self._records[place + length] = record
        return place

    def take_out(self, place: int, length: int, at: int) -> int:
        """Remove one record of a list, whose last record takes its turn; the place of the list."""
        self._records[place + at] = self._records[place + length - 1]
        if room_for(length) == room_for(length - 1):
            return place
        shorter = self._records[place : place + length - 1].copy()
        self.drop(place, length)
        return self.put(shorter)

    def find(self, place: int, length: int, record: bytes) -> int | None:
        """Where in a list a record is; None when it is not there."""
        size, data = len(record), self._records[place : place + length].tobytes()
        at = data.find(record)
        while at >= 0:
            if at % size == 0:
                return at // size
            at = data.find(record, at + 1)
        return None

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

    def dump(self, places: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.void]:
        """Lists one behind the other, each with all the room it takes."""
        rooms = rooms_for(counts)
        begins = np.cumsum(rooms) - rooms
        where = np.repeat(places.astype(np.int64) - begins, rooms) + np.arange(rooms.sum())
        found: NDArray[np.void] = self._records.view(self._opaque)[where].view(self._records.dtype)
        return found

    def load(self, dumped: NDArray[np.void], counts: NDArray[np.integer]) -> NDArray[np.int64]:
        """Store the lists of a dump; their places. Raises ValueError when the counts are not those of the dump."""
        rooms = rooms_for(counts)
        if rooms.sum() != len(dumped):
            raise ValueError("counts that do not fit the records")
        begin = self._grow(len(dumped))
        self._records.view(self._opaque)[begin : begin + len(dumped)] = dumped.view(self._opaque)
        places: NDArray[np.int64] = np.where(rooms > 0, begin + np.cumsum(rooms) - rooms, 0)
        return places

    def _take(self, room: int) -> int:
        """A place with so much room."""
        if room == 0:
            return 0
        if self._free[room]:
            return self._free[room].pop()
        return self._grow(room)

    def _grow(self, room: int) -> int:
        place, self._end = self._end, self._end + room
        if self._end > len(self._records):
            # Moves pages instead of copying them; safe because no view of the array is ever given out.
            size = len(self._records)
            self._records.resize(max(self._end, size + size // GROWTH_SHARE), refcheck=False)
        return place


def room_for(length: int) -> int:
    """The room a list of this length takes: at most an eighth more than it needs."""
    if length <= 8:
        return length
    step = 1 << (length.bit_length() - 4)
    return -(-length // step) * step


def rooms_for(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """`room_for` of each length."""
    rooms = np.zeros(int(lengths.max(initial=0)) + 1, np.int64)
    for length in np.bincount(lengths).nonzero()[0].tolist():
        rooms[length] = room_for(length)
    found: NDArray[np.int64] = rooms[lengths]
    return found
