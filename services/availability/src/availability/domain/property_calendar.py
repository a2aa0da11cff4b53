"""One property's calendar as its changes arrive: what is shown, what waits, when it is parked; called by the cache.

A change is shown when it is the next version and its commit is complete. A gap parks the property: nothing is shown of
it until a whole state that reaches the gap arrives. Every step returns a new calendar; none can fail.
"""

from dataclasses import dataclass, field, replace
from uuid import UUID

from availability.domain.packed_ranges import NO_RANGES, PackedRanges
from rules.checks import Sellable
from rules.quotes import Fees, Rates
from rules.stay_rules import SellingConditions, SellingTerms, StayRules

# Changes one property may wait with while it is parked or its commit is incomplete; beyond it they are forgotten and
# the state of booking that ends the wait must reach further.
MAX_WAITING = 500


@dataclass(frozen=True, slots=True)
class Profile:
    """The parts of a property's profile that answers depend on; `location` is (latitude, longitude) in degrees."""

    preparation_days: int
    conditions: SellingConditions
    currency: str
    location: tuple[float, float] | None = None
    amenities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pricing:
    """What nights cost, and the fees beside."""

    rates: Rates = field(default_factory=Rates)
    fees: Fees = field(default_factory=Fees)


@dataclass(frozen=True, slots=True)
class CalendarState:
    """One property as committed at `version`; `ranges` are its active stored ranges."""

    agency_id: UUID
    version: int
    rules_version: int
    profile: Profile
    rules: StayRules = field(default_factory=StayRules)
    pricing: Pricing = field(default_factory=Pricing)
    ranges: PackedRanges = NO_RANGES
    is_gone: bool = False

    @property
    def terms(self) -> SellingTerms:
        """What the property is sold by."""
        profile, pricing = self.profile, self.pricing
        return SellingTerms(profile.conditions, self.rules, pricing.rates, pricing.fees, profile.currency)

    @property
    def sellable(self) -> Sellable:
        """What a stay of the property is checked against."""
        return Sellable(self.terms, self.profile.preparation_days, self.ranges.stored)

    def after(self, delta: "Delta") -> "CalendarState":
        """The state at the version of `delta`, which must be the next one."""
        return CalendarState(
            agency_id=self.agency_id,
            version=delta.version,
            rules_version=self.rules_version if delta.rules_version is None else delta.rules_version,
            profile=delta.profile or self.profile,
            rules=self.rules if delta.rules is None else delta.rules,
            pricing=delta.pricing or self.pricing,
            ranges=self.ranges.changed(delta.released, delta.occupied),
            is_gone=self.is_gone or delta.removes,
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """One change. `commit_version` is the last version of the same commit; `released` are stored ranges.

    A section (profile, rules, pricing) that did not change is None.
    """

    agency_id: UUID
    version: int
    commit_version: int
    occupied: PackedRanges = NO_RANGES
    released: PackedRanges = NO_RANGES
    profile: Profile | None = None
    rules: StayRules | None = None
    pricing: Pricing | None = None
    rules_version: int | None = None
    removes: bool = False

    @property
    def changes_nights_only(self) -> bool:
        """True for a commit of its own that leaves the property's terms as they are."""
        sections = (self.profile, self.rules, self.pricing, self.rules_version)
        return self.commit_version <= self.version and not self.removes and sections == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class PropertyCalendar:
    """What is known of one property. `shown` is None until a whole state arrived; `partition` is where it is heard of.

    `waiting` are consecutive versions above `shown`: of an incomplete commit, or beyond a gap.
    """

    partition: int
    shown: CalendarState | None = None
    waiting: tuple[Delta, ...] = ()

    @property
    def is_parked(self) -> bool:
        """True when something is missing that only a whole state can bring."""
        if self.shown is None:
            return True
        return bool(self.waiting) and self.waiting[0].version != self.shown.version + 1

    @property
    def heard(self) -> int:
        """The highest version heard of; 0 for none."""
        if self.waiting:
            return self.waiting[-1].version
        return self.shown.version if self.shown is not None else 0

    def with_delta(self, delta: Delta) -> "PropertyCalendar":
        """After a change: the next version joins, a lower or equal one is dropped, a gap starts the wait anew."""
        if delta.version <= self.heard:
            return self
        joins = delta.version == self.heard + 1 and len(self.waiting) < MAX_WAITING
        return replace(self, waiting=(*self.waiting, delta) if joins else (delta,))._settled()

    def with_state(self, state: CalendarState, heard_before: int = 0) -> "PropertyCalendar":
        """After a whole state: it replaces a lower or equal version, and what waits above it goes on waiting.

        A state read from the ledger is newer than whatever was heard before the reading began: `heard_before` is
        `heard` of that moment, and changes up to it do not wait on (a version that never was committed would park the
        property for ever).
        """
        if self.shown is not None and state.version < self.shown.version:
            return self
        covered = max(state.version, heard_before)
        waiting = tuple(delta for delta in self.waiting if delta.version > covered)
        return replace(self, shown=state, waiting=waiting)._settled()

    def distrusted(self) -> "PropertyCalendar":
        """After a change that could not be read: nothing is shown until a whole state arrives."""
        return PropertyCalendar(self.partition)

    def _settled(self) -> "PropertyCalendar":
        """Shows every complete commit that continues what is shown."""
        shown = self.shown if self.shown is not None else _unborn(self.waiting)
        if shown is None:
            return self
        reached, settled = shown, 0
        for count, delta in enumerate(self.waiting, start=1):
            if delta.version != reached.version + 1:
                break
            reached = reached.after(delta)
            if delta.version >= delta.commit_version:
                shown, settled = reached, count
        if settled == 0:
            return self
        return replace(self, shown=shown, waiting=self.waiting[settled:])


def _unborn(waiting: tuple[Delta, ...]) -> CalendarState | None:
    """What precedes a property's creation, which is version 1 and brings the profile."""
    if not waiting or waiting[0].profile is None:
        return None
    return CalendarState(waiting[0].agency_id, version=0, rules_version=0, profile=waiting[0].profile)
