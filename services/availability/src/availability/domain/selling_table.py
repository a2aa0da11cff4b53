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

from availability.domain.columns import Columns
from availability.domain.dated_lists import EPOCH, DatedLists
from availability.domain.interned import Interned
from availability.domain.night_walk import NightWalk, Terms
from availability.domain.packed_terms import (
    ANY_LENGTH,
    CLOSED_TO_ARRIVAL,
    CLOSED_TO_DEPARTURE,
    DISCOUNT,
    NO_RATE,
    RATE,
    RULE,
    STOP_SELL,
    flags_of,
    lengths_of,
    packed_discounts,
    packed_rates,
    packed_rules,
    unpacked_rates,
    unpacked_rules,
)
from availability.domain.sold_conditions import ConditionsTable
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
        self._rules, self._rates, self._discounts = DatedLists(RULE), DatedLists(RATE), DatedLists(DISCOUNT)
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
        days = np.arange(begin, begin + nights + 1)
        places = np.empty((nights + 1, len(rows)), np.int64)
        places[0] = self._rules.find(rows, begin)
        for ahead in range(1, nights + 1):
            places[ahead] = self._rules.following(places[ahead - 1], begin + ahead)
        is_dated = self._rules.field("end", places) > days[:, None]
        levels, weekdays = self._columns.at("levels", rows), (days + EPOCH - 1) % 7

        def lengths(name: str, count: int) -> NDArray[np.int16]:
            below = self._stay_levels.at(name, levels)[:, weekdays[:count]].T
            said = self._rules.field(name, places[:count])
            return np.where(is_dated[:count] & (said > 0), said, below)

        says = np.where(is_dated, self._rules.field("says", places), 0).astype(np.uint8)
        flags = self._stay_levels.at("flags", levels)[:, weekdays].T & ~says
        flags |= self._rules.field("flags", places) & says
        is_kept: Mask = np.all(lengths("through", nights) <= nights, axis=0)
        is_kept &= (lengths("arrival", 1)[0] <= nights) & (lengths("longest", 1)[0] >= nights)
        is_kept &= np.all(flags[:-1] & STOP_SELL == 0, axis=0)
        is_shut: Mask = ((flags[0] & CLOSED_TO_ARRIVAL) | (flags[-1] & CLOSED_TO_DEPARTURE)).astype(bool)
        return is_kept & ~is_shut

    def prices(self, rows: Rows, stay: RequestedStay) -> Prices:
        """What the stay costs at each row."""
        begin, nights = stay.check_in.toordinal() - EPOCH, stay.nights
        levels = self._columns.at("rate_levels", rows)
        total, covered = self._dated_part(rows, begin, nights)
        is_whole = covered == nights
        (bare,) = np.nonzero(covered == 0)
        if len(bare):
            per_weekday = np.bincount((np.arange(begin, begin + nights) + EPOCH - 1) % 7, minlength=7)
            nightly = self._nightly.at("rate", levels[bare])
            total[bare] = nightly @ per_weekday
            is_whole[bare] = (nightly[:, per_weekday > 0] != NO_RATE).all(axis=1)
        (mixed,) = np.nonzero((covered > 0) & (covered < nights))
        if len(mixed):
            total[mixed], is_whole[mixed] = self._night_by_night(rows[mixed], begin, nights)
        return Prices(self.fees(rows, nights, stay.persons).total(total), is_whole, self.is_priced(rows))

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
        return NightWalk(rows, first, self._rules, self._rates, below)

    def fees(self, rows: Rows, nights: int, persons: int) -> StayFees:
        """What is added to and taken off the rates of a stay of so many nights and persons, by row."""
        numbers = self._columns.at("fees", rows)
        points = self._discounts.field("points", self._discounts.find(numbers, nights)).astype(np.int64)
        extra = np.maximum(persons - self._extra.at("included", numbers), 0) * self._extra.at("per_guest", numbers)
        return StayFees(points if points.any() else None, self._extra.at("cleaning", numbers) + extra * nights)

    def _dated_part(self, rows: Rows, begin: int, nights: int) -> tuple[Amounts, NDArray[np.int64]]:
        """What the nights with a dated rate cost, and how many they are."""
        rates, end = self._rates, begin + nights
        at = rates.find(rows, begin)
        covered = np.clip(rates.field("end", at).astype(np.int64) - begin, 0, nights)
        total = rates.field("rate", at) * covered
        (going,) = np.nonzero(covered < nights)
        places = at[going] + 1
        while True:  # once for each rate that begins within the longest-lasting stay
            starts = rates.field("start", places).astype(np.int64)
            is_within = starts < end
            if not is_within.any():
                return total, covered
            going, places, starts = going[is_within], places[is_within], starts[is_within]
            length = np.minimum(rates.field("end", places), end) - starts
            total[going] += rates.field("rate", places) * length
            covered[going] += length
            places = places + 1

    def _night_by_night(self, rows: Rows, begin: int, nights: int) -> tuple[Amounts, Mask]:
        """Rates of rows where some nights have a dated one and others do not: their sum, and whether each has one."""
        walk = self.walk(rows, date.fromordinal(begin + EPOCH))
        total, is_whole = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
        for _ in range(nights):
            rate = walk.rate()
            total += rate
            is_whole &= rate != NO_RATE
            walk.step()
        return total, is_whole

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
