"""Use cases of how a property is sold: its profile's changes, stay rules, rates and fees, quotes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from booking.domain.errors import TermsRefused
from booking.domain.inventory import refuse_deleted
from booking.domain.model import Change, LedgerState, Property, PropertyTerms
from booking.domain.terms import DatedValue, lay_over_rates, lay_over_rules
from booking.repository.writes import Written
from booking.service import properties
from booking.service.judging import require_rules
from booking.service.writing import Decision, Deps, under_lock
from rules.quotes import Fees, Quote, Rates, quote
from rules.stay_rules import RequestedStay, StayRules
from runtime.kafka import partition_of
from runtime.postgres import Connection, transaction

STAY_RULES = frozenset({"stay_rules"})
RATES = frozenset({"rates"})

Selling = tuple[Property, PropertyTerms]
Refusals = list[str | None]


async def modify(deps: Deps, agency_id: UUID, property_id: UUID, fields: Mapping[str, Any]) -> Property:
    """Change fields of a property's profile. Stored ranges keep the preparation days they were written with."""

    def decide(owner: Property, terms: PropertyTerms) -> tuple[Property, PropertyTerms, frozenset[str]]:
        changed = replace(owner, **fields)
        return changed, terms, frozenset() if changed == owner else frozenset({"profile"})

    return (await _change(deps, agency_id, property_id, decide))[0]


async def put_stay_rules(
    deps: Deps, agency_id: UUID, property_id: UUID, rules: StayRules, dated: Sequence[DatedValue]
) -> Selling:
    """Replace the stay rules by `rules` with `dated` laid over, or `TermsRefused`."""
    whole, refusals = lay_over_rules(rules, dated)
    _require_none(refusals)
    return await _change(deps, agency_id, property_id, lambda owner, terms: _with_rules(owner, terms, whole))


async def lay_stay_rules(
    deps: Deps, agency_id: UUID, property_id: UUID, dated: Sequence[DatedValue]
) -> tuple[Selling, Refusals]:
    """Lay dated rules over those the property has, and say why an item was refused."""
    refusals: Refusals = []

    def decide(owner: Property, terms: PropertyTerms) -> tuple[Property, PropertyTerms, frozenset[str]]:
        laid, refusals[:] = lay_over_rules(terms.rules, dated)
        return _with_rules(owner, terms, laid)

    return await _change(deps, agency_id, property_id, decide), refusals


async def put_rates(
    deps: Deps, agency_id: UUID, property_id: UUID, rates: Rates, fees: Fees, dated: Sequence[DatedValue]
) -> Selling:
    """Replace rates and fees by these with `dated` laid over, or `TermsRefused`."""
    whole, refusals = lay_over_rates(rates, dated)
    _require_none(refusals)
    return await _change(deps, agency_id, property_id, lambda owner, terms: _with_rates(owner, terms, whole, fees))


async def lay_rates(
    deps: Deps, agency_id: UUID, property_id: UUID, dated: Sequence[DatedValue]
) -> tuple[Selling, Refusals]:
    """Lay dated rates over those the property has, and say why an item was refused."""
    refusals: Refusals = []

    def decide(owner: Property, terms: PropertyTerms) -> tuple[Property, PropertyTerms, frozenset[str]]:
        laid, refusals[:] = lay_over_rates(terms.rates, dated)
        return _with_rates(owner, terms, laid, terms.fees)

    return await _change(deps, agency_id, property_id, decide), refusals


async def get(deps: Deps, agency_id: UUID, property_id: UUID) -> Selling:
    """A property with its rules, rates and fees, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await _existing(deps, connection, agency_id, property_id)


async def quote_stay(
    deps: Deps, connection: Connection, agency_id: UUID, property_id: UUID, stay: RequestedStay, now: datetime
) -> tuple[Property, Quote | None]:
    """What a stay costs now; None when the property is sold unpriced. Raises `StayRulesViolated`, `NotFound`."""
    owner, terms = await _existing(deps, connection, agency_id, property_id)
    require_rules(owner, terms, stay, now)
    return owner, quote(terms.selling(owner), stay)


Decide = Callable[[Property, PropertyTerms], tuple[Property, PropertyTerms, frozenset[str]]]


async def _change(deps: Deps, agency_id: UUID, property_id: UUID, decide: Decide) -> Selling:
    """One change of a property; nothing is written when no section changed."""

    async def decide_change(connection: Connection, state: LedgerState) -> Decision:
        refuse_deleted(state.property)
        present = await deps.terms.of(state.property, connection)
        owner, terms, sections = decide(state.property, present)
        if not sections:
            return Decision([])
        change = Change(property_id, "PropertyChanged", property=owner, sections=sections)
        return Decision([change if sections == {"profile"} else replace(change, terms=terms)])

    async def finish(connection: Connection, _: Written) -> Selling:
        return await _existing(deps, connection, agency_id, property_id)

    return await under_lock(
        deps, agency_id, property_id, decide_change, finish, shard=partition_of(str(property_id), deps.partitions)
    )


async def _existing(deps: Deps, connection: Connection, agency_id: UUID, property_id: UUID) -> Selling:
    owner = await properties.existing(connection, agency_id, property_id)
    return owner, await deps.terms.of(owner, connection)


def _require_none(refusals: Refusals) -> None:
    for index, refusal in enumerate(refusals):
        if refusal is not None:
            raise TermsRefused(f"body.dated.{index}: {refusal}")


def _with_rules(
    owner: Property, terms: PropertyTerms, rules: StayRules
) -> tuple[Property, PropertyTerms, frozenset[str]]:
    return owner, replace(terms, rules=rules), frozenset() if rules == terms.rules else STAY_RULES


def _with_rates(
    owner: Property, terms: PropertyTerms, rates: Rates, fees: Fees
) -> tuple[Property, PropertyTerms, frozenset[str]]:
    changed = replace(terms, rates=rates, fees=fees)
    return owner, changed, frozenset() if changed == terms else RATES
