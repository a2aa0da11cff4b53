"""A property's ranges in six bytes each: most of what a property takes up in memory. Used by the property store.

The ids of a range are not kept: no two active ranges of a property overlap, so its nights say which one it is, and an
answer never names one. Holds and pending stays, whose end and holder count, and what does not fit are kept whole.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from struct import Struct
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from rules.calendar import StoredRange, closed_bits

RECORD = np.dtype([("start", "<u2"), ("nights", "<u2"), ("extra", "u1"), ("kind", "u1")])
"""`start` counts days from EPOCH, `extra` the nights that are occupied after the stay."""
EPOCH = date(1999, 1, 1).toordinal()
NO_ID = UUID(int=0)
KINDS = ("reservation", "block", "conflict")
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
LAYOUT = Struct("<HHBB")

Records = NDArray[np.void]


def is_packable(stored: StoredRange) -> bool:
    """Whether a range can be kept in a record."""
    if stored.expires_at is not None or stored.kind not in NUMBERS or stored.occupied_start != stored.stay_start:
        return False
    start, nights, extra, _ = record_of(stored)
    return 0 <= start < 2**16 and 0 < nights < 2**16 and 0 <= extra < 2**8


def record_of(stored: StoredRange) -> tuple[int, int, int, int]:
    """The record of a range that is packable."""
    start, end = stored.stay_start.toordinal(), stored.stay_end.toordinal()
    return start - EPOCH, end - start, stored.occupied_end.toordinal() - end, NUMBERS[stored.kind]


def pack(ranges: Iterable[StoredRange]) -> Records:
    """The records of ranges that are packable."""
    return np.array([record_of(stored) for stored in ranges], RECORD)


def bytes_of(stored: StoredRange) -> bytes:
    """The record of a range that is packable, as it lies in memory."""
    return LAYOUT.pack(*record_of(stored))


def unpack(records: Records) -> list[StoredRange]:
    """The ranges of records; their ids are not known."""
    found = []
    for start, nights, extra, kind in records.tolist():
        first, end = date.fromordinal(EPOCH + start), date.fromordinal(EPOCH + start + nights)
        occupied_end = end if extra == 0 else date.fromordinal(EPOCH + start + nights + extra)
        found.append(StoredRange(NO_ID, KINDS[kind], NO_ID, first, end, first, occupied_end))
    return found


def meeting(records: Records, start: date, end: date) -> Records:
    """Those whose occupied nights meet `[start, end)`."""
    first = start.toordinal() - EPOCH
    return records[(records["start"] < end.toordinal() - EPOCH) & (_ends(records) > first)]


def without_past(records: Records, day: date) -> Records:
    """Those that are occupied beyond `day`."""
    return records[_ends(records) > day.toordinal() - EPOCH]


def closed_nights(
    records: Records, whole: Sequence[StoredRange], preparation_days: int, first: date, nights: int
) -> int:
    """Bitmap of the closed nights from `first`; overdue holds among the ranges kept whole count as well."""
    base = first.toordinal() - EPOCH
    starts, ends = records["start"].astype(np.int64) - base, _ends(records) - base
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    spans += [((stored.occupied_start - first).days, (stored.occupied_end - first).days) for stored in whole]
    return closed_bits(spans, preparation_days, nights)


def _ends(records: Records) -> NDArray[np.int64]:
    ends: NDArray[np.int64] = records["start"].astype(np.int64) + records["nights"] + records["extra"]
    return ends
