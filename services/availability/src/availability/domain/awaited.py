"""Versions booking told of that memory had not reached: asked about again when they must have arrived. By anti-entropy.

A page of digests may well tell of a change whose event is still on its way. Once a watermark of its partition is later
than the page was read, the event was sent and read before it, or it was lost.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID


class Awaited:
    """Each property once, with the first version it was found to lack, per partition in the order of the pages."""

    def __init__(self) -> None:
        self._lines: defaultdict[int, dict[UUID, tuple[int, datetime]]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, partition: int, property_id: UUID, version: int, told_at: datetime) -> None:
        """A page read before `told_at` tells of a version; one that is awaited already keeps its turn."""
        self._lines[partition].setdefault(property_id, (version, told_at))

    def due(self, partition: int, as_of: datetime) -> Iterator[tuple[UUID, int]]:
        """The properties and versions that must have arrived by a watermark, which are forgotten here with that."""
        line = self._lines[partition]
        while line:
            property_id = next(iter(line))
            version, told_at = line[property_id]
            if told_at > as_of:
                return
            del line[property_id]
            yield property_id, version
