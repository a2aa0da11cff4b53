"""A property's ranges in six bytes each: most of what a property takes up in memory. Used by the property store.

The ids of a range are not kept: no two active ranges of a property overlap, so its nights say which one it is, and an
answer never names one. Holds and pending stays, whose end and holder count, and what does not fit are kept whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from struct import Struct
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from rules.calendar import DAY_ZERO, StoredRange, closed_bits, digest_line, digest_of, line_of

RECORD = np.dtype([("start", "<u2"), ("nights", "<u2"), ("extra", "u1"), ("kind", "u1")])
"""`start` counts days from EPOCH, `extra` the nights that are occupied after the stay."""
LAYOUT = Struct("<HHBB")
EPOCH = DAY_ZERO.toordinal()
NO_ID = UUID(int=0)
KINDS = ("reservation", "block", "conflict")
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class PackedRanges:
    """Some ranges: records one behind the other, and those that are kept whole."""

    records: bytes = b""
    whole: tuple[StoredRange, ...] = ()

    @property
    def stored(self) -> tuple[StoredRange, ...]:
        """The ranges; those that were packed have no ids any more."""
        return (*(_unpacked(*record) for record in LAYOUT.iter_unpack(self.records)), *self.whole)

    @property
    def each(self) -> list[bytes]:
        """The records one by one."""
        size = LAYOUT.size
        return [self.records[at : at + size] for at in range(0, len(self.records), size)]

    def digest(self, after: date) -> str:
        """`rules.calendar.digest` of these ranges."""
        end = after.toordinal() - EPOCH
        lines = [
            digest_line(KINDS[kind], start, start + nights, start, start + nights + extra)
            for start, nights, extra, kind in LAYOUT.iter_unpack(self.records)
            if start + nights + extra > end
        ]
        return digest_of(lines + [line_of(stored) for stored in self.whole if stored.occupied_end > after])

    def changed(self, released: "PackedRanges", occupied: "PackedRanges") -> "PackedRanges":
        """Without those released (one that is not there is ignored), with those occupied."""
        gone, gone_whole = set(released.each), {place_of(stored) for stored in released.whole}
        return PackedRanges(
            b"".join(record for record in self.each if record not in gone) + occupied.records,
            tuple(stored for stored in self.whole if place_of(stored) not in gone_whole) + occupied.whole,
        )


NO_RANGES = PackedRanges()


def record_of(kind: str, stay_start: int, stay_end: int, occupied_start: int, occupied_end: int) -> bytes | None:
    """The record of a range that does not expire, its dates as numbers of days; None when it must be kept whole."""
    start, number = stay_start - EPOCH, NUMBERS.get(kind)
    is_whole = number is None or occupied_start != stay_start or not 0 <= start < 2**16
    if is_whole or not (0 < stay_end - stay_start < 2**16 and 0 <= occupied_end - stay_end < 2**8):
        return None
    return LAYOUT.pack(start, stay_end - stay_start, occupied_end - stay_end, number)


def occupied_days(record: bytes) -> tuple[int, int]:
    """The days `[first, end)` a record occupies, as `date.toordinal` numbers them."""
    start, nights, extra, _ = LAYOUT.unpack(record)
    return EPOCH + start, EPOCH + start + nights + extra


def place_of(stored: StoredRange) -> tuple[str, date, date]:
    """What tells an active range from the others of its property."""
    return stored.kind, stored.occupied_start, stored.occupied_end


def meeting(records: Records, start: int, end: int) -> Records:
    """Those whose occupied nights meet the days `[start, end)`, which are numbered as `date.toordinal` does."""
    found: Records = records[(records["start"] < end - EPOCH) & (_ends(records) > start - EPOCH)]
    return found


def whole_meeting(whole: Sequence[StoredRange], start: int, end: int) -> tuple[StoredRange, ...]:
    """`meeting` for ranges that are kept whole."""
    return tuple(
        stored
        for stored in whole
        if stored.occupied_start.toordinal() < end and stored.occupied_end.toordinal() > start
    )


def without_past(records: Records, day: date) -> Records:
    """Those that are occupied beyond `day`."""
    return records[_ends(records) > day.toordinal() - EPOCH]


def closed_nights(records: Records, whole: Sequence[StoredRange], preparation_days: int, first: int, end: int) -> int:
    """Bitmap of the closed nights `[first, end)`, which are numbered as `date.toordinal` does; overdue holds among the
    ranges kept whole count as well.
    """
    starts, ends = records["start"].astype(np.int64) + (EPOCH - first), _ends(records) + (EPOCH - first)
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    for stored in whole:
        spans.append((stored.occupied_start.toordinal() - first, stored.occupied_end.toordinal() - first))
    return closed_bits(spans, preparation_days, end - first)


def _unpacked(start: int, nights: int, extra: int, kind: int) -> StoredRange:
    first, end = date.fromordinal(EPOCH + start), date.fromordinal(EPOCH + start + nights)
    occupied_end = end if extra == 0 else date.fromordinal(EPOCH + start + nights + extra)
    return StoredRange(NO_ID, KINDS[kind], NO_ID, first, end, first, occupied_end)


def _ends(records: Records) -> NDArray[np.int64]:
    ends: NDArray[np.int64] = records["start"].astype(np.int64) + records["nights"] + records["extra"]
    return ends
