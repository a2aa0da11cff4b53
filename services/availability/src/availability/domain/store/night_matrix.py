"""A bit for each property and night: is the night closed? What searches ask of a hundred thousand properties at once.

Used by the property store. The matrix is day-major: a row of bytes per night, a bit per property, so that a stay of n
nights is n rows or-ed. Nights live in a ring: when a day is over, its row becomes that of a new last night.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WINDOW_NIGHTS = 800
STEP_ROWS = 1024
BLOCK_ROWS = 65_536
"""Properties of one block: growing copies one block, at most six megabytes, never the whole."""

Bits = NDArray[np.uint8]


class NightMatrix:
    """Closed nights of `[first, end)`, WINDOW_NIGHTS of them, by row and night. A new row is open throughout.

    Nights are numbered as `date.toordinal` does.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._blocks: list[Bits] = []

    @property
    def first(self) -> int:
        """The first night that is kept."""
        return self._first

    @property
    def end(self) -> int:
        """The first night that is not kept any more."""
        return self._first + WINDOW_NIGHTS

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

    def put(self, row: int, closed: int, first: int, end: int) -> None:
        """Set the nights `[first, end)` of a row, as far as they are kept; bit i of `closed` is night `first + i`."""
        begin = max(first, self._first)
        count = min(end, self.end) - begin
        if count <= 0:
            return
        packed = (closed >> (begin - first) & (1 << count) - 1).to_bytes(-(-count // 8), "little")
        flags = np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little")
        number, within = divmod(row, BLOCK_ROWS)
        bit = np.uint8(1 << within % 8)
        column = self._blocks[number][:, within // 8]
        done = 0
        for start, end in _stretches(begin, count):
            part = column[start:end]
            part[...] = (part & ~bit) | flags[done : done + end - start] * bit
            done += end - start

    def close(self, row: int, first: int, end: int) -> None:
        """Close the nights `[first, end)` of a row, those outside the matrix left out."""
        begin = max(first, self._first)
        count = min(end, self.end) - begin
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

    def closed_in(self, number: int, first: int, end: int) -> Bits:
        """Which rows of a block have a closed night in `[first, end)`: a bit per row, least significant first.

        Raises ValueError unless all these nights are kept.
        """
        if not self._first <= first < end <= self.end:
            raise ValueError("nights outside the matrix")
        block, parts = self._blocks[number], list(_stretches(first, end - first))
        closed: Bits = np.bitwise_or.reduce(block[slice(*parts[0])], axis=0)
        for start, end in parts[1:]:
            closed |= np.bitwise_or.reduce(block[start:end], axis=0)
        return closed

    def dump(self, start: int, end: int) -> Bits:
        """The bits of the rows `[start, end)`, whole bytes of one block, a row of them for each night of the ring."""
        number, within = divmod(start, BLOCK_ROWS)
        return self._blocks[number][:, within // 8 : within // 8 + (end - start) // 8].copy()

    def load(self, start: int, bits: Bits) -> None:
        """Take up the bits of rows from `start` on, dumped from a matrix with the same nights."""
        number, within = divmod(start, BLOCK_ROWS)
        self._blocks[number][:, within // 8 : within // 8 + bits.shape[1]] = bits

    def roll(self, first: int) -> None:
        """Keep the nights from another day on; those that were not kept before are open until rows are put again."""
        dropped = range(self._first, first) if first > self._first else range(first, self._first)
        for day in dropped[:WINDOW_NIGHTS]:
            for block in self._blocks:
                block[day % WINDOW_NIGHTS] = 0
        self._first = first


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
