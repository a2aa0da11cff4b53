"""What is taken of every property, by row: packed ranges, and a bit for each night they close; used by the store."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from availability.domain import packed_ranges as packed
from availability.domain.arrays.arena import Arena
from availability.domain.arrays.columns import Columns
from availability.domain.packed_ranges import PackedRanges
from availability.domain.store.night_matrix import BLOCK_ROWS, Bits, NightMatrix
from rules.calendar import StoredRange

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


FEW = 64
"""Where so few of the rows are asked about, their bits are picked; else all are unpacked."""


class RangeMissing(Exception):
    """A change releases a range that is not here."""


class RangeTable:
    """Ranges by row; nights of `[first, end)` have bits, in which overdue holds count as taken until they are released.

    The window rolls in two steps: `roll` moves it, and the nights that came to it are in `[first, end)` once `refill`
    was called for every row and `refilled` after it.
    """

    def __init__(self, first: date) -> None:
        self._nights = NightMatrix(first.toordinal())
        self._end = self._nights.end
        self._columns = Columns(place="<u4", count="<u2", preparation_days="<u2")
        self._ranges = Arena(packed.RECORD)
        self._whole: dict[int, tuple[StoredRange, ...]] = {}
        self._deadlines: list[tuple[datetime, int]] = []
        self._due: set[int] = set()

    @property
    def first(self) -> date:
        """The first night that has bits."""
        return date.fromordinal(self._nights.first)

    @property
    def end(self) -> date:
        """The first night after `first` that has no bits (yet)."""
        return date.fromordinal(self._end)

    @property
    def nbytes(self) -> tuple[int, int]:
        """The memory of the bits, and of everything else that is not kept whole."""
        return self._nights.nbytes, self._columns.nbytes + self._ranges.nbytes

    def put(self, row: int, ranges: PackedRanges, preparation_days: int) -> None:
        """Keep the ranges of a row in place of those it had."""
        self._columns.make_room(row)
        self._nights.make_room(row)
        records = np.frombuffer(ranges.records, packed.RECORD)
        place = self._ranges.replace(*self._list(row), records)
        self._set_list(row, place, len(records))
        self._columns.set("preparation_days", row, preparation_days)
        self._set_whole(row, ranges.whole)
        self._put_bits(row, self._nights.first, self._nights.end)

    def apply(self, row: int, released: PackedRanges, occupied: PackedRanges) -> None:
        """Take ranges out and put others in. Raises `RangeMissing`, and changes nothing then.

        A range that ended before the window is gone already, or never came: only those in it must be here.
        """
        days_before = self.preparation_days(row)
        freed = [packed.occupied_days(record) for record in released.each] + _days(released.whole)
        self._require_all(row, released)
        for record in released.each:
            self._take_out(row, record)
        for record in occupied.each:
            self._put_in(row, record)
        if released.whole or occupied.whole:
            self._set_whole(row, PackedRanges(whole=self._whole.get(row, ())).changed(released, occupied).whole)
        for start, end in [packed.occupied_days(record) for record in occupied.each] + _days(occupied.whole):
            self._nights.close(row, start - days_before, end)
        for start, end in freed:
            self._put_bits(row, start - days_before, end)

    def preparation_days(self, row: int) -> int:
        """The nights kept free after a stay, as of today."""
        found: int = self._columns.get("preparation_days", row)
        return found

    def ranges(self, row: int, start: date | None = None, end: date | None = None) -> PackedRanges:
        """All ranges of a row, or those that can close a night of `[start, end)`."""
        records, whole = self._ranges.get(*self._list(row)), self._whole.get(row, ())
        if start is not None and end is not None:
            first, until = start.toordinal(), end.toordinal() + self.preparation_days(row)
            records, whole = packed.meeting(records, first, until), packed.whole_meeting(whole, first, until)
        return PackedRanges(records.tobytes(), whole)

    def forget_past(self, row: int, day: date) -> None:
        """Drop the ranges of a row that ended on `day` or before, which must lie before the window."""
        place, count = self._list(row)
        records = self._ranges.get(place, count)
        kept = packed.without_past(records, day)
        if len(kept) < count:
            self._set_list(row, self._ranges.replace(place, count, kept), len(kept))
        whole = self._whole.get(row, ())
        if any(stored.occupied_end <= day for stored in whole):
            self._set_whole(row, tuple(stored for stored in whole if stored.occupied_end > day))

    # Bits.

    def closed(self, rows: Rows, first: date, nights: int) -> Mask:
        """Which rows have a closed night among the `nights` from `first`; raises ValueError for nights without bits."""
        begin = first.toordinal()
        end = begin + nights
        if begin < self._nights.first or end > self._end:
            raise ValueError("nights without bits")
        if len(rows) == 0:
            return np.zeros(0, bool)
        lowest, highest = int(rows.min()) // BLOCK_ROWS, int(rows.max()) // BLOCK_ROWS
        bits = [self._nights.closed_in(number, begin, end) for number in range(lowest, highest + 1)]
        whole = bits[0] if len(bits) == 1 else np.concatenate([_filled(block) for block in bits])
        places = rows - lowest * BLOCK_ROWS if lowest else rows
        if len(rows) * FEW < len(whole) * 8:
            found: Mask = (whole[places >> 3] >> (places & 7).astype(np.uint8) & 1).astype(bool)
            return found
        return np.unpackbits(whole, bitorder="little").view(bool)[places]

    def overdue(self, now: datetime) -> Rows:
        """The rows with a hold or pending stay whose time is over but which still counts as taken."""
        while self._deadlines and self._deadlines[0][0] <= now:
            self._due.add(heappop(self._deadlines)[1])
        self._due = {row for row in self._due if any(stored.is_overdue(now) for stored in self._whole.get(row, ()))}
        return np.array(sorted(self._due), np.int64)

    def bits_agree(self, row: int) -> bool:
        """True when the bits of a row are what its ranges give."""
        first = self._nights.first
        return self._nights.get(row) & ((1 << (self._end - first)) - 1) == self._closed(row, first, self._end)

    def wrong_bits(self, start: int, end: int) -> Rows:
        """Those of the rows `[start, end)` whose bits are not what their ranges give; whole bytes of one block.

        `bits_agree` for many rows, far cheaper: ranges become steps up and down that are summed along the nights.
        """
        first, rows = self._nights.first, np.arange(start, end, dtype=np.int64)
        self._columns.make_room(end - 1)
        self._nights.make_room(end - 1)
        places, counts = (self._columns.at(name, rows).astype(np.int64) for name in ("place", "count"))
        whose = np.repeat(rows - start, counts)
        at = np.repeat(places - np.cumsum(counts) + counts, counts) + np.arange(len(whose))
        starts = self._ranges.field("start", at).astype(np.int64) + (packed.EPOCH - first)
        ends = starts + self._ranges.field("nights", at) + self._ranges.field("extra", at)
        here = self._whole.keys() & range(start, end)
        spans = [(row - start, *days) for row in here for days in _days(self._whole[row])]
        if spans:
            owners, more_starts, more_ends = np.array(spans, np.int64).T
            whose = np.concatenate((whose, owners))
            starts, ends = np.concatenate((starts, more_starts - first)), np.concatenate((ends, more_ends - first))
        starts -= self._columns.at("preparation_days", rows)[whose]
        kept = self._end - first
        # One more column takes the ends of what reaches beyond the last night.
        shape = len(rows), kept + 1
        up, down = (
            np.bincount(whose * shape[1] + np.clip(edges, 0, kept), minlength=shape[0] * shape[1])
            for edges in (starts, ends)
        )
        # Small numbers first: summing is cheap only in the type it is done in.
        steps = (up - down).astype(np.int16).reshape(shape)[:, :kept]
        closed = np.cumsum(steps, axis=1, dtype=np.int16) > 0
        bits = np.unpackbits(self._nights.dump(start, end), axis=1, bitorder="little")
        shown = np.roll(bits, -(first % len(bits)), axis=0)[:kept].T
        wrong: Rows = rows[(closed != shown).any(axis=1)]
        return wrong

    def roll(self, first: date) -> None:
        """Let the window begin on another day. Nights that were not in it before have no bits until the refill."""
        begin = first.toordinal()
        self._end = self._end if self._nights.first <= begin < self._end else begin
        self._nights.roll(begin)

    def refill(self, row: int) -> None:
        """Set the bits of a row for the nights that have none yet."""
        self._put_bits(row, self._end, self._nights.end)

    def refilled(self) -> None:
        """Every row was refilled since the window moved."""
        self._end = self._nights.end

    def _put_bits(self, row: int, start: int, end: int) -> None:
        start, end = max(start, self._nights.first), min(end, self._nights.end)
        if start < end:
            self._nights.put(row, self._closed(row, start, end), start, end)

    def _closed(self, row: int, start: int, end: int) -> int:
        days = self.preparation_days(row)
        records = packed.meeting(self._ranges.get(*self._list(row)), start, end + days)
        whole = self._whole.get(row)
        met = packed.whole_meeting(whole, start, end + days) if whole else ()
        return packed.closed_nights(records, met, days, start, end)

    # The snapshot file.

    def dump(self, rows: Rows, is_kept: Mask) -> tuple[dict[str, NDArray[Any]], dict[int, tuple[StoredRange, ...]]]:
        """Arrays of the consecutive `rows`, those not kept without ranges, and what is kept whole by row."""
        last = int(rows[-1])
        self._columns.make_room(last)
        self._nights.make_room(last)
        counts = np.where(is_kept, self._columns.at("count", rows), 0)
        arrays = {
            "range_counts": counts.astype("<u2"),
            "ranges": self._ranges.dump(self._columns.at("place", rows), counts),
            "preparation_days": self._columns.at("preparation_days", rows),
            "bits": self._nights.dump(int(rows[0]), last + 1),
        }
        kept = rows[is_kept].tolist() if self._whole else []
        return arrays, {row: self._whole[row] for row in kept if row in self._whole}

    def load(
        self, start: int, arrays: Mapping[str, NDArray[Any]], whole: Mapping[int, tuple[StoredRange, ...]]
    ) -> None:
        """Take up dumped rows from `start` on, whose window was the same. Raises ValueError for what is no dump."""
        counts = arrays["range_counts"]
        self._columns.fill("place", start, self._ranges.load(arrays["ranges"], counts))
        self._columns.fill("count", start, counts)
        self._columns.fill("preparation_days", start, arrays["preparation_days"])
        self._nights.make_room(start + len(counts) - 1)
        self._nights.load(start, arrays["bits"])
        for row, ranges in whole.items():
            self._set_whole(row, ranges)

    # Ranges.

    def _list(self, row: int) -> tuple[int, int]:
        return self._columns.get("place", row), self._columns.get("count", row)

    def _set_list(self, row: int, place: int, count: int) -> None:
        self._columns.set("place", row, place)
        self._columns.set("count", row, count)

    def _require_all(self, row: int, released: PackedRanges) -> None:
        places = [packed.place_of(stored) for stored in self._whole.get(row, ())]
        missing = [packed.place_of(stored) for stored in released.whole]
        if any(place not in places and place[2].toordinal() > self._nights.first for place in missing):
            raise RangeMissing(RangeMissing.__doc__)
        for record in released.each:
            is_here = self._ranges.find(*self._list(row), record) is not None
            if not is_here and packed.occupied_days(record)[1] > self._nights.first:
                raise RangeMissing(RangeMissing.__doc__)

    def _take_out(self, row: int, record: bytes) -> None:
        place, count = self._list(row)
        at = self._ranges.find(place, count, record)
        if at is not None:
            self._set_list(row, self._ranges.take_out(place, count, at), count - 1)

    def _put_in(self, row: int, record: bytes) -> None:
        place, count = self._list(row)
        self._set_list(row, self._ranges.append(place, count, packed.LAYOUT.unpack(record)), count + 1)

    def _set_whole(self, row: int, whole: tuple[StoredRange, ...]) -> None:
        self._due.discard(row)
        if not whole:
            self._whole.pop(row, None)
            return
        self._whole[row] = whole
        for stored in whole:
            if stored.expires_at is not None:
                heappush(self._deadlines, (stored.expires_at, row))


def _filled(bits: Bits) -> Bits:
    """The bits of a block, those of rows that it has no room for yet included."""
    missing = BLOCK_ROWS // 8 - len(bits)
    return bits if missing == 0 else np.pad(bits, (0, missing))


def _days(whole: Iterable[StoredRange]) -> list[tuple[int, int]]:
    return [(stored.occupied_start.toordinal(), stored.occupied_end.toordinal()) for stored in whole]
