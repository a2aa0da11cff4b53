"""Every property of a replica by row, packed: what is taken of it, what it is sold by, at which version; by the cache.

A hundred thousand properties are columns of numbers here, six bytes a range and a bit a night, in place of millions of
objects. `state` gives a property back as it was put; searches work on the columns. Nothing here awaits, and nothing
that is given out changes later.
"""

from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from availability.domain.arrays.columns import Columns
from availability.domain.arrays.interned import Interned
from availability.domain.packed_ranges import NO_RANGES
from availability.domain.property_calendar import CalendarState, Delta, Pricing, Profile
from availability.domain.selling.prepared_stays import MOST_ROWS, PreparedStay, PreparedStays
from availability.domain.selling.selling_table import SellingTable
from availability.domain.store.amenity_sets import AmenitySets
from availability.domain.store.property_index import PropertyIndex
from availability.domain.store.range_table import RangeTable
from rules.calendar import StoredRange
from rules.stay_rules import RequestedStay

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
LOW_MASK = 2**64 - 1
PARKED, GONE = 1, 2
STORED = (
    "high", "low", "version", "rules_version", "latitude", "longitude", "agency", "amenities", "partition", "use",
)  # fmt: skip
PART_ROWS = 1024
"""Rows of a part of the snapshot file: copying them keeps a reader waiting for two milliseconds at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows from `start` on for the snapshot file: arrays by name, shared values by name and number, and the ranges
    that are kept whole by row. Nothing in it refers to the store.
    """

    start: int
    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Mapping[int, Any]]
    whole: Mapping[int, tuple[StoredRange, ...]]


