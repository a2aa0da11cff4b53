"""Values by row in one array per name: what every property has, without an object for each. Used by the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST_ROWS = 1024
GROWTH_SHARE = 16
"""A full column grows by this part of itself: the rest is memory that nobody uses."""


class Columns:
    """Arrays of one length; a new row is all zeros. Nothing that is given out refers to them: they move when they grow.

    A name's type may be a pair of a type and a shape for several values per row.
    """

    def __init__(self, **types: DTypeLike) -> None:
        kinds = {name: np.dtype(kind) for name, kind in types.items()}
        self._columns: Mapping[str, NDArray[Any]] = {
            name: np.zeros((FIRST_ROWS, *kind.shape), kind.base) for name, kind in kinds.items()
        }
        self._size = FIRST_ROWS

    @property
    def nbytes(self) -> int:
        """The memory of all columns, used or not."""
        return sum(column.nbytes for column in self._columns.values())

    def make_room(self, row: int) -> None:
        """Have a row; rows up to it are there as well."""
        if row < self._size:
            return
        self._size = max(row + 1, self._size + self._size // GROWTH_SHARE)
        for column in self._columns.values():
            # Moves pages instead of copying them; safe because no view of the array is ever given out.
            column.resize((self._size, *column.shape[1:]), refcheck=False)

    def get(self, name: str, row: int) -> Any:
        """One value as a Python number (a list for several)."""
        return self._columns[name][row].tolist()

    def set(self, name: str, row: int, value: Any) -> None:
        """Replace one value."""
        self._columns[name][row] = value

    def at(self, name: str, rows: NDArray[np.integer]) -> NDArray[Any]:
        """The values of some rows, copied."""
        found: NDArray[Any] = self._columns[name][rows]
        return found

    def fill(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Replace the values of the rows from `start` on."""
        self.make_room(start + len(values) - 1)
        self._columns[name][start : start + len(values)] = values

    def head(self, name: str, count: int) -> NDArray[Any]:
        """The values of the first rows, copied."""
        return self._columns[name][:count].copy()
