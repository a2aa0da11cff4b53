"""What a property is sold by, parsed once per rules_version and process; called by the use cases that judge stays."""

from collections import OrderedDict
from uuid import UUID

from booking.domain.model import Property, PropertyTerms
from booking.repository.terms import select_terms
from runtime.postgres import Connection, Pool, transaction

CAPACITY = 2000


class TermsCache:
    """The terms of the properties used last. A rules_version never comes again, so an entry cannot be wrong."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, PropertyTerms]] = OrderedDict()

    async def of(self, owner: Property, connection: Connection) -> PropertyTerms:
        """The terms at the property's rules_version, or newer ones when they moved since it was read.

        Who then writes by them without the property's lock is refused, because the version moved.
        """
        kept = self._kept.get(owner.id)
        if kept is None or kept[0] != owner.rules_version:
            kept = await select_terms(connection, owner.id) or (owner.rules_version, PropertyTerms())
            self._kept[owner.id] = kept
            if len(self._kept) > CAPACITY:
                self._kept.popitem(last=False)
        self._kept.move_to_end(owner.id)
        return kept[1]

    async def outside(self, owner: Property, pool: Pool) -> PropertyTerms:
        """`of` for who holds no connection; it takes one only when the terms moved."""
        kept = self._kept.get(owner.id)
        if kept is not None and kept[0] == owner.rules_version:
            self._kept.move_to_end(owner.id)
            return kept[1]
        async with transaction(pool, owner.agency_id) as connection:
            return await self.of(owner, connection)
