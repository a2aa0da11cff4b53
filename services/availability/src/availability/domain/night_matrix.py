"""A bit for each property and night: is the night closed? What searches ask of a hundred thousand properties at once.

Used by the property store. The matrix is day-major: a row of bytes per night, a bit per property, so that a stay of n
nights is n rows or-ed. Nights live in a ring: when a day is over, its row becomes that of a new last night.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

WINDOW_NIGHTS = 800
SPARE_NIGHTS = 8
"""Nights beyond the window that are kept too: a new day's last night is filled long before it is asked for."""
RING = WINDOW_NIGHTS + SPARE_NIGHTS
FIRST_ROWS = 4096
BLOCK_ROWS = 65_536
"""Properties of one block: growing copies one block, at most six megabytes, never the whole."""

Bits = NDArray[np.uint8]


class NightMatrix:
    """Closed nights of `[first, first + RING)`, by row and night. A new row is open throughout."""

    def __init__(self, first: date) -> None:
        self._first = first.toordinal()
        self._blocks: list[Bits] = []

    @property
    def first(self) -> date:
        """The first night that is kept."""
        return date.fromordinal(self._first)

    @property
    def nbytes(self) -> int:
        """The memory of all blocks."""
        return sum(block.nbytes for block in self._blocks)

    def make_room(self, row: int) -> None:
        """Have a row; rows up to it are there as well."""
        number, within = divmod(row, BLOCK_ROWS)
        while len(self._blocks) <= number:
            self._blocks.append(np.zeros((RING, FIRST_ROWS // 8), np.uint8))
        block = self._blocks[number]
        if within < block.shape[1] * 8:
            return
        grown = np.zeros((RING, min(max(block.shape[1] * 2, within // 8 + 1), BLOCK_ROWS // 8)), np.uint8)
        grown[:, : block.shape[1]] = block
        self._blocks[number] = grown

    def put(self, row: int, closed: int) -> None:
        """Set all nights of a row; bit i of `closed` is the night `first + i`."""
        number, within = divmod(row, BLOCK_ROWS)
        column = self._blocks[number][:, within // 8]
        bits = np.frombuffer(closed.to_bytes(RING // 8, "little"), np.uint8)
        nights = np.roll(np.unpackbits(bits, bitorder="little"), self._first % RING)
        bit = np.uint8(1 << within % 8)
        column[...] = (column & ~bit) | nights * bit

    def get(self, row: int) -> int:
        """All nights of a row, as `put` takes them."""
        number, within = divmod(row, BLOCK_ROWS)
        column = self._blocks[number][:, within // 8]
        nights = np.roll(column >> np.uint8(within % 8) & np.uint8(1), -(self._first % RING))
        return int.from_bytes(np.packbits(nights, bitorder="little").tobytes(), "little")

    def closed_in(self, first: date, nights: int) -> Iterator[Bits]:
        """Per block, which rows have a closed night among the `nights` from `first`: a bit per row, least significant
        first. All nights must be kept.
        """
        begin = first.toordinal()
        if begin < self._first or begin + nights > self._first + RING:
            raise ValueError("nights outside the matrix")
        start, end = begin % RING, (begin + nights - 1) % RING + 1
        for block in self._blocks:
            if start < end:
                yield np.bitwise_or.reduce(block[start:end], axis=0)
            else:
                yield np.bitwise_or.reduce(block[start:], axis=0) | np.bitwise_or.reduce(block[:end], axis=0)

    def roll(self, first: date) -> None:
        """Keep the nights from a later day on; the new last ones are open until rows are put again."""
        steps = min(first.toordinal() - self._first, RING)
        for step in range(steps):
            for block in self._blocks:
                block[(self._first + step) % RING] = 0
        self._first = max(self._first, first.toordinal())
