"""What every property is sold by, by row: kept small, judged and priced for thousands of properties in one pass.

Used by the property store. The rules themselves are those of `rules`: `terms` gives them back exactly, `follows_rules`
and `prices` are the same judgement over columns, which tests hold against `judge` and `quote`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from availability.domain.arrays.columns import Columns
from availability.domain.arrays.interned import Interned, by_number
from availability.domain.selling.dated_lists import EPOCH, DatedLists, Places
from availability.domain.selling.dated_rates import DatedRates, packed_rates, unpacked_rates
from availability.domain.selling.night_walk import NightWalk, RateWalk, Terms
from availability.domain.selling.packed_terms import (
    ANY_LENGTH,
    CLOSED_TO_ARRIVAL,
    CLOSED_TO_DEPARTURE,
    DISCOUNT,
    NO_RATE,
    RULE,
    STOP_SELL,
    flags_of,
    lengths_of,
    packed_discounts,
    packed_rules,
    unpacked_rules,
)
from availability.domain.selling.sold_conditions import ConditionsTable
from rules.quotes import Fees, Rates
from rules.stay_rules import RequestedStay, SellingConditions, SellingTerms, StayRule, StayRules

MONDAY = date(2024, 1, 1)
WHOLE = 10_000

Rows = NDArray[np.int64]
Amounts = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Levels:
    """The rules below the dated ones."""

    default: StayRule
    weekday: tuple[tuple[int, StayRule], ...]


@dataclass(frozen=True, slots=True)
class RateLevels:
    """The rates below the dated ones."""

    default_minor: int | None
    weekday_minor: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a stay costs, by row: a total in minor units holds where every night has a rate (`is_whole`); a row that is
    not `is_priced` is sold without a price.
    """

    total: Amounts
    is_whole: Mask
    is_priced: Mask


