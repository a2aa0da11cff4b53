"""Turns a property's stored ranges into open nights, closed ranges and digests; the only place that does.

Called by booking (digests), availability (answers, digests) and channel-sync (pushes). A night n is open
when `[n, n + 1 + preparation_days)` meets no active `occupied` range, so a gap too short for its preparation is closed
everywhere. Nights are numbered from an origin date; bit i of a bitmap is the night `origin + i days`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

PREPARATION = "preparation"
HOLD = "hold"
DAY_ZERO = date(1999, 1, 1)
"""Digests count days from here."""
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

DigestLine = tuple[int, int, str]
"""The first occupied day, the first day of the stay, and all of a range as text; sorted as tuples are."""


@dataclass(frozen=True, slots=True)
class StoredRange:
    """One active range of the ledger: `stay` as asked for, `occupied` with its preparation days; half-open dates."""

    range_id: UUID
    kind: str
    source_id: UUID
    stay_start: date
    stay_end: date
    occupied_start: date
    occupied_end: date
    expires_at: datetime | None = None

    def is_overdue(self, now: datetime) -> bool:
        """True for a hold or pending stay whose time is over: it holds nothing any more."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class ClosedRange:
    """Nights `[start, end)` that cannot be sold, and why."""

    start: date
    end: date
    kind: str


@dataclass(frozen=True, slots=True)
class NightRun:
    """Consecutive nights `[start, end)` that are all open or all closed."""

    start: date
    end: date
    is_open: bool


def occupied_bits(ranges: Iterable[StoredRange], origin: date, nights: int, now: datetime) -> int:
    """Bitmap of the nights that meet an `occupied` range, overdue ones left out."""
    return _bits(_spans(ranges, origin, now), nights)


def open_bits(ranges: Iterable[StoredRange], preparation_days: int, origin: date, nights: int, now: datetime) -> int:
    """Bitmap of the open nights among the `nights` from `origin`."""
    return ~closed_bits(_spans(ranges, origin, now), preparation_days, nights) & ((1 << nights) - 1)


def closed_bits(spans: Iterable[tuple[int, int]], preparation_days: int, nights: int) -> int:
    """Bitmap of the closed nights among `nights`; each span is an `occupied` range as numbers of nights, half-open."""
    occupied = _bits(spans, nights + preparation_days)
    closed = 0
    for shift in range(preparation_days + 1):
        closed |= occupied >> shift
    return closed & ((1 << nights) - 1)


def is_open(
    ranges: Iterable[StoredRange], preparation_days: int, check_in: date, check_out: date, now: datetime
) -> bool:
    """True when every night of the stay is open."""
    nights = (check_out - check_in).days
    return open_bits(ranges, preparation_days, check_in, nights, now) == (1 << nights) - 1


def night_runs(
    ranges: Iterable[StoredRange], preparation_days: int, start: date, end: date, now: datetime
) -> list[NightRun]:
    """The nights `[start, end)` as alternating open and closed runs; empty for an empty window."""
    nights = (end - start).days
    bits = open_bits(ranges, preparation_days, start, nights, now)
    return [
        NightRun(start + timedelta(days=first), start + timedelta(days=last), is_open_run)
        for first, last, is_open_run in _runs(bits, nights)
    ]


def closed_ranges(
    ranges: Iterable[StoredRange], preparation_days: int, start: date, end: date, now: datetime
) -> list[ClosedRange]:
    """Why nights of `[start, end)` are closed: each stay with its kind, and `preparation` for the rest.

    The nights in no answer range are exactly the open nights. Sorted by start.
    """
    nights = (end - start).days
    active = [stored for stored in ranges if not stored.is_overdue(now)]
    answer: list[ClosedRange] = []
    named = 0
    for stored in active:
        first, last = max(stored.stay_start, start), min(stored.stay_end, end)
        if first < last:
            answer.append(ClosedRange(first, last, stored.kind))
            named |= _bits([((first - start).days, (last - start).days)], nights)
    rest = ~open_bits(active, preparation_days, start, nights, now) & ~named & ((1 << nights) - 1)
    answer += [
        ClosedRange(start + timedelta(days=first), start + timedelta(days=last), PREPARATION)
        for first, last, is_set in _runs(rest, nights)
        if is_set
    ]
    return sorted(answer, key=lambda closed: (closed.start, closed.end))


def digest(ranges: Iterable[StoredRange], after: date) -> str:
    """Fingerprint of the stored ranges whose `occupied` ends after a date; comparable only at equal versions.

    The ids of ranges are no part of it, nor the source of one that is no hold: a cache need not keep those. Booking
    computes the same in SQL (`select_digest_page`), and a test compares the two.
    """
    return digest_of(line_of(stored) for stored in ranges if stored.occupied_end > after)


def digest_of(lines: Iterable[DigestLine]) -> str:
    """Fingerprint of ranges by their lines, in any order: 32 hexadecimal digits."""
    return hashlib.md5("\n".join(text for _, _, text in sorted(lines)).encode(), usedforsecurity=False).hexdigest()


def digest_line(
    kind: str,
    stay_start: int,
    stay_end: int,
    occupied_start: int,
    occupied_end: int,
    expires_ms: int | None = None,
    holder: UUID | None = None,
) -> DigestLine:
    """One range for `digest_of`, from numbers; for who keeps its ranges as such.

    Dates are days since `DAY_ZERO`, `expires_ms` is unix milliseconds rounded down, `holder` the source of a hold.
    """
    ends = "-" if expires_ms is None else expires_ms
    text = f"{kind} {stay_start} {stay_end} {occupied_start} {occupied_end} {ends} {holder or '-'}"
    return occupied_start, stay_start, text


def line_of(stored: StoredRange) -> DigestLine:
    """One range for `digest_of`."""
    zero = DAY_ZERO.toordinal()
    return digest_line(
        stored.kind,
        stored.stay_start.toordinal() - zero,
        stored.stay_end.toordinal() - zero,
        stored.occupied_start.toordinal() - zero,
        stored.occupied_end.toordinal() - zero,
        None if stored.expires_at is None else (stored.expires_at - _UNIX_EPOCH) // _MILLISECOND,
        stored.source_id if stored.kind == HOLD else None,
    )


def _spans(ranges: Iterable[StoredRange], origin: date, now: datetime) -> Iterator[tuple[int, int]]:
    for stored in ranges:
        if not stored.is_overdue(now):
            yield (stored.occupied_start - origin).days, (stored.occupied_end - origin).days


def _bits(spans: Iterable[tuple[int, int]], nights: int) -> int:
    """Bitmap of the nights of these spans; a replica runs through this for every property it takes up."""
    bits = 0
    for first, last in spans:
        low = first if first > 0 else 0
        high = last if last < nights else nights
        if low < high:
            bits |= (1 << high) - (1 << low)
    return bits


def _runs(bits: int, length: int) -> Iterator[tuple[int, int, bool]]:
    position = 0
    while position < length:
        value = bits >> position & 1
        rest = bits >> position
        inverted = ~rest if value else rest
        run = (inverted & -inverted).bit_length() - 1 if inverted else length
        last = min(position + run, length)
        yield position, last, bool(value)
        position = last
