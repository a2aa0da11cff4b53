"""Equal values once: what many properties share is kept one time, and a property has its number. Used by the store."""

from array import array
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=Hashable)


class Interned(Generic[Value]):
    """Values by number; a number is given to another value once nobody uses it any more.

    `note` is called with every number that gets a value.
    """

    def __init__(self, note: Callable[[int, Value], None] | None = None) -> None:
        self._note = note
        self._numbers: dict[Value, int] = {}
        self._values: list[Value | None] = []
        self._uses = array("I")
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def count(self) -> int:
        """All numbers are below this one."""
        return len(self._values)

    def items(self) -> Iterator[tuple[int, Value]]:
        """Every number in use and its value."""
        return ((number, value) for value, number in self._numbers.items())

    def take(self, value: Value) -> int:
        """The number of a value, used once more."""
        number = self._numbers.get(value)
        if number is None:
            number = self._new(value)
        self._uses[number] += 1
        return number

    def find(self, value: Value) -> int | None:
        """The number of a value that is in use."""
        return self._numbers.get(value)

    def give_back(self, number: int) -> None:
        """A number is used once less."""
        self._uses[number] -= 1
        if self._uses[number] == 0:
            del self._numbers[self[number]]
            self._values[number] = None
            self._free.append(number)

    def values(self, numbers: NDArray[np.integer]) -> dict[int, Value]:
        """The values with these numbers, each once."""
        return {number: self[number] for number in np.unique(numbers).tolist()}

    def take_all(
        self, numbers: NDArray[np.integer], is_kept: NDArray[np.bool_], values: Mapping[int, Value]
    ) -> NDArray[np.uint32]:
        """`take` for each that is kept of a dump's numbers, whose values it names; 0 for the others.

        Raises KeyError for a number without a value.
        """
        found = np.zeros(len(numbers), np.uint32)
        kept = numbers[is_kept]
        if kept.max(initial=0) > max(values, default=0):
            raise KeyError(int(kept.max()))
        counts = np.bincount(kept)
        here = np.zeros(len(counts), np.uint32)
        for number in counts.nonzero()[0].tolist():
            here[number] = self.take(values[number])
            self._uses[here[number]] += int(counts[number]) - 1
        found[is_kept] = here[kept]
        return found

    def __getitem__(self, number: int) -> Value:
        value = self._values[number]
        if value is None:
            raise KeyError(number)
        return value

    def _new(self, value: Value) -> int:
        if self._free:
            number = self._free.pop()
            self._values[number] = value
        else:
            number = len(self._values)
            self._values.append(value)
            self._uses.append(0)
        self._numbers[value] = number
        if self._note is not None:
            self._note(number, value)
        return number


def by_number(numbers: NDArray[np.integer], count: int, judge: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """`judge` of each of the numbers; it is asked once for all `count` numbers there are where they are fewer."""
    return judge(np.arange(count))[numbers] if count < len(numbers) else judge(numbers)