class PropertyStore:
    """Properties by row: `selling` has their terms, `taken` their ranges; `first` is the first night with bits.

    The row of a property stays the same until it is removed.
    """

    def __init__(self, first: date) -> None:
        self.selling = SellingTable()
        self.taken = RangeTable(first)
        self._index = PropertyIndex()
        self._rows = 0
        self._free: list[int] = []
        self._columns = Columns(
            high="<u8", low="<u8", version="<i8", rules_version="<i8", latitude="<f8", longitude="<f8",
            agency="<u4", amenities="<u4", partition="<u2", use="u1",
        )  # fmt: skip
        self._agencies: Interned[UUID] = Interned()
        self._members: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
        self._amenities = AmenitySets()
        self._hidden: set[int] = set()
        # What `rows_of` answers, until an agency's properties come, go, are parked or not any more.
        self._shown: dict[int, Rows] = {}
        self._prepared = PreparedStays(self.selling)

    def __len__(self) -> int:
        return len(self._index)

    # One property.

    def find(self, property_id: UUID) -> int | None:
        """The row of a property; None for an unknown one."""
        return self._index.find(property_id)

    def version(self, row: int) -> int:
        """The version shown of a row."""
        found: int = self._columns.get("version", row)
        return found

    def partition(self, row: int) -> int:
        """Where a row's changes are heard of."""
        found: int = self._columns.get("partition", row)
        return found

    def agency_id(self, row: int) -> UUID:
        """Whose property a row is."""
        return self._agencies[self._columns.get("agency", row)]

    def is_gone(self, row: int) -> bool:
        """True for a property that was deleted."""
        return bool(self._columns.get("use", row) & GONE)

    def park(self, row: int, *, is_parked: bool) -> None:
        """Leave a row out of searches, or take it in again."""
        use = self._columns.get("use", row)
        self._use(row, use | PARKED if is_parked else use & ~PARKED)

    def put(self, property_id: UUID, partition: int, state: CalendarState) -> int:
        """Keep a whole state in place of what there was, and not parked; its row."""
        row = self.find(property_id)
        is_new = row is None
        if row is None:
            row = self._new_row(property_id, state.agency_id)
        else:
            self._amenities.sets.give_back(self._columns.get("amenities", row))
            self._move(row, state.agency_id)
        profile, columns = state.profile, self._columns
        latitude, longitude = profile.location or (np.nan, np.nan)
        columns.set("version", row, state.version)
        columns.set("rules_version", row, state.rules_version)
        columns.set("partition", row, partition)
        columns.set("latitude", row, latitude)
        columns.set("longitude", row, longitude)
        columns.set("amenities", row, self._amenities.sets.take(profile.amenities))
        self._use(row, GONE if state.is_gone else 0)
        if is_new:
            self.selling.put(row, state.terms)
        elif state.terms != self.selling.terms(row):
            self.selling.drop(row)
            self.selling.put(row, state.terms)
            self._prepared.forget(columns.get("agency", row))
        self.taken.put(row, state.ranges, profile.preparation_days)
        return row

    def apply(self, row: int, delta: Delta) -> None:
        """Show the next version of a row, whose terms it does not change.

        Raises `RangeMissing` when it releases what is not here, and changes nothing then.
        """
        self.taken.apply(row, delta.released, delta.occupied)
        self._columns.set("version", row, delta.version)

    def remove(self, property_id: UUID) -> None:
        """Forget a property."""
        row = self._index.remove(property_id)
        if row is not None:
            self._amenities.sets.give_back(self._columns.get("amenities", row))
            self.selling.drop(row)
            self._leave(row)
            self.taken.put(row, NO_RANGES, 0)
            self._use(row, 0)
            self._columns.set("use", row, GONE)  # for those who look at all rows
            self._free.append(row)

    def state(self, row: int, start: date | None = None, end: date | None = None) -> CalendarState:
        """A row as it was put; with `start` and `end` only the ranges that can close a night of `[start, end)`."""
        columns, terms = self._columns, self.selling.terms(row)
        latitude, longitude = columns.get("latitude", row), columns.get("longitude", row)
        profile = Profile(
            self.taken.preparation_days(row),
            terms.conditions,
            terms.currency,
            None if np.isnan(latitude) else (latitude, longitude),
            self._amenities.sets[columns.get("amenities", row)],
        )
        return CalendarState(
            agency_id=self.agency_id(row),
            version=self.version(row),
            rules_version=columns.get("rules_version", row),
            profile=profile,
            rules=terms.rules,
            pricing=Pricing(terms.rates, terms.fees),
            ranges=self.taken.ranges(row, start, end),
            is_gone=self.is_gone(row),
        )

    # Many properties.

    def rows_of(self, agency_id: UUID) -> Rows:
        """The rows of an agency's properties that are neither parked nor gone, in the order they came; read only."""
        number = self._agencies.find(agency_id)
        if number is None:
            return np.empty(0, np.int64)
        shown = self._shown.get(number)
        if shown is None:
            rows = np.array(self._members[number], np.int64)
            shown = rows[self._columns.at("use", rows) == 0] if self._hidden else rows
            shown.flags.writeable = False
            self._shown[number] = shown
        return shown

    def prepared(self, rows: Rows, stay: RequestedStay) -> PreparedStay | None:
        """A stay at all rows of an agency, asked for again; None unless these are just `rows_of` it, and not many."""
        if not 0 < len(rows) <= MOST_ROWS:
            return None
        number = self._columns.get("agency", rows[0])
        return self._prepared.of(number, rows, stay) if self._shown.get(number) is rows else None

    def parked_of(self, agency_id: UUID) -> int:
        """How many properties of an agency are parked, as far as they were ever shown."""
        number = self._agencies.find(agency_id)
        if number is None or not self._hidden:
            return 0
        use = self._columns.at("use", np.array(self._members[number], np.int64))
        return int(np.count_nonzero(use == PARKED))

    def rows_in(self, start: int, end: int) -> Rows:
        """The rows in use among `[start, end)`, parked and gone ones included; for what goes over all of them."""
        rows = np.arange(start, min(end, self._rows), dtype=np.int64)
        return rows[~np.isin(rows, np.array(self._free, np.int64))] if self._free else rows

    @property
    def row_count(self) -> int:
        """All rows are below this number."""
        return self._rows

    def property_id(self, row: int) -> UUID:
        """The id of a row's property."""
        return UUID(int=self._columns.get("high", row) << 64 | self._columns.get("low", row))

    def ids(self, rows: Rows) -> list[UUID]:
        """The ids of the rows' properties."""
        highs, lows = self._columns.at("high", rows).tolist(), self._columns.at("low", rows).tolist()
        return [UUID(int=high << 64 | low) for high, low in zip(highs, lows, strict=True)]

    def id_halves(self, rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """The ids as pairs of numbers, the first being the more significant half."""
        return self._columns.at("high", rows), self._columns.at("low", rows)

    def versions(self, rows: Rows) -> NDArray[np.int64]:
        """The version shown of each row."""
        return self._columns.at("version", rows)

    def partitions(self, rows: Rows) -> NDArray[np.uint16]:
        """The partition of each row."""
        return self._columns.at("partition", rows)

    def places(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes in degrees, NaN where they are not known."""
        return self._columns.at("latitude", rows), self._columns.at("longitude", rows)

    def having(self, rows: Rows, amenities: Collection[str]) -> NDArray[np.bool_]:
        """Which rows have all these amenities."""
        return self._amenities.having(self._columns.at("amenities", rows), amenities)

    def page(self, cursor: UUID | None, limit: int) -> list[int]:
        """Up to `limit` rows neither parked nor gone, in the order of their properties' ids beyond `cursor`."""
        highs, lows = self._columns.head("high", self._rows), self._columns.head("low", self._rows)
        is_wanted = self._columns.head("use", self._rows) == 0
        if cursor is not None:
            high, low = np.uint64(cursor.int >> 64), np.uint64(cursor.int & LOW_MASK)
            is_wanted &= (highs > high) | ((highs == high) & (lows > low))
        (rows,) = np.nonzero(is_wanted)
        if len(rows) > limit:
            # The halves of ids may be equal: all that share the last one's half are looked at.
            last = np.partition(highs[rows], limit - 1)[limit - 1]
            rows = rows[highs[rows] <= last]
        found: list[int] = rows[np.lexsort((lows[rows], highs[rows]))][:limit].tolist()
        return found

    # The snapshot file.

    def dump(self, start: int, unfinished: Collection[int]) -> Part:
        """The rows `[start, start + PART_ROWS)`, without those that are parked or among the `unfinished`."""
        rows = np.arange(start, min(start + PART_ROWS, -(-self._rows // 8) * 8), dtype=np.int64)
        self._columns.make_room(int(rows[-1]))
        is_kept = self._is_used(rows) & (self._columns.at("use", rows) & PARKED == 0)
        is_kept &= ~np.isin(rows, list(unfinished))
        arrays = {name: self._columns.at(name, rows) for name in STORED}
        terms, values = self.selling.dump(rows, is_kept)
        taken, whole = self.taken.dump(rows, is_kept)
        values["agency"] = self._agencies.values(arrays["agency"][is_kept])
        values["amenities"] = self._amenities.sets.values(arrays["amenities"][is_kept])
        return Part(start, {**arrays, **terms, **taken, "is_kept": is_kept}, values, whole)

    def load(self, part: Part) -> None:
        """Take up dumped rows, part after part, into a store that was empty and whose window is that of the dump.

        Raises ValueError or KeyError for what is no dump; the store is of no use then.
        """
        arrays, start = part.arrays, part.start
        is_kept = arrays["is_kept"]
        if start != self._rows:
            raise ValueError("parts that do not follow each other")
        self._rows = start + len(is_kept)
        rows = np.arange(start, self._rows, dtype=np.int64)
        for name in STORED:
            self._columns.fill(name, start, arrays[name])
        for name, shared in (("agency", self._agencies), ("amenities", self._amenities.sets)):
            self._columns.fill(name, start, shared.take_all(arrays[name], is_kept, part.values[name]))
        self._columns.fill("use", start, np.where(is_kept, arrays["use"], GONE))
        self.selling.load(start, arrays, part.values, is_kept)
        self.taken.load(start, arrays, part.whole)
        for row in rows[~is_kept].tolist():
            self.taken.put(row, NO_RANGES, 0)
            self._free.append(row)
        kept = rows[is_kept]
        agencies = self._columns.at("agency", kept)
        for number in np.bincount(agencies).nonzero()[0].tolist():
            self._members[number].extend(kept[agencies == number].tolist())
        self._hidden.update(rows[is_kept & (arrays["use"] != 0)].tolist())
        self._shown.clear()

    def loaded(self) -> None:
        """All parts are there: properties can be found. Raises ValueError when one is there twice."""
        is_used = np.ones(self._rows, bool)
        is_used[np.array(self._free, np.int64)] = False
        rows = is_used.nonzero()[0]
        self._index = PropertyIndex.of(self._columns.at("high", rows), self._columns.at("low", rows), rows)

    def _is_used(self, rows: Rows) -> Mask:
        return (rows < self._rows) & ~np.isin(rows, np.array(self._free, np.int64))

    @property
    def nbytes(self) -> dict[str, int]:
        """The memory of the parts in bytes, used or not: `bits` of the nights, `ranges`, `terms` and `columns`."""
        bits, ranges = self.taken.nbytes
        return {"bits": bits, "ranges": ranges, "terms": self.selling.nbytes, "columns": self._columns.nbytes}

    def _new_row(self, property_id: UUID, agency_id: UUID) -> int:
        if self._free:
            row = self._free.pop()
        else:
            row, self._rows = self._rows, self._rows + 1
            self._columns.make_room(row)
        self._index.add(property_id, row)
        self._columns.set("high", row, property_id.int >> 64)
        self._columns.set("low", row, property_id.int & LOW_MASK)
        self._join(row, agency_id)
        return row

    def _move(self, row: int, agency_id: UUID) -> None:
        if self.agency_id(row) != agency_id:
            self._leave(row)
            self._join(row, agency_id)

    def _join(self, row: int, agency_id: UUID) -> None:
        number = self._agencies.take(agency_id)
        self._columns.set("agency", row, number)
        self._members[number].append(row)
        self._forget(number)

    def _leave(self, row: int) -> None:
        number = self._columns.get("agency", row)
        self._members[number].remove(row)
        self._forget(number)
        self._agencies.give_back(number)

    def _forget(self, agency: int) -> None:
        """An agency has other rows than before, or they have other terms."""
        self._shown.pop(agency, None)
        self._prepared.forget(agency)

    def _use(self, row: int, use: int) -> None:
        if use != self._columns.get("use", row):
            self._forget(self._columns.get("agency", row))
        self._columns.set("use", row, use)
        if use:
            self._hidden.add(row)
        else:
            self._hidden.discard(row)
