"""What a property is sold by, parsed once per rules_version and process; called by the use cases that judge stays."""

from collections import OrderedDict
from uuid import UUID

from booking.domain.model import Property, PropertyTerms
from booking.repository.terms import NO_TERMS, KnownTerms, select_terms
from runtime.postgres import Connection

CAPACITY = 2000


class TermsCache:
    """The terms of the properties used last. A rules_version never comes again, so an entry cannot be wrong."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, KnownTerms] = OrderedDict()

    async def of(self, owner: Property, connection: Connection) -> PropertyTerms:
        """The terms at the property's rules_version, or newer ones when they moved since it was read.

        Who then writes by them without the property's lock is refused, because the version moved.
        """
        kept = self.kept(owner.id)
        if kept is None or kept[0] != owner.rules_version:
            kept = await select_terms(connection, owner.id) or (owner.rules_version, NO_TERMS)
        self.keep(owner.id, kept)
        return kept[1]

    def kept(self, property_id: UUID) -> KnownTerms | None:
        """The terms of a property as they were seen last."""
        return self._kept.get(property_id)

    def keep(self, property_id: UUID, terms: KnownTerms) -> None:
        """Keep terms that were read, in the place of those that were not used for longest."""
        self._kept[property_id] = terms
        self._kept.move_to_end(property_id)
        if len(self._kept) > CAPACITY:
            self._kept.popitem(last=False)
