"""Owns packing plain ranges for tests of availability's memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from availability.domain.packed_ranges import PackedRanges, record_of
from rules.calendar import StoredRange


def packed(ranges: Iterable[StoredRange]) -> PackedRanges:
    """Ranges, packed as far as they can be."""
    records, whole = [], []
    for stored in ranges:
        days = (stored.stay_start, stored.stay_end, stored.occupied_start, stored.occupied_end)
        record = record_of(stored.kind, *map(date.toordinal, days)) if stored.expires_at is None else None
        if record is None:
            whole.append(stored)
        else:
            records.append(record)
    return PackedRanges(b"".join(records), tuple(whole))
