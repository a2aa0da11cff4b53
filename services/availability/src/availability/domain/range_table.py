"""What is taken of every property, by row: packed ranges, and a bit for each night they close; used by the store."""

from collections.abc import Sequence
from datetime import date, datetime
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from availability.domain import packed_ranges as packed
from availability.domain.arena import Arena
from availability.domain.columns import Columns
from availability.domain.night_matrix import BLOCK_ROWS, NightMatrix
from rules.calendar import StoredRange

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class RangeMissing(Exception):
    """A change releases a range that is not here."""


class RangeTable:
    """Ranges by row; nights of `[first, end)` have bits, in which overdue holds count as taken until they are released.

    The window rolls in two steps: `roll` moves it, and the nights that came to it are in `[first, end)` once `refill`
    was called for every row and `refilled` after it.
    """

    def __init__(self, first: date) -> None:
        self._nights = NightMatrix(first)
        self._end = self._nights.end
        self._columns = Columns(place="<u4", count="<u2", preparation_days="<u2")
        self._ranges = Arena(packed.RECORD)
        self._whole: dict[int, tuple[StoredRange, ...]] = {}
        self._deadlines: list[tuple[datetime, int]] = []
        self._due: set[int] = set()

    @property
    def first(self) -> date:
        """The first night that has bits."""
        return self._nights.first

    @property
    def end(self) -> date:
        """The first night after `first` that has no bits (yet)."""
        return self._end

    @property
    def nbytes(self) -> tuple[int, int]:
        """The memory of the bits, and of everything else that is not kept whole."""
        return self._nights.nbytes, self._columns.nbytes + self._ranges.nbytes

    def put(self, row: int, ranges: Sequence[StoredRange], preparation_days: int) -> None:
        """Keep the ranges of a row in place of those it had."""
        self._columns.make_room(row)
        self._nights.make_room(row)
        records = packed.pack(stored for stored in ranges if packed.is_packable(stored))
        place = self._ranges.replace(*self._list(row), records)
        self._columns.set("place", row, place)
        self._columns.set("count", row, len(records))
        self._columns.set("preparation_days", row, preparation_days)
        self._set_whole(row, tuple(stored for stored in ranges if not packed.is_packable(stored)))
        self._put_bits(row, self._nights.first, self._nights.end)

    def apply(self, row: int, released: Sequence[StoredRange], occupied: Sequence[StoredRange]) -> None:
        """Take ranges out and put others in. Raises `RangeMissing`, and changes nothing then.

        A range that ended before the window is gone already, or never came: only those in it must be here.
        """
        here = [stored for stored in released if self._has(row, stored)]
        if any(stored.occupied_end > self._nights.first and stored not in here for stored in released):
            raise RangeMissing(RangeMissing.__doc__)
        for stored in here:
            self._take_out(row, stored)
        preparation_days = self.preparation_days(row)
        for stored in occupied:
            self._put_in(row, stored)
            start = date.fromordinal(stored.occupied_start.toordinal() - preparation_days)
            self._nights.close(row, start, stored.occupied_end)
        for stored in here:
            start = date.fromordinal(stored.occupied_start.toordinal() - preparation_days)
            self._put_bits(row, max(start, self._nights.first), min(stored.occupied_end, self._nights.end))

    def preparation_days(self, row: int) -> int:
        """The nights kept free after a stay, as of today."""
        found: int = self._columns.get("preparation_days", row)
        return found

    def ranges(self, row: int, start: date | None = None, end: date | None = None) -> tuple[StoredRange, ...]:
        """All ranges of a row, or those that can close a night of `[start, end)`; packed ones come without ids."""
        records, whole = self._ranges.get(*self._list(row)), self._whole.get(row, ())
        if start is not None and end is not None:
            until = date.fromordinal(end.toordinal() + self.preparation_days(row))
            records = packed.meeting(records, start, until)
            whole = _meeting(whole, start, until)
        return (*packed.unpack(records), *whole)

    def forget_past(self, row: int, day: date) -> None:
        """Drop the ranges of a row that ended on `day` or before, which must lie before the window."""
        place, count = self._list(row)
        records = self._ranges.get(place, count)
        kept = packed.without_past(records, day)
        if len(kept) < count:
            self._columns.set("place", row, self._ranges.replace(place, count, kept))
            self._columns.set("count", row, len(kept))
        whole = self._whole.get(row, ())
        if any(stored.occupied_end <= day for stored in whole):
            self._set_whole(row, tuple(stored for stored in whole if stored.occupied_end > day))

    # Bits.

    def closed(self, rows: Rows, first: date, nights: int) -> Mask:
        """Which rows have a closed night among the `nights` from `first`; raises ValueError for nights without bits."""
        self._require_bits(first, nights)
        found = np.empty(len(rows), bool)
        numbers = rows // BLOCK_ROWS
        for number in np.unique(numbers).tolist():
            bits = self._nights.closed_in(number, first, nights)
            here = numbers == number
            within = rows[here] % BLOCK_ROWS
            found[here] = bits[within >> 3] >> (within & 7).astype(np.uint8) & 1
        return found

    def overdue(self, now: datetime) -> Rows:
        """The rows with a hold or pending stay whose time is over but which still counts as taken."""
        while self._deadlines and self._deadlines[0][0] <= now:
            self._due.add(heappop(self._deadlines)[1])
        self._due = {row for row in self._due if any(stored.is_overdue(now) for stored in self._whole.get(row, ()))}
        return np.array(sorted(self._due), np.int64)

    def bits_agree(self, row: int) -> bool:
        """True when the bits of a row are what its ranges give."""
        count = (self._end - self._nights.first).days
        kept = (1 << count) - 1
        return self._nights.get(row) & kept == self._closed(row, self._nights.first, self._end)

    def roll(self, first: date) -> None:
        """Let the window begin on another day. Nights that were not in it before have no bits until the refill."""
        forward = (first - self._nights.first).days
        self._end = self._end if forward >= 0 and first < self._end else first
        self._nights.roll(first)

    def refill(self, row: int) -> None:
        """Set the bits of a row for the nights that have none yet."""
        self._put_bits(row, self._end, self._nights.end)

    def refilled(self) -> None:
        """Every row was refilled since the window moved."""
        self._end = self._nights.end

    def _require_bits(self, first: date, nights: int) -> None:
        if first < self._nights.first or (self._end - first).days < nights:
            raise ValueError("nights without bits")

    def _put_bits(self, row: int, start: date, end: date) -> None:
        if start < end:
            self._nights.put(row, self._closed(row, start, end), start, (end - start).days)

    def _closed(self, row: int, start: date, end: date) -> int:
        preparation_days = self.preparation_days(row)
        records, whole = self._ranges.get(*self._list(row)), self._whole.get(row, ())
        until = date.fromordinal(end.toordinal() + preparation_days)
        met = packed.meeting(records, start, until)
        return packed.closed_nights(met, _meeting(whole, start, until), preparation_days, start, (end - start).days)

    # Ranges.

    def _list(self, row: int) -> tuple[int, int]:
        return self._columns.get("place", row), self._columns.get("count", row)

    def _has(self, row: int, stored: StoredRange) -> bool:
        if packed.is_packable(stored):
            return self._ranges.find(*self._list(row), packed.bytes_of(stored)) is not None
        return any(_is_same(one, stored) for one in self._whole.get(row, ()))

    def _take_out(self, row: int, stored: StoredRange) -> None:
        if not packed.is_packable(stored):
            self._set_whole(row, tuple(one for one in self._whole[row] if not _is_same(one, stored)))
            return
        place, count = self._list(row)
        at = self._ranges.find(place, count, packed.bytes_of(stored))
        if at is not None:
            self._columns.set("place", row, self._ranges.take_out(place, count, at))
            self._columns.set("count", row, count - 1)

    def _put_in(self, row: int, stored: StoredRange) -> None:
        if not packed.is_packable(stored):
            self._set_whole(row, (*self._whole.get(row, ()), stored))
            return
        place, count = self._list(row)
        self._columns.set("place", row, self._ranges.append(place, count, packed.record_of(stored)))
        self._columns.set("count", row, count + 1)

    def _set_whole(self, row: int, whole: tuple[StoredRange, ...]) -> None:
        self._due.discard(row)
        if not whole:
            self._whole.pop(row, None)
            return
        self._whole[row] = whole
        for stored in whole:
            if stored.expires_at is not None:
                heappush(self._deadlines, (stored.expires_at, row))


def _meeting(whole: Sequence[StoredRange], start: date, end: date) -> tuple[StoredRange, ...]:
    return tuple(stored for stored in whole if stored.occupied_start < end and stored.occupied_end > start)


def _is_same(one: StoredRange, other: StoredRange) -> bool:
    return (one.kind, one.occupied_start, one.occupied_end) == (other.kind, other.occupied_start, other.occupied_end)
