"""Turns a property's ranges and terms into what may happen on each date; called by availability's calendars.

What is said is necessary, date by date: no stay that may be booked has a night that is not open here, begins where
nobody can arrive or ends where nobody can depart. Whether one whole stay may be booked is asked of `rules.checks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from rules.calendar import closed_ranges, open_bits
from rules.checks import Sellable
from rules.stay_rules import RequestedStay, SellingTerms, StayRule, violations

DAY = timedelta(days=1)
MIN_STAY = "min_stay"
LEAD_TIME = "lead_time"


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One date: whether its night can be sold, whether a stay can begin or end on it, and everything that limits it.

    `reasons` are kinds of ranges (`reservation`, `block`, `hold`, `conflict`, `preparation`) and codes of stay rules.
    `rate_minor` is None for a night without a rate.
    """

    date: date
    is_open: bool
    can_arrive: bool
    can_depart: bool
    reasons: tuple[str, ...]
    rate_minor: int | None
    min_stay_arrival: int | None
    min_stay_through: int | None
    max_stay: int | None


def day_statuses(sellable: Sellable, start: date, end: date, now: datetime) -> list[DayStatus]:
    """The dates `[start, end)`, each by itself."""
    rules = sellable.terms.rules
    rule_on = [rules.rule_on(start + DAY * offset) for offset in range((end - start).days)]
    # A stay that reaches out of the window by less than its shortest length still counts.
    margin = max((max(rule.min_stay_arrival or 1, rule.min_stay_through or 1) for rule in rule_on), default=1)
    nights = _Nights(sellable, start - DAY * margin, end + DAY * margin, now)
    kinds = _kinds(sellable, start, end, now)
    return [_status(nights, margin + offset, kinds[offset], rule) for offset, rule in enumerate(rule_on)]


class _Nights:
    """The nights of a window: what closes each by itself, and how many in a row can be sold."""

    def __init__(self, sellable: Sellable, first: date, end: date, now: datetime) -> None:
        count = (end - first).days
        terms = sellable.terms
        bits = open_bits(sellable.ranges, sellable.preparation_days, first, count, now)
        self.dates = [first + DAY * offset for offset in range(count)]
        self.rates = [terms.rates.rate_of(night) for night in self.dates]
        self.conditions = [_conditions(terms, night, now) for night in self.dates]
        self.closed_by = [
            [*_selling_reasons(terms, night, rate), *(code for code in codes if code != LEAD_TIME)]
            for night, rate, codes in zip(self.dates, self.rates, self.conditions, strict=True)
        ]
        self.is_sellable = [bool(bits >> at & 1) and not self.closed_by[at] for at in range(count)]
        self.ahead = _run_lengths(self.is_sellable[::-1])[::-1]
        self.behind = _run_lengths(self.is_sellable)

    def run(self, at: int) -> int:
        """How many nights in a row can be sold around one that can."""
        return self.ahead[at] + self.behind[at] - 1


def _status(nights: _Nights, at: int, kinds: Sequence[str], rule: StayRule) -> DayStatus:
    is_too_short = nights.is_sellable[at] and nights.run(at) < (rule.min_stay_through or 1)
    is_open = nights.is_sellable[at] and not is_too_short
    begins_too_late = is_open and nights.ahead[at] < (rule.min_stay_arrival or 1)
    has_lead_time = LEAD_TIME in nights.conditions[at]
    reasons = [
        *kinds,
        *nights.closed_by[at],
        *([LEAD_TIME] if has_lead_time else []),
        *([MIN_STAY] if is_too_short or begins_too_late else []),
        *(["closed_to_arrival"] if rule.closed_to_arrival else []),
        *(["closed_to_departure"] if rule.closed_to_departure else []),
    ]
    return DayStatus(
        date=nights.dates[at],
        is_open=is_open,
        can_arrive=is_open and not (begins_too_late or has_lead_time or rule.closed_to_arrival),
        can_depart=nights.is_sellable[at - 1] and not rule.closed_to_departure,
        reasons=tuple(reasons),
        rate_minor=nights.rates[at],
        min_stay_arrival=rule.min_stay_arrival,
        min_stay_through=rule.min_stay_through,
        max_stay=rule.max_stay,
    )


def _kinds(sellable: Sellable, start: date, end: date, now: datetime) -> list[list[str]]:
    """Per date the kinds of the ranges on it, else `preparation` when it is closed all the same."""
    kinds: list[list[str]] = [[] for _ in range((end - start).days)]
    for closed in closed_ranges(sellable.ranges, sellable.preparation_days, start, end, now):
        for offset in range((closed.start - start).days, (closed.end - start).days):
            if closed.kind not in kinds[offset]:
                kinds[offset].append(closed.kind)
    return kinds


def _conditions(terms: SellingTerms, night: date, now: datetime) -> list[str]:
    """Which conditions of the profile a stay of this one night breaks."""
    alone = RequestedStay(night, night + DAY, persons=1)
    return [violation.code for violation in violations(terms.conditions, alone, now)]


def _selling_reasons(terms: SellingTerms, night: date, rate: int | None) -> list[str]:
    reasons = ["stop_sell"] if terms.rules.rule_on(night).stop_sell else []
    return [*reasons, "no_rate"] if rate is None and terms.rates.has_any else reasons


def _run_lengths(flags: Sequence[bool]) -> list[int]:
    """For each place how many set flags in a row end there."""
    lengths, length = [], 0
    for flag in flags:
        length = length + 1 if flag else 0
        lengths.append(length)
    return lengths