@dataclass(frozen=True, slots=True)
class StayFees:
    """Fees of one kind of stay, by row: basis points off the rates (None for none), `added` to what is left."""

    points: Amounts | None
    added: Amounts

    def total(self, accommodation: Amounts) -> Amounts:
        """What stays cost whose rates add up to this."""
        total: Amounts = accommodation + self.added
        if self.points is not None:
            total -= (accommodation * self.points + WHOLE // 2) // WHOLE
        return total


class SellingTable:
    """Terms by row; `conditions` are those of the profiles, by the number `condition_numbers` tells."""

    def __init__(self) -> None:
        self.conditions = ConditionsTable()
        self._levels: Interned[Levels] = Interned(self._note_levels)
        self._rate_levels: Interned[RateLevels] = Interned(self._note_rate_levels)
        self._fees: Interned[Fees] = Interned(self._note_fees)
        self._shared: Mapping[str, Interned[Any]] = {
            "conditions": self.conditions.values,
            "levels": self._levels,
            "rate_levels": self._rate_levels,
            "fees": self._fees,
        }
        self._rules, self._rates, self._discounts = DatedLists(RULE), DatedRates(), DatedLists(DISCOUNT)
        self._dated: Mapping[str, DatedLists] = {"rules": self._rules, "rates": self._rates}
        self._columns = Columns(**dict.fromkeys(self._shared, "<u4"))
        # By number of `_levels` and `_rate_levels`: what holds on each weekday, from Monday on.
        self._stay_levels = Columns(
            arrival=("<i2", (7,)), through=("<i2", (7,)), longest=("<i2", (7,)), flags=("u1", (7,))
        )
        self._nightly = Columns(rate=("<i8", (7,)), is_priced="?")
        # By number of `_fees`; nobody is extra where `included` is ANY_LENGTH.
        self._extra = Columns(cleaning="<i8", per_guest="<i8", included="<i8")

    @property
    def nbytes(self) -> int:
        """The memory of the columns and dated entries, used or not."""
        return self._columns.nbytes + self._rules.nbytes + self._rates.nbytes

    def put(self, row: int, terms: SellingTerms) -> None:
        """Keep the terms of a row that has none."""
        self._columns.make_room(row)
        rules, rates = terms.rules, terms.rates
        levels = Levels(rules.default, tuple(sorted(rules.weekday.items())))
        rate_levels = RateLevels(rates.default_minor, tuple(sorted(rates.weekday_minor.items())))
        self._set(row, "conditions", self.conditions.values.take((terms.conditions, terms.currency)))
        self._set(row, "levels", self._levels.take(levels))
        self._set(row, "rate_levels", self._rate_levels.take(rate_levels))
        self._set(row, "fees", self._fees.take(terms.fees))
        self._rules.put(row, packed_rules(rules.dated))
        self._rates.put(row, packed_rates(rates.dated))

    def drop(self, row: int) -> None:
        """Forget the terms of a row."""
        for name, shared in self._shared.items():
            shared.give_back(self._get(row, name))
        for lists in self._dated.values():
            lists.drop(row)

    def terms(self, row: int) -> SellingTerms:
        """The terms of a row, as they were put."""
        conditions, currency = self.conditions.values[self._get(row, "conditions")]
        levels = self._levels[self._get(row, "levels")]
        rate_levels = self._rate_levels[self._get(row, "rate_levels")]
        return SellingTerms(
            conditions,
            StayRules(levels.default, dict(levels.weekday), unpacked_rules(self._rules.get(row))),
            Rates(rate_levels.default_minor, dict(rate_levels.weekday_minor), unpacked_rates(self._rates.get(row))),
            self._fees[self._get(row, "fees")],
            currency,
        )

    def dump(self, rows: Rows, is_kept: Mask) -> tuple[dict[str, NDArray[Any]], dict[str, dict[int, Any]]]:
        """Arrays of some rows, those not kept without dated entries, and the values that the kept ones share."""
        self._columns.make_room(int(rows[-1]))
        arrays: dict[str, NDArray[Any]] = {name: self._columns.at(name, rows) for name in self._shared}
        for name, lists in self._dated.items():
            lists.make_room(int(rows[-1]))
            arrays[f"{name}_counts"], arrays[name] = lists.dump(rows, is_kept)
        values = {name: shared.values(arrays[name][is_kept]) for name, shared in self._shared.items()}
        return arrays, values

    def load(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        values: Mapping[str, Mapping[int, Any]],
        is_kept: Mask,
    ) -> None:
        """Take up dumped rows from `start` on. Raises ValueError or KeyError for what is no dump."""
        for name, shared in self._shared.items():
            self._columns.fill(name, start, shared.take_all(arrays[name], is_kept, values[name]))
        for name, lists in self._dated.items():
            lists.load(start, arrays[f"{name}_counts"], arrays[name])

    def condition_numbers(self, rows: Rows) -> NDArray[np.int64]:
        """The number of each row's conditions."""
        return self._columns.at("conditions", rows).astype(np.int64)

    def currencies_of(self, rows: Rows) -> set[str]:
        """What the rows are sold in."""
        numbers = self.conditions.currencies(self._columns.at("conditions", rows))
        return {self.conditions.currency(number) for number in np.flatnonzero(np.bincount(numbers)).tolist()}

    def conditions_of(self, number: int) -> SellingConditions:
        """The conditions with a number."""
        return self.conditions.values[number][0]

    def follows_rules(self, rows: Rows, stay: RequestedStay) -> Mask:
        """Which rows' stay rules the stay breaks nothing of."""
        nights, begin = stay.nights, stay.check_in.toordinal() - EPOCH
        weekdays = np.arange(begin + EPOCH - 1, begin + EPOCH + nights) % 7
        levels = self._columns.at("levels", rows)
        is_kept = by_number(levels, self._levels.count, lambda numbers: self._levels_allow(numbers, weekdays))
        places = self._rules.find(rows, begin)
        is_dated = self._rules.field("end", places) > begin
        is_dated |= self._rules.field("start", places + 1) <= begin + nights
        dated = is_dated.nonzero()[0]
        if len(dated):
            is_kept[dated] = self._rules_allow(places[dated], levels[dated], begin, weekdays)
        return is_kept

    def prices(self, rows: Rows, stay: RequestedStay) -> Prices:
        """What the stay costs at each row."""
        amounts, is_whole, is_priced = self.accommodation(rows, stay)
        return Prices(self.fees(rows, stay.nights, stay.persons).total(amounts), is_whole, is_priced)

    def accommodation(self, rows: Rows, stay: RequestedStay) -> tuple[Amounts, Mask, Mask]:
        """What the rates of a stay's nights add up to, where each has one; whether the row has any."""
        begin, nights = stay.check_in.toordinal() - EPOCH, stay.nights
        total, covered = self._dated_part(rows, begin, nights)
        is_whole = covered == nights
        rest = (~is_whole).nonzero()[0]
        if len(rest):
            total[rest], is_whole[rest] = self._with_levels(rows[rest], covered[rest], begin, nights)
        is_priced = is_whole.copy()
        unsold = (~is_whole).nonzero()[0]
        if len(unsold):
            is_priced[unsold] = self.is_priced(rows[unsold])
        return total, is_whole, is_priced

    def is_priced(self, rows: Rows) -> Mask:
        """Which rows have any rate at all; the others are sold without a price."""
        found: Mask = self._nightly.at("is_priced", self._columns.at("rate_levels", rows))
        return found | (self._rates.counts(rows) > 0)

    def walk(self, rows: Rows, first: date) -> NightWalk:
        """The rows' terms night after night, from a date on."""
        levels = self._columns.at("levels", rows)
        below = Terms(
            arrival=self._stay_levels.at("arrival", levels),
            through=self._stay_levels.at("through", levels),
            longest=self._stay_levels.at("longest", levels),
            flags=self._stay_levels.at("flags", levels),
            rate=self._nightly.at("rate", self._columns.at("rate_levels", rows)),
        )
        return NightWalk(rows, first.toordinal() - EPOCH, self._rules, self._rates, below)

    def fees(self, rows: Rows, nights: int, persons: int) -> StayFees:
        """What is added to and taken off the rates of a stay of so many nights and persons, by row."""
        numbers = self._columns.at("fees", rows)

        def added(numbers: Rows) -> Amounts:
            extra = np.maximum(persons - self._extra.at("included", numbers), 0) * self._extra.at("per_guest", numbers)
            found: Amounts = self._extra.at("cleaning", numbers) + extra * nights
            return found

        def points(numbers: Rows) -> Amounts:
            return self._discounts.field("points", self._discounts.find(numbers, nights)).astype(np.int64)

        count = self._fees.count
        discount = None if self._discounts.is_empty else by_number(numbers, count, points)
        return StayFees(discount, by_number(numbers, count, added))

    def _levels_allow(self, levels: Rows, weekdays: NDArray[np.int64]) -> Mask:
        """Which levels by themselves allow a stay; of its dates, that of departure included, the weekdays are given."""
        nights, columns = len(weekdays) - 1, self._stay_levels
        through, flags = columns.at("through", levels), columns.at("flags", levels)[:, weekdays]
        is_kept: Mask = np.all(through[:, weekdays[:-1]] <= nights, axis=1)
        is_kept &= columns.at("arrival", levels)[:, weekdays[0]] <= nights
        is_kept &= columns.at("longest", levels)[:, weekdays[0]] >= nights
        return is_kept & _is_open(flags.T)

    def _rules_allow(self, places: Places, levels: Rows, begin: int, weekdays: NDArray[np.int64]) -> Mask:
        """`_levels_allow` under dated rules; `places` are what `find` says of the arrival."""
        rules, columns, nights = self._rules, self._stay_levels, len(weekdays) - 1
        at = np.empty((nights + 1, len(places)), np.int64)
        at[0] = places
        for ahead in range(1, nights + 1):
            at[ahead] = rules.following(at[ahead - 1], begin + ahead)
        is_dated = rules.field("end", at) > np.arange(begin, begin + nights + 1)[:, None]

        def lengths(name: str, count: int) -> NDArray[np.int16]:
            below = columns.at(name, levels)[:, weekdays[:count]].T
            said = rules.field(name, at[:count])
            return np.where(is_dated[:count] & (said > 0), said, below)

        says = rules.field("says", at) * is_dated
        flags = columns.at("flags", levels)[:, weekdays].T & ~says | rules.field("flags", at) & says
        is_kept: Mask = np.all(lengths("through", nights) <= nights, axis=0)
        is_kept &= (lengths("arrival", 1)[0] <= nights) & (lengths("longest", 1)[0] >= nights)
        return is_kept & _is_open(flags)

    def _dated_part(self, rows: Rows, begin: int, nights: int) -> tuple[Amounts, NDArray[np.int64]]:
        """What the nights with a dated rate cost, and how many they are."""
        rates, end = self._rates, begin + nights
        if rates.is_empty:
            return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        at = rates.find(rows, begin)
        covered = np.minimum(np.maximum(rates.field("end", at), begin) - np.int64(begin), nights)
        total = rates.amounts(at) * covered
        going = (covered < nights).nonzero()[0]
        places = at[going] + 1
        while len(going):  # once for each rate that begins within the longest-lasting stay
            starts = rates.field("start", places)
            within = (starts < end).nonzero()[0]
            going, places, starts = going[within], places[within], starts[within].astype(np.int64)
            length = np.minimum(rates.field("end", places), end) - starts
            total[going] += rates.amounts(places) * length
            covered[going] += length
            places = places + 1
        return total, covered

    def _with_levels(self, rows: Rows, covered: NDArray[np.int64], begin: int, nights: int) -> tuple[Amounts, Mask]:
        """The rates of rows some of whose nights have no dated one: their sum, and whether every night has one."""
        levels = self._columns.at("rate_levels", rows)
        per_weekday = np.bincount(np.arange(begin + EPOCH - 1, begin + EPOCH - 1 + nights) % 7, minlength=7)
        is_asked = per_weekday > 0

        def sums(numbers: Rows) -> Amounts:
            nightly = self._nightly.at("rate", numbers)
            has_all = np.all(nightly[:, is_asked] != NO_RATE, axis=1)
            return np.where(has_all, nightly @ per_weekday, NO_RATE)

        bare = by_number(levels, self._rate_levels.count, sums)
        mixed = covered.nonzero()[0]
        if len(mixed):
            bare[mixed] = self._night_by_night(rows[mixed], levels[mixed], begin, nights)
        return bare, bare != NO_RATE

    def _night_by_night(self, rows: Rows, levels: Rows, begin: int, nights: int) -> Amounts:
        """Sums of rates, NO_RATE where one is missing, of rows where some nights have a dated one and others do not."""
        walk = RateWalk(rows, begin, self._rates, self._nightly.at("rate", levels))
        total, is_whole = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
        for _ in range(nights):
            rate = walk.rate()
            total += rate
            is_whole &= rate != NO_RATE
            walk.step()
        return np.where(is_whole, total, NO_RATE)

    def _note_levels(self, number: int, levels: Levels) -> None:
        rules = StayRules(levels.default, dict(levels.weekday))
        on_weekday = [rules.rule_on(MONDAY + timedelta(days=weekday)) for weekday in range(7)]
        arrival, through, longest = zip(*map(lengths_of, on_weekday), strict=True)
        flags = [flags_of(rule)[1] for rule in on_weekday]
        self._stay_levels.make_room(number)
        for name, values in (("arrival", arrival), ("through", through), ("longest", longest), ("flags", flags)):
            self._stay_levels.set(name, number, values)

    def _note_rate_levels(self, number: int, levels: RateLevels) -> None:
        of_weekday = dict(levels.weekday_minor)
        rates = [of_weekday.get(weekday, levels.default_minor) for weekday in range(7)]
        self._nightly.make_room(number)
        self._nightly.set("rate", number, [NO_RATE if rate is None else rate for rate in rates])
        self._nightly.set("is_priced", number, any(rate is not None for rate in rates))

    def _note_fees(self, number: int, fees: Fees) -> None:
        self._extra.make_room(number)
        self._extra.set("cleaning", number, fees.cleaning_fee_minor)
        self._extra.set("per_guest", number, fees.extra_guest_fee_minor)
        self._extra.set("included", number, ANY_LENGTH if fees.included_guests is None else fees.included_guests)
        self._discounts.make_room(number)
        self._discounts.drop(number)  # those of whose number it was before
        self._discounts.put(number, packed_discounts(fees.length_of_stay_discounts))

    def _get(self, row: int, name: str) -> int:
        number: int = self._columns.get(name, row)
        return number

    def _set(self, row: int, name: str, value: int) -> None:
        self._columns.set(name, row, value)


def _is_open(flags: NDArray[np.uint8]) -> Mask:
    """Whether nothing is closed to a stay; a row of flags for each of its dates, that of departure included."""
    arrives = flags[0] & CLOSED_TO_ARRIVAL | flags[-1] & CLOSED_TO_DEPARTURE
    found: Mask = (np.bitwise_or.reduce(flags[:-1], axis=0) & STOP_SELL | arrives) == 0
    return found
