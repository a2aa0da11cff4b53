"""Lays bulk changes of dated rules and rates over those a property has; called by service."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from rules.dated import MAX_DATED, DatedRange, EmptyDateRange, put_over
from rules.quotes import DatedRate, Rates
from rules.stay_rules import DatedStayRule, StayRule, StayRules

TOO_MANY = f"A property has at most {MAX_DATED} dated entries."

Entry = TypeVar("Entry", bound=DatedRange)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class DatedValue:
    """One item of a bulk change: for `[start_date, end_date)` this rule or rate holds, None clears the dates."""

    start_date: date
    end_date: date
    value: StayRule | int | None


def lay_over_rules(rules: StayRules, items: Sequence[DatedValue]) -> tuple[StayRules, list[str | None]]:
    """The rules after the items, and per item why it was refused (None: applied)."""

    def make(start: date, end: date, rule: object) -> DatedStayRule:
        if not isinstance(rule, StayRule):
            raise TypeError("a stay rule was expected")
        return DatedStayRule(start, end, rule)

    # A rule that says nothing clears the dates.
    cleaned = [replace(item, value=None) if item.value == StayRule() else item for item in items]
    dated, refusals = _lay_over(rules.dated, cleaned, make)
    return replace(rules, dated=dated), refusals


def lay_over_rates(rates: Rates, items: Sequence[DatedValue]) -> tuple[Rates, list[str | None]]:
    """The rates after the items, and per item why it was refused (None: applied)."""

    def make(start: date, end: date, rate: object) -> DatedRate:
        if not isinstance(rate, int):
            raise TypeError("a rate was expected")
        return DatedRate(start, end, rate)

    dated, refusals = _lay_over(rates.dated, items, make)
    return replace(rates, dated=dated), refusals


def _lay_over(
    entries: tuple[Entry, ...], items: Iterable[DatedValue], make: Callable[[date, date, object], Entry]
) -> tuple[tuple[Entry, ...], list[str | None]]:
    refusals: list[str | None] = []
    for item in items:
        try:
            laid = put_over(entries, item.start_date, item.end_date, item.value, make)
        except EmptyDateRange as error:
            refusals.append(str(error))
            continue
        is_too_many = len(laid) > MAX_DATED
        refusals.append(TOO_MANY if is_too_many else None)
        entries = entries if is_too_many else laid
    return entries, refusals
