"""Judges a stay against everything a property sells by; called by booking before it writes, and for checks.

`violations` holds the conditions of the property's profile, `judge` adds its stay rules and the nights without a rate.
`sold_dates` says the same of all stays at once, for searches. `now` and everything else is an argument. Sources of the
rules: the stay-rule semantics in docs/glossary.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import attrgetter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rules.dated import DatedRange, entry_on
from rules.rates import Fees, Rates

DAY = timedelta(days=1)


class TimeZoneUnknown(Exception):
    """The time zone of the property is not known on this machine, so its dates cannot be judged here."""


@dataclass(frozen=True, slots=True)
class SellingConditions:
    """The parts of a property's profile that decide whether a stay may be sold; `check_in_time` is local."""

    time_zone: str
    max_occupancy: int
    lead_time_hours: int
    booking_window_days: int
    check_in_time: time
    active: bool = True


@dataclass(frozen=True, slots=True)
class StayRule:
    """Restrictions of one level; None leaves the level below in force, False lifts what it closed. Stays in nights."""

    min_stay_arrival: int | None = None
    min_stay_through: int | None = None
    max_stay: int | None = None
    closed_to_arrival: bool | None = None
    closed_to_departure: bool | None = None
    stop_sell: bool | None = None


@dataclass(frozen=True, slots=True)
class DatedStayRule(DatedRange):
    """A rule for the dates `[start_date, end_date)`."""

    rule: StayRule


@dataclass(frozen=True, slots=True)
class StayRules:
    """All restrictions of a property; `weekday` keys are 0 (Monday) to 6 (Sunday).

    `dated` is in the normal form of `rules.dated`.
    """

    default: StayRule = StayRule()
    weekday: Mapping[int, StayRule] = field(default_factory=dict)
    dated: tuple[DatedStayRule, ...] = ()

    def rule_on(self, day: date) -> StayRule:
        """What is in force on a date, each field by itself: dated wins over weekday, weekday over default."""
        rule = self.default
        if self.weekday and (of_weekday := self.weekday.get(day.weekday())) is not None:
            rule = _over(of_weekday, rule)
        if self.dated and (entry := entry_on(self.dated, day)) is not None:
            rule = _over(entry.rule, rule)
        return rule


@dataclass(frozen=True, slots=True)
class SellingTerms:
    """Everything a property sells by, as of one `rules_version`; `currency` is an ISO 4217 code."""

    conditions: SellingConditions
    rules: StayRules
    rates: Rates
    fees: Fees
    currency: str


