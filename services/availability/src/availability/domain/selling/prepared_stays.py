"""What a stay costs at an agency's properties, and which of them allow it: remembered while nobody's terms change.

Used by the property store. Guests ask for the same dates again and again, and what is taken meanwhile changes neither
rates nor rules. Dates that are asked for once are not prepared: that takes longer than to judge what else is left.
"""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from availability.domain.selling.selling_table import Mask, Rows, SellingTable
from rules.stay_rules import RequestedStay

MOST_ROWS = 4096
"""More properties are judged a part at a time: all at once would keep others waiting."""
MOST_BYTES = 64 * 2**20
MOST_ASKED = 4096
"""Stays of which it is known that they were asked for once."""

_Key = tuple[int, date, date]


@dataclass(frozen=True, slots=True)
class PreparedStay:
    """One stay at each of some rows: whether rules and rates allow it, and what its rates add up to in minor units.

    `is_priced` is None where all that allow it have a price.
    """

    is_allowed: Mask
    accommodation: NDArray[np.unsignedinteger]
    is_priced: Mask | None

    @property
    def nbytes(self) -> int:
        """The memory it takes."""
        priced = 0 if self.is_priced is None else self.is_priced.nbytes
        return self.is_allowed.nbytes + self.accommodation.nbytes + priced


class PreparedStays:
    """Stays by agency and dates, those that were asked for last."""

    def __init__(self, selling: SellingTable) -> None:
        self._selling = selling
        self._known: OrderedDict[_Key, PreparedStay] = OrderedDict()
        self._of_agency: defaultdict[int, set[_Key]] = defaultdict(set)
        self._asked: OrderedDict[_Key, None] = OrderedDict()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """The memory of all of them."""
        return self._nbytes

    def of(self, agency: int, rows: Rows, stay: RequestedStay) -> PreparedStay | None:
        """The stay at all rows of an agency, whatever the number of persons; None when it is asked for once."""
        key = (agency, stay.check_in, stay.check_out)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        if key not in self._asked:
            self._asked[key] = None
            if len(self._asked) > MOST_ASKED:
                self._asked.popitem(last=False)
            return None
        self._asked.move_to_end(key)
        found = self._prepared(rows, stay)
        self._known[key] = found
        self._of_agency[agency].add(key)
        self._nbytes += found.nbytes
        while self._nbytes > MOST_BYTES:
            self._drop(next(iter(self._known)))
        return found

    def forget(self, agency: int) -> None:
        """Terms of an agency's rows have changed, or there are others."""
        for key in tuple(self._of_agency.get(agency, ())):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        self._nbytes -= self._known.pop(key).nbytes
        keys = self._of_agency[key[0]]
        keys.discard(key)
        if not keys:
            del self._of_agency[key[0]]

    def _prepared(self, rows: Rows, stay: RequestedStay) -> PreparedStay:
        accommodation, is_whole, is_priced = self._selling.accommodation(rows, stay)
        is_allowed = is_whole | ~is_priced
        is_allowed &= self._selling.follows_rules(rows, stay)
        amounts: NDArray[np.unsignedinteger] = np.where(is_allowed & is_priced, accommodation, 0).astype(np.uint64)
        if amounts.max(initial=0) < 2**32:
            amounts = amounts.astype(np.uint32)
        return PreparedStay(is_allowed, amounts, None if is_whole[is_allowed].all() else is_priced)
