"""Dated rates by row: lists whose records hold an amount in two halves, which are read faster; by the selling table."""

from collections.abc import Iterable
from datetime import date

import numpy as np
from numpy.typing import NDArray

from availability.domain.selling.dated_lists import EPOCH, DatedLists, Places
from rules.quotes import DatedRate

RATE = np.dtype([("start", "<u2"), ("end", "<u2"), ("low", "<u4"), ("high", "<u4")])
HALF = 32


class DatedRates(DatedLists):
    """Lists of RATE records; an amount that needs its higher half is rare."""

    def __init__(self) -> None:
        super().__init__(RATE)
        self._has_high = False

    def put(self, row: int, records: NDArray[np.void]) -> None:
        """Keep the list of a row that has none."""
        super().put(row, records)
        self._has_high = self._has_high or bool(records["high"].any())

    def load(self, start: int, counts: NDArray[np.uint16], records: NDArray[np.void]) -> None:
        """Take up dumped lists for the rows from `start` on. Raises ValueError for what is no dump."""
        super().load(start, counts, records)
        self._has_high = self._has_high or bool(records["high"].any())

    def amounts(self, places: Places) -> NDArray[np.int64]:
        """The rates at these places in minor units; 0 at a guard."""
        found: NDArray[np.int64] = self.field("low", places).astype(np.int64)
        if self._has_high:
            found += self.field("high", places).astype(np.int64) << HALF
        return found


def packed_rates(rates: Iterable[DatedRate]) -> NDArray[np.void]:
    """The records of dated rates, in their order."""
    return np.array(
        [
            (
                one.start_date.toordinal() - EPOCH,
                one.end_date.toordinal() - EPOCH,
                one.rate_minor & (1 << HALF) - 1,
                one.rate_minor >> HALF,
            )
            for one in rates
        ],
        RATE,
    )


def unpacked_rates(records: NDArray[np.void]) -> tuple[DatedRate, ...]:
    """The dated rates of records."""
    return tuple(
        DatedRate(date.fromordinal(EPOCH + start), date.fromordinal(EPOCH + end), low | high << HALF)
        for start, end, low, high in records.tolist()
    )
