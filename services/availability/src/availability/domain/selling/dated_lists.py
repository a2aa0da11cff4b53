"""Short sorted lists by row in one array, and the record in force on a day for thousands of rows in one pass.

Used by the selling table. Behind each list there is a guard, a record that begins after every day and ends before: so a
step behind the last record, or before the first, needs no test of its own.
"""

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from availability.domain.arrays.arena import Arena, room_for
from availability.domain.arrays.columns import Columns

EPOCH = date(1999, 1, 1).toordinal()
NEVER = 2**16 - 1
MONTH = 32
"""Days of which it is remembered together where a search began to look."""
MOST_MONTHS = 27
"""As many as the nights with bits have."""

Rows = NDArray[np.int64]
Places = NDArray[np.int64]


class DatedLists:
    """Lists of records with `start` and `end` (numbers of days from EPOCH), sorted by `start`, no two of a list on one
    day. A row has none until it is put; nothing that is given out refers to the array.
    """

    def __init__(self, record: np.dtype[np.void]) -> None:
        self._guards = np.zeros(2**10, record)
        self._guards["start"] = NEVER
        self._arena = Arena(record)
        # What every empty list is: a guard behind a guard.
        self._arena.put(self._guards[:2])
        self._columns = Columns(place="<u4", count="<u2")
        self._is_empty = True
        self._size = 0
        # By month and row: one more than the records that begin before the month; 0 for what is not known (yet).
        self._before: dict[int, NDArray[np.uint16]] = {}

    @property
    def nbytes(self) -> int:
        """The memory of the records and where they are, used or not."""
        return self._arena.nbytes + self._columns.nbytes + sum(known.nbytes for known in self._before.values())

    @property
    def is_empty(self) -> bool:
        """True while no row has had a record."""
        return self._is_empty

    def put(self, row: int, records: NDArray[np.void]) -> None:
        """Keep the list of a row that has none."""
        self.make_room(row)
        count, place = len(records), 1
        if count:
            self._is_empty = False
            place = self._arena.put(np.concatenate((records, self._guards[: room_for(count + 1) - count])))
        self._columns.set("place", row, place)
        self._columns.set("count", row, count)
        for known in self._before.values():
            known[row : row + 1] = 0

    def drop(self, row: int) -> None:
        """Forget the list of a row."""
        place, count = self._columns.get("place", row), self._columns.get("count", row)
        if count:
            self._arena.drop(place, room_for(count + 1))

    def get(self, row: int) -> NDArray[np.void]:
        """A copy of the list of a row."""
        return self._arena.get(self._columns.get("place", row), self._columns.get("count", row))

    def dump(self, rows: Rows, is_kept: NDArray[np.bool_]) -> tuple[NDArray[np.uint16], NDArray[np.void]]:
        """How long the lists of some rows are, those of rows not kept being empty, and their records, for `load`."""
        counts = np.where(is_kept, self._columns.at("count", rows), 0).astype("<u2")
        return counts, self._arena.dump(self._columns.at("place", rows), _with_guards(counts))

    def load(self, start: int, counts: NDArray[np.uint16], records: NDArray[np.void]) -> None:
        """Take up dumped lists for the rows from `start` on. Raises ValueError for what is no dump."""
        places = self._arena.load(records, _with_guards(counts))
        self._columns.fill("count", start, counts)
        self._columns.fill("place", start, np.where(counts > 0, places, 1))
        self._size = max(self._size, start + len(counts))
        self._is_empty = self._is_empty and len(records) == 0

    def make_room(self, row: int) -> None:
        """Have a row; rows up to it are there as well."""
        self._columns.make_room(row)
        self._size = max(self._size, row + 1)

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """How long each row's list is."""
        return self._columns.at("count", rows)

    def find(self, rows: Rows, day: int) -> Places:
        """Where each row's last record that starts on `day` or before is; at a guard for none."""
        at = self._columns.at("place", rows).astype(np.int64)
        if self._is_empty:
            return at - 1
        at += self._begun_before(rows, day // MONTH)
        at -= 2
        going = (self._arena.field("start", at + 1) <= day).nonzero()[0]
        while len(going):
            ahead = at[going] + 1
            at[going] = ahead
            going = going[self._arena.field("start", ahead + 1) <= day]
        return at

    def following(self, places: Places, day: int) -> Places:
        """What `find` says of a day, from what it said of the day before."""
        found: Places = places + (self._arena.field("start", places + 1) <= day)
        return found

    def field(self, name: str, places: NDArray[np.integer]) -> NDArray[Any]:
        """One field of the records at these places."""
        return self._arena.field(name, places)

    def _begun_before(self, rows: Rows, month: int) -> NDArray[np.uint16]:
        """One more than the records of each row that begin before a month; found once and remembered."""
        known = self._before.get(month)
        if known is None or len(known) < self._size:
            known = self._remember(month, known)
        found = known[rows]
        if not found.all():
            missing = (found == 0).nonzero()[0]
            strangers = rows[missing]
            before = self._bisected(strangers, month * MONTH - 1) - self._columns.at("place", strangers) + 2
            found[missing] = before
            known[strangers] = before
        return found

    def _remember(self, month: int, known: NDArray[np.uint16] | None) -> NDArray[np.uint16]:
        grown = np.zeros(self._size + self._size // 16, np.uint16)
        if known is not None:
            grown[: len(known)] = known
        elif len(self._before) == MOST_MONTHS:
            del self._before[next(iter(self._before))]
        self._before[month] = grown
        return grown

    def _bisected(self, rows: Rows, day: int) -> Places:
        """What `find` says, from scratch."""
        last = self._columns.at("place", rows).astype(np.int64)
        at = last - 1
        counts = self._columns.at("count", rows)
        last += counts
        step = 1 << int(counts.max(initial=0)).bit_length() >> 1
        while step:
            ahead = np.minimum(at + step, last)
            at = np.where(self._arena.field("start", ahead) <= day, ahead, at)
            step >>= 1
        return at


def _with_guards(counts: NDArray[np.uint16]) -> NDArray[np.int64]:
    """The lengths of lists with a guard behind each; one that is empty takes no room."""
    return np.where(counts > 0, counts.astype(np.int64) + 1, 0)
