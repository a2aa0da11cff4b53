"""What a property is sold by, parsed once per rules_version and process; called by the use cases that judge stays."""

from collections import OrderedDict
from uuid import UUID

from booking.domain.model import Property, PropertyTerms
from booking.repository.terms import select_terms
from runtime.postgres import Connection

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
        self._keep(owner.id, kept)
        return kept[1]

    def known(self, property_id: UUID) -> int | None:
        """The rules_version of the terms kept for a property."""
        kept = self._kept.get(property_id)
        return kept[0] if kept is not None else None

    def seen(self, owner: Property, terms: PropertyTerms | None) -> PropertyTerms | None:
        """The terms read with a property, kept; with None those kept before, if they are of its rules_version."""
        if terms is not None:
            self._keep(owner.id, (owner.rules_version, terms))
            return terms
        kept = self._kept.get(owner.id)
        return kept[1] if kept is not None and kept[0] == owner.rules_version else None

    def _keep(self, property_id: UUID, kept: tuple[int, PropertyTerms]) -> None:
        self._kept[property_id] = kept
        self._kept.move_to_end(property_id)
        if len(self._kept) > CAPACITY:
            self._kept.popitem(last=False)
