"""Entries for ranges of dates, sorted and apart: finds the one of a day, lays a new one over; called by booking.

Every function expects and keeps the normal form: sorted by start, no two entries share a date, and neighbours that
touch say different things. `rules.stay_rules` and `rules.rates` look their dated entries up here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from operator import attrgetter
from typing import TypeVar

MAX_DATED = 800
"""Most dated entries one property may have, rules and rates each; whoever stores them refuses more."""

_start_of = attrgetter("start_date")
_end_of = attrgetter("end_date")


class EmptyDateRange(ValueError):
    """The end date must lie after the start date."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True, slots=True)
class DatedRange:
    """What is said for the dates `[start_date, end_date)`; subclasses add the one field that says it, third."""

    start_date: date
    end_date: date


Entry = TypeVar("Entry", bound=DatedRange)
Value = TypeVar("Value")


def entry_on(entries: Sequence[Entry], day: date) -> Entry | None:
    """The entry whose dates hold `day`; found by bisection."""
    index = bisect_right(entries, day, key=_start_of)
    if index == 0 or entries[index - 1].end_date <= day:
        return None
    return entries[index - 1]


def put_over(
    existing: Sequence[Entry],
    start: date,
    end: date,
    value: Value | None,
    make: Callable[[date, date, Value], Entry],
) -> tuple[Entry, ...]:
    """The entries after `value` is laid over `[start, end)`: what was said for these dates before is gone.

    `None` clears the dates. `make` is the class of the entries. An entry that reaches beyond the dates is cut, touching
    neighbours that say the same become one; so one call adds at most two entries, and laying a list over nothing, item
    by item, brings it into the normal form (of two items for one date the later wins). Only the entries that meet or
    touch the dates are looked at. Raises `EmptyDateRange`.
    """
    if end <= start:
        raise EmptyDateRange
    first = bisect_left(existing, start, key=_end_of)
    last = bisect_right(existing, end, key=_start_of)
    met = existing[first:last]
    pieces = [_cut(entry, entry.start_date, start) for entry in met if entry.start_date < start]
    if value is not None:
        pieces.append(make(start, end, value))
    pieces += [_cut(entry, end, entry.end_date) for entry in met if entry.end_date > end]
    return (*existing[:first], *_merged(pieces), *existing[last:])


def _merged(pieces: Sequence[Entry]) -> list[Entry]:
    merged: list[Entry] = []
    for piece in pieces:
        if merged and merged[-1].end_date == piece.start_date:
            both = _cut(merged[-1], merged[-1].start_date, piece.end_date)
            if both == _cut(piece, both.start_date, both.end_date):
                merged[-1] = both
                continue
        merged.append(piece)
    return merged


def _cut(entry: Entry, start: date, end: date) -> Entry:
    return (
        entry if (entry.start_date, entry.end_date) == (start, end) else replace(entry, start_date=start, end_date=end)
    )