@dataclass(frozen=True, slots=True)
class RequestedStay:
    """What a guest asks for, at least one night; `persons` counts adults and children, infants do not count."""

    check_in: date
    check_out: date
    persons: int

    @property
    def nights(self) -> int:
        """How many nights: a difference of dates, so the days on which clocks change count as one."""
        return (self.check_out - self.check_in).days

    @property
    def dates(self) -> tuple[date, ...]:
        """The nights, each by the date it begins on; the check-out date is none of them."""
        return tuple(map(date.fromordinal, range(self.check_in.toordinal(), self.check_out.toordinal())))


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One broken rule: the date it binds on, what is allowed and what was asked."""

    code: str
    date: date
    limit: int | str
    actual: int | str


@dataclass(frozen=True, slots=True)
class SoldDates:
    """Which stays break no condition of a profile: arrivals from `first_arrival` on, nights up to `last_night`, for at
    most `most_persons`, from the instant that was asked about up to, not including, `until`.
    """

    first_arrival: date
    last_night: date
    most_persons: int
    until: datetime


_by_date_and_code = attrgetter("date", "code")


def judge(terms: SellingTerms, stay: RequestedStay, now: datetime) -> list[RuleViolation]:
    """All rules the stay breaks at the instant `now`, by date and code; empty when it may be sold at these terms.

    A rule that binds on several nights of the stay is told once for each. A night without a rate is `no_rate` once the
    property has any rate; a property without any is sold unpriced. Raises `TimeZoneUnknown`.
    """
    found = violations(terms.conditions, stay, now)
    found += _restrictions(terms.rules, stay)
    if terms.rates.has_any:
        rate_of = terms.rates.rate_of
        found += [RuleViolation("no_rate", night, "rate", "none") for night in stay.dates if rate_of(night) is None]
    found.sort(key=_by_date_and_code)
    return found


def violations(conditions: SellingConditions, stay: RequestedStay, now: datetime) -> list[RuleViolation]:
    """The conditions of the profile the stay breaks at the instant `now`; empty when none. Raises `TimeZoneUnknown`."""
    zone = _zone(conditions.time_zone)
    today = now.astimezone(zone).date()
    found = []
    if not conditions.active:
        found.append(RuleViolation("inactive", stay.check_in, "active", "inactive"))
    if stay.persons > conditions.max_occupancy:
        found.append(RuleViolation("max_occupancy", stay.check_in, conditions.max_occupancy, stay.persons))
    if stay.check_in < today:
        found.append(RuleViolation("past", stay.check_in, today.isoformat(), stay.check_in.isoformat()))
    elif conditions.lead_time_hours:
        found += _lead_time(conditions, stay, now, zone)
    last_night = stay.check_out - DAY
    window_end = today + timedelta(days=conditions.booking_window_days)
    if last_night >= window_end:
        found.append(
            RuleViolation("booking_window", last_night, conditions.booking_window_days, (last_night - today).days)
        )
    return found


def sold_dates(conditions: SellingConditions, now: datetime) -> SoldDates:
    """The stays in which `violations` finds nothing at the instant `now`, all of them; raises `TimeZoneUnknown`."""
    zone = _zone(conditions.time_zone)
    today = now.astimezone(zone).date()
    last_night = today + timedelta(days=conditions.booking_window_days) - DAY
    persons = conditions.max_occupancy if conditions.active else 0
    # Where the clocks skip midnight this is the instant they do, where they show it twice the first.
    midnight = datetime.combine(today + DAY, time(), zone)
    until = midnight.astimezone(UTC)
    if not conditions.lead_time_hours:
        return SoldDates(today, last_night, persons, until)
    lead = timedelta(hours=conditions.lead_time_hours)
    first = max(today, (now + lead).astimezone(zone).date() - DAY)
    while (begins := _arrival(conditions, first, zone)) - now < lead:
        first += DAY
    return SoldDates(first, last_night, persons, min(until, begins - lead))


def _arrival(conditions: SellingConditions, day: date, zone: ZoneInfo) -> datetime:
    # Elapsed time counts in UTC: local differences are off by an hour across a DST change. A check-in time the clocks
    # skip that day lies as long after the skip began; of one they show twice, the first counts.
    return datetime.combine(day, conditions.check_in_time, zone).astimezone(UTC)


def _lead_time(
    conditions: SellingConditions, stay: RequestedStay, now: datetime, zone: ZoneInfo
) -> list[RuleViolation]:
    ahead = _arrival(conditions, stay.check_in, zone) - now.astimezone(UTC)
    if ahead >= timedelta(hours=conditions.lead_time_hours):
        return []
    return [RuleViolation("lead_time", stay.check_in, conditions.lead_time_hours, ahead // timedelta(hours=1))]


def _restrictions(rules: StayRules, stay: RequestedStay) -> list[RuleViolation]:
    found = []
    nights = stay.nights
    arrival = rules.rule_on(stay.check_in)
    if arrival.closed_to_arrival:
        found.append(RuleViolation("closed_to_arrival", stay.check_in, "open", "closed"))
    if arrival.min_stay_arrival is not None and nights < arrival.min_stay_arrival:
        found.append(RuleViolation("min_stay_arrival", stay.check_in, arrival.min_stay_arrival, nights))
    if arrival.max_stay is not None and nights > arrival.max_stay:
        found.append(RuleViolation("max_stay", stay.check_in, arrival.max_stay, nights))
    for night in stay.dates:
        rule = rules.rule_on(night)
        if rule.stop_sell:
            found.append(RuleViolation("stop_sell", night, "open", "closed"))
        if rule.min_stay_through is not None and nights < rule.min_stay_through:
            found.append(RuleViolation("min_stay_through", night, rule.min_stay_through, nights))
    if rules.rule_on(stay.check_out).closed_to_departure:
        found.append(RuleViolation("closed_to_departure", stay.check_out, "open", "closed"))
    return found


def _over(upper: StayRule, lower: StayRule) -> StayRule:
    return StayRule(
        lower.min_stay_arrival if upper.min_stay_arrival is None else upper.min_stay_arrival,
        lower.min_stay_through if upper.min_stay_through is None else upper.min_stay_through,
        lower.max_stay if upper.max_stay is None else upper.max_stay,
        lower.closed_to_arrival if upper.closed_to_arrival is None else upper.closed_to_arrival,
        lower.closed_to_departure if upper.closed_to_departure is None else upper.closed_to_departure,
        lower.stop_sell if upper.stop_sell is None else upper.stop_sell,
    )


# The standard library keeps eight zones and reads the ninth from disk again and again (180 us instead of 0.2).
@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder's name, or no name at all
        raise TimeZoneUnknown(TimeZoneUnknown.__doc__) from error
