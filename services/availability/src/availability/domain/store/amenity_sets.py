"""Sets of amenities by number: equal ones once, and which of thousands have what is asked for; used by the store."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from availability.domain.arrays.interned import Interned

MOST_NAMES = 64
"""Names for which it is remembered which sets have them: searches ask for few, and for the same ones again."""
SPARE_SHARE = 4


class AmenitySets:
    """`sets` by number."""

    def __init__(self) -> None:
        self.sets: Interned[frozenset[str]] = Interned(self._note)
        # Per name, by number of the set: does it have the name? The one asked for last is the last.
        self._having: dict[str, NDArray[np.bool_]] = {}

    def having(self, numbers: NDArray[np.integer], wanted: Iterable[str]) -> NDArray[np.bool_]:
        """Which of the sets have all that is wanted."""
        found = np.ones(len(numbers), bool)
        for name in wanted:
            found &= self._sets_with(name)[numbers]
        return found

    def _sets_with(self, name: str) -> NDArray[np.bool_]:
        known = self._having.pop(name, None)
        if known is None:
            count = self.sets.count
            known = np.zeros(count + count // SPARE_SHARE + 1, bool)
            for number, amenities in self.sets.items():
                known[number] = name in amenities
            if len(self._having) == MOST_NAMES:
                del self._having[next(iter(self._having))]
        self._having[name] = known
        return known

    def _note(self, number: int, amenities: frozenset[str]) -> None:
        if any(number >= len(known) for known in self._having.values()):
            self._having.clear()
        for name, known in self._having.items():
            known[number] = name in amenities
