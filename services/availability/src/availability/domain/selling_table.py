"""What every property is sold by, by row: kept small, judged and priced for thousands of stays in one pass.

Used by the property store. The rules themselves are those of `rules`: `terms` gives them back exactly, and `sellable`
and `prices` are the same judgement over columns, which tests hold against `judge` and `quote`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from availability.domain.arena import Arena
from availability.domain.columns import Columns
from availability.domain.interned import Interned
from rules.quotes import DatedRate, Fees, Rates
from rules.stay_rules import DatedStayRule, RequestedStay, SellingConditions, SellingTerms, StayRule, StayRules

MONDAY = date(2024, 1, 1)
EPOCH = date(1999, 1, 1).toordinal()
ANY_LENGTH = 2**15 - 1
CLOSED_TO_ARRIVAL, CLOSED_TO_DEPARTURE, STOP_SELL = 1, 2, 4
RULE = np.dtype([("start", "<u2"), ("end", "<u2"), ("stays", "<i2", (3,)), ("says", "u1"), ("flags", "u1")])
"""A dated rule: `stays` are min_stay_arrival, min_stay_through and max_stay, 0 for what it does not say; `says` are the
flags it says something about."""
RATE = np.dtype([("start", "<u2"), ("end", "<u2"), ("rate", "<i8")])
NO_RATE = -1

Rows = NDArray[np.int64]
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


class SellingTable:
    """Terms by row."""

    def __init__(self) -> None:
        self._conditions: Interned[tuple[SellingConditions, str]] = Interned()
        self._levels: Interned[Levels] = Interned()
        self._rate_levels: Interned[RateLevels] = Interned()
        self._fees: Interned[Fees] = Interned()
        self._shared: Mapping[str, Interned[Any]] = {
            "conditions": self._conditions,
            "levels": self._levels,
            "rate_levels": self._rate_levels,
            "fees": self._fees,
        }
        self._rules, self._rates = Arena(RULE), Arena(RATE)
        self._columns = Columns(
            **dict.fromkeys(("conditions", "levels", "rate_levels", "fees", "rules_at", "rates_at"), "<u4"),
            **dict.fromkeys(("rules", "rates"), "<u2"),
        )
        # Per number of `_levels` and `_rate_levels` what holds on each weekday.
        self._stay_levels = Columns(stays=("<i2", (7, 3)), flags=("u1", (7,)))
        self._nightly = Columns(rate=("<i8", (7,)))

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
        self._set(row, "conditions", self._conditions.take((terms.conditions, terms.currency)))
        self._set(row, "levels", self._put_levels(levels))
        self._set(row, "rate_levels", self._put_rate_levels(rate_levels))
        self._set(row, "fees", self._fees.take(terms.fees))
        self._set(row, "rules", len(rules.dated))
        self._set(row, "rules_at", self._rules.put(_packed_rules(rules)))
        self._set(row, "rates", len(rates.dated))
        self._set(row, "rates_at", self._rates.put(_packed_rates(rates)))

    def drop(self, row: int) -> None:
        """Forget the terms of a row."""
        for name, shared in self._shared.items():
            shared.give_back(self._get(row, name))
        self._rules.drop(self._get(row, "rules_at"), self._get(row, "rules"))
        self._rates.drop(self._get(row, "rates_at"), self._get(row, "rates"))

    def terms(self, row: int) -> SellingTerms:
        """The terms of a row, as they were put."""
        conditions, currency = self._conditions[self._get(row, "conditions")]
        levels = self._levels[self._get(row, "levels")]
        rate_levels = self._rate_levels[self._get(row, "rate_levels")]
        rules = self._rules.get(self._get(row, "rules_at"), self._get(row, "rules"))
        rates = self._rates.get(self._get(row, "rates_at"), self._get(row, "rates"))
        return SellingTerms(
            conditions,
            StayRules(levels.default, dict(levels.weekday), _unpacked_rules(rules)),
            Rates(rate_levels.default_minor, dict(rate_levels.weekday_minor), _unpacked_rates(rates)),
            self._fees[self._get(row, "fees")],
            currency,
        )

    def dump(self, rows: Rows, is_kept: Mask) -> tuple[dict[str, NDArray[Any]], dict[str, dict[int, Any]]]:
        """Arrays of some rows, those not kept without dated entries, and the values that the kept ones share."""
        self._columns.make_room(int(rows[-1]))
        arrays: dict[str, NDArray[Any]] = {name: self._columns.at(name, rows) for name in self._shared}
        for name, arena in (("rules", self._rules), ("rates", self._rates)):
            counts = np.where(is_kept, self._columns.at(name, rows), 0)
            arrays[f"{name}_counts"] = counts.astype("<u2")
            arrays[name] = arena.dump(self._columns.at(f"{name}_at", rows), counts)
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
        for number in np.unique(self._columns.at("levels", start + np.flatnonzero(is_kept))).tolist():
            self._note_levels(number)
        for number in np.unique(self._columns.at("rate_levels", start + np.flatnonzero(is_kept))).tolist():
            self._note_rate_levels(number)
        for name, arena in (("rules", self._rules), ("rates", self._rates)):
            counts = arrays[f"{name}_counts"]
            self._columns.fill(name, start, counts)
            self._columns.fill(f"{name}_at", start, arena.load(arrays[name], counts))

    def conditions(self, rows: Rows) -> NDArray[np.int64]:
        """The number of each row's conditions, for `conditions_of`."""
        return self._columns.at("conditions", rows).astype(np.int64)

    def conditions_of(self, number: int) -> SellingConditions:
        """The conditions with a number."""
        return self._conditions[number][0]

    def follows_rules(self, rows: Rows, stay: RequestedStay) -> Mask:
        """Which rows' stay rules the stay breaks nothing of."""
        nights = stay.nights
        walk = _Walk(self._rules, self._columns.at("rules_at", rows), self._columns.at("rules", rows))
        is_kept = np.ones(len(rows), bool)
        for night in stay.dates:
            stays, flags = self._on(rows, walk, night)
            is_kept &= (stays[:, 1] <= nights) & (flags & STOP_SELL == 0)
            if night == stay.check_in:
                is_kept &= (stays[:, 0] <= nights) & (stays[:, 2] >= nights) & (flags & CLOSED_TO_ARRIVAL == 0)
        _, flags = self._on(rows, walk, stay.check_out)
        is_kept &= flags & CLOSED_TO_DEPARTURE == 0
        return is_kept

    def prices(self, rows: Rows, stay: RequestedStay) -> tuple[NDArray[np.int64], Mask, Mask]:
        """The total of each row in minor units; whether each night has a rate; whether the row is priced at all."""
        counts = self._columns.at("rates", rows)
        levels = self._nightly.at("rate", self._columns.at("rate_levels", rows))
        walk = _Walk(self._rates, self._columns.at("rates_at", rows), counts)
        has_any = (counts > 0) | (levels != NO_RATE).any(axis=1)
        accommodation, is_whole = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
        for night in stay.dates:
            dated = walk.on(night)
            rate = levels[:, night.weekday()]
            rate = np.where(dated >= 0, self._rates.field("rate", dated), rate)
            is_whole &= rate != NO_RATE
            accommodation += rate
        return self._with_fees(rows, accommodation, stay), is_whole, has_any

    def _with_fees(self, rows: Rows, accommodation: NDArray[np.int64], stay: RequestedStay) -> NDArray[np.int64]:
        numbers = self._columns.at("fees", rows)
        total = accommodation.copy()
        for number in np.unique(numbers).tolist():
            fees = self._fees[number]
            places = numbers == number
            tiers = [(tier.min_nights, tier.basis_points) for tier in fees.length_of_stay_discounts]
            points = max((tier for tier in tiers if tier[0] <= stay.nights), default=(0, 0))[1]
            extra = 0 if fees.included_guests is None else max(0, stay.persons - fees.included_guests)
            total[places] -= (accommodation[places] * points + 5_000) // 10_000
            total[places] += fees.cleaning_fee_minor + extra * stay.nights * fees.extra_guest_fee_minor
        return total

    def _on(self, rows: Rows, walk: "_Walk", day: date) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Stay lengths and flags in force on a date, each by itself: dated over weekday over default."""
        levels, dated = self._columns.at("levels", rows), walk.on(day)
        stays = self._stay_levels.at("stays", levels)[:, day.weekday()]
        flags = self._stay_levels.at("flags", levels)[:, day.weekday()]
        is_dated = dated >= 0
        if is_dated.any():
            said = self._rules.field("stays", dated)
            stays = np.where(is_dated[:, None] & (said > 0), said, stays)
            says = np.where(is_dated, self._rules.field("says", dated), 0).astype(np.uint8)
            flags = (flags & ~says) | (self._rules.field("flags", dated) & says)
        return stays, flags

    def _put_levels(self, levels: Levels) -> int:
        is_known = self._levels.find(levels) is not None
        number = self._levels.take(levels)
        if not is_known:
            self._note_levels(number)
        return number

    def _note_levels(self, number: int) -> None:
        """Spell out what the levels with a number say on each weekday."""
        self._stay_levels.make_room(number)
        levels = self._levels[number]
        rules = StayRules(levels.default, dict(levels.weekday))
        on_weekday = [rules.rule_on(MONDAY + timedelta(days=weekday)) for weekday in range(7)]
        self._stay_levels.set("stays", number, [_stays(rule, ANY_LENGTH) for rule in on_weekday])
        self._stay_levels.set("flags", number, [_flags(rule)[1] for rule in on_weekday])

    def _put_rate_levels(self, levels: RateLevels) -> int:
        is_known = self._rate_levels.find(levels) is not None
        number = self._rate_levels.take(levels)
        if not is_known:
            self._note_rate_levels(number)
        return number

    def _note_rate_levels(self, number: int) -> None:
        self._nightly.make_room(number)
        levels = self._rate_levels[number]
        of_weekday = dict(levels.weekday_minor)
        rates = [of_weekday.get(weekday, levels.default_minor) for weekday in range(7)]
        self._nightly.set("rate", number, [NO_RATE if rate is None else rate for rate in rates])

    def _get(self, row: int, name: str) -> int:
        number: int = self._columns.get(name, row)
        return number

    def _set(self, row: int, name: str, value: int) -> None:
        self._columns.set(name, row, value)


class _Walk:
    """The dated entry of each row on one date after another: found by bisection once, then followed."""

    def __init__(self, arena: Arena, places: NDArray[np.uint32], counts: NDArray[np.uint16]) -> None:
        self._arena = arena
        self._first = places.astype(np.int64)
        self._counts = counts.astype(np.int64)
        self._at: NDArray[np.int64] | None = None

    def on(self, day: date) -> NDArray[np.int64]:
        """The place of the entry that holds a date, -1 for none; dates must not go back."""
        number = day.toordinal() - EPOCH
        if self._at is None:
            self._at = self._bisect(number)
        else:  # entries are apart and a day long at least, so one step is enough for the day after
            following = self._at + 1
            is_there = following < self._counts
            starts = self._arena.field("start", self._first + np.where(is_there, following, 0))
            self._at = np.where(is_there & (starts <= number), following, self._at)
        places = self._first + np.maximum(self._at, 0)
        return np.where((self._at >= 0) & (self._arena.field("end", places) > number), places, -1)

    def _bisect(self, number: int) -> NDArray[np.int64]:
        low, high = np.zeros_like(self._counts), self._counts.copy()
        while (is_open := low < high).any():
            middle = (low + high) // 2
            starts = self._arena.field("start", self._first + np.where(is_open, middle, 0))
            is_before = is_open & (starts <= number)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_open & ~is_before, middle, high)
        return low - 1


def _stays(rule: StayRule, any_length: int) -> tuple[int, int, int]:
    return rule.min_stay_arrival or 0, rule.min_stay_through or 0, rule.max_stay or any_length


def _flags(rule: StayRule) -> tuple[int, int]:
    """Which flags a rule says something about, and which it sets."""
    said = (
        (CLOSED_TO_ARRIVAL, rule.closed_to_arrival),
        (CLOSED_TO_DEPARTURE, rule.closed_to_departure),
        (STOP_SELL, rule.stop_sell),
    )
    return sum(bit for bit, flag in said if flag is not None), sum(bit for bit, flag in said if flag)


def _packed_rules(rules: StayRules) -> NDArray[np.void]:
    return np.array(
        [
            (
                entry.start_date.toordinal() - EPOCH,
                entry.end_date.toordinal() - EPOCH,
                _stays(entry.rule, 0),
                *_flags(entry.rule),
            )
            for entry in rules.dated
        ],
        RULE,
    )


def _unpacked_rules(records: NDArray[np.void]) -> tuple[DatedStayRule, ...]:
    def flag(bit: int, says: int, flags: int) -> bool | None:
        return bool(flags & bit) if says & bit else None

    return tuple(
        DatedStayRule(
            date.fromordinal(EPOCH + start),
            date.fromordinal(EPOCH + end),
            StayRule(
                min_stay_arrival=stays[0] or None,
                min_stay_through=stays[1] or None,
                max_stay=stays[2] or None,
                closed_to_arrival=flag(CLOSED_TO_ARRIVAL, says, flags),
                closed_to_departure=flag(CLOSED_TO_DEPARTURE, says, flags),
                stop_sell=flag(STOP_SELL, says, flags),
            ),
        )
        for start, end, stays, says, flags in records.tolist()
    )


def _packed_rates(rates: Rates) -> NDArray[np.void]:
    entries = rates.dated
    return np.array(
        [(one.start_date.toordinal() - EPOCH, one.end_date.toordinal() - EPOCH, one.rate_minor) for one in entries],
        RATE,
    )


def _unpacked_rates(records: NDArray[np.void]) -> tuple[DatedRate, ...]:
    return tuple(
        DatedRate(date.fromordinal(EPOCH + start), date.fromordinal(EPOCH + end), rate)
        for start, end, rate in records.tolist()
    )
