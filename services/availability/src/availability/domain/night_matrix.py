"""A bit for each property and night: is the night closed? What searches ask of a hundred thousand properties at once.

Used by the property store. The matrix is day-major: a row of bytes per night, a bit per property, so that a stay of n
nights is n rows or-ed. Nights live in a ring: when a day is over, its row becomes that of a new last night.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

WINDOW_NIGHTS = 800
STEP_ROWS = 8192
BLOCK_ROWS = 65_536
"""Properties of one block: growing copies one block, at most six megabytes, never the whole."""

Bits = NDArray[np.uint8]


class NightMatrix:
    """Closed nights of `[first, first + WINDOW_NIGHTS)`, by row and night. A new row is open throughout."""

    def __init__(self, first: date) -> None:
        self._first = first.toordinal()
        self._blocks: list[Bits] = []

    @property
    def first(self) -> date:
        """The first night that is kept."""
        return date.fromordinal(self._first)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self._blocks)

    @property
    def nbytes(self) -> int:
        """The memory of all blocks."""
        return sum(block.nbytes for block in self._blocks)

    def make_room(self, row: int) -> None:
        """Have a row; rows up to it are there as well."""
        number, within = divmod(row, BLOCK_ROWS)
        while len(self._blocks) <= number:
            self._blocks.append(np.zeros((WINDOW_NIGHTS, STEP_ROWS // 8), np.uint8))
        block = self._blocks[number]
        if within < block.shape[1] * 8:
            return
        grown = np.zeros((WINDOW_NIGHTS, (within // STEP_ROWS + 1) * STEP_ROWS // 8), np.uint8)
        grown[:, : block.shape[1]] = block
        self._blocks[number] = grown

    @property
    def end(self) -> date:
        """The first night that is not kept any more."""
        return date.fromordinal(self._first + WINDOW_NIGHTS)

    def put(self, row: int, closed: int, first: date, nights: int) -> None:
        """Set the nights from `first` of a row, those outside the matrix left out; bit i of `closed` is `first + i`."""
        skipped = max(self._first - first.toordinal(), 0)
        begin = first.toordinal() + skipped
        count = min(nights - skipped, self._first + WINDOW_NIGHTS - begin)
        if count <= 0:
            return
        packed = (closed >> skipped & (1 << count) - 1).to_bytes(-(-count // 8), "little")
        flags = np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little")
        number, within = divmod(row, BLOCK_ROWS)
        bit = np.uint8(1 << within % 8)
        column = self._blocks[number][:, within // 8]
        done = 0
        for start, end in _stretches(begin, count):
            part = column[start:end]
            part[...] = (part & ~bit) | flags[done : done + end - start] * bit
            done += end - start

    def close(self, row: int, first: date, end: date) -> None:
        """Close the nights `[first, end)` of a row, those outside the matrix left out."""
        begin = max(first.toordinal(), self._first)
        count = min(end.toordinal(), self._first + WINDOW_NIGHTS) - begin
        number, within = divmod(row, BLOCK_ROWS)
        column, bit = self._blocks[number][:, within // 8], np.uint8(1 << within % 8)
        for start, stop in _stretches(begin, count):
            column[start:stop] |= bit

    def get(self, row: int) -> int:
        """All nights of a row: bit i is the night `first + i`."""
        number, within = divmod(row, BLOCK_ROWS)
        column = self._blocks[number][:, within // 8]
        nights = np.roll(column >> np.uint8(within % 8) & np.uint8(1), -(self._first % WINDOW_NIGHTS))
        return int.from_bytes(np.packbits(nights, bitorder="little").tobytes(), "little")

    def closed_in(self, number: int, first: date, nights: int) -> Bits:
        """Which rows of a block have a closed night among the `nights` from `first`: a bit per row, least significant
        first. All nights must be kept.
        """
        begin = first.toordinal()
        if begin < self._first or begin + nights > self._first + WINDOW_NIGHTS:
            raise ValueError("nights outside the matrix")
        block, parts = self._blocks[number], list(_stretches(begin, nights))
        closed: Bits = np.bitwise_or.reduce(block[slice(*parts[0])], axis=0)
        for start, end in parts[1:]:
            closed |= np.bitwise_or.reduce(block[start:end], axis=0)
        return closed

    def roll(self, first: date) -> None:
        """Keep the nights from another day on; those that were not kept before are open until rows are put again."""
        steps = first.toordinal() - self._first
        dropped = range(self._first, first.toordinal()) if steps > 0 else range(first.toordinal(), self._first)
        for day in dropped[:WINDOW_NIGHTS]:
            for block in self._blocks:
                block[day % WINDOW_NIGHTS] = 0
        self._first = first.toordinal()


def _stretches(begin: int, count: int) -> Iterator[tuple[int, int]]:
    """Where in the ring so many nights from a day's number on are."""
    if count <= 0:
        return
    start, end = begin % WINDOW_NIGHTS, (begin + count - 1) % WINDOW_NIGHTS + 1
    if start < end:
        yield start, end
    else:
        yield start, WINDOW_NIGHTS
        yield 0, end
