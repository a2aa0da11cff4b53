"""Owns what a channel should hold of each night: a property's state, a listing's overrides; called by service."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from channel_sync.domain.ari import NightValues, ValueRun, joined, value_runs
from rules.calendar import StoredRange, open_bits
from rules.quotes import Rates
from rules.stay_rules import StayRules

CLOSED = NightValues(available=0)
EVERY_YEAR = frozenset(range(MINYEAR, MAXYEAR + 1))


@dataclass(frozen=True, slots=True)
class PropertyCalendar:
    """A property's state in booking's ledger at database time `as_of`, as far as a channel must know it."""

    property_id: UUID
    agency_id: UUID
    inventory_version: int
    gone: bool
    active: bool
    time_zone: str
    currency: str
    preparation_days: int
    booking_window_days: int
    rules: StayRules
    rates: Rates
    ranges: tuple[StoredRange, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ListingOverrides:
    """What one listing tells its channel otherwise than the property says; None and False change nothing.

    `markup_percent` may be negative, above -100. `min_stay` is the least for arrivals; a longer one of the property's
    stays. A listing that sold `max_nights_sold` nights of a calendar year is closed for the rest of that year.
    """

    markup_percent: Decimal | None = None
    close_out: bool = False
    min_stay: int | None = None
    max_nights_sold: int | None = None


NO_OVERRIDES = ListingOverrides()


def local_today(calendar: PropertyCalendar) -> date:
    """The date in the property's time zone when its state was read."""
    return calendar.as_of.astimezone(ZoneInfo(calendar.time_zone)).date()


def property_runs(calendar: PropertyCalendar, horizon_days: int) -> tuple[ValueRun, ...]:
    """The nights from the property's local today on, before any override; all closed once the property is gone.

    `available` is exactly booking's open nights. What is open and must not be sold all the same (no rate at a priced
    property, an inactive property, beyond the booking window) is `stop_sell`.
    """
    first = local_today(calendar)
    if calendar.gone:
        return (ValueRun(first, first + timedelta(days=horizon_days), CLOSED),)
    bits = open_bits(calendar.ranges, calendar.preparation_days, first, horizon_days, calendar.as_of)
    window = calendar.booking_window_days if calendar.active else 0
    has_rates, rules, rates = calendar.rates.has_any, calendar.rules, calendar.rates
    nights = []
    for offset in range(horizon_days):
        night = first + timedelta(days=offset)
        rule, rate = rules.rule_on(night), rates.rate_of(night)
        nights.append(
            NightValues(
                available=bits >> offset & 1,
                rate_minor=rate,
                min_stay_arrival=rule.min_stay_arrival,
                min_stay_through=rule.min_stay_through,
                max_stay=rule.max_stay,
                closed_to_arrival=bool(rule.closed_to_arrival),
                closed_to_departure=bool(rule.closed_to_departure),
                stop_sell=bool(rule.stop_sell) or offset >= window or (rate is None and has_rates),
            )
        )
    return value_runs(nights, first)


def listing_runs(
    runs: Sequence[ValueRun], overrides: ListingOverrides, sold_out_years: Collection[int] = ()
) -> tuple[ValueRun, ...]:
    """The property's nights as one listing tells them; `sold_out_years` may not be sold there any more."""
    if overrides == NO_OVERRIDES:
        return tuple(runs)
    pieces = [piece for run in runs for piece in _by_year(run)] if sold_out_years else list(runs)
    changed = (
        replace(run, values=_overridden(run.values, overrides, run.start.year in sold_out_years)) for run in pieces
    )
    return joined(changed)


def _by_year(run: ValueRun) -> list[ValueRun]:
    """The run cut where a year begins."""
    cuts = [date(year, 1, 1) for year in range(run.start.year + 1, run.end.year + 1)]
    starts = [run.start, *(cut for cut in cuts if cut < run.end)]
    return [ValueRun(start, end, run.values) for start, end in zip(starts, [*starts[1:], run.end], strict=True)]


def _overridden(values: NightValues, overrides: ListingOverrides, is_sold_out: bool) -> NightValues:
    return replace(
        values,
        available=0 if overrides.close_out or is_sold_out else values.available,
        rate_minor=_marked_up(values.rate_minor, overrides.markup_percent),
        min_stay_arrival=max(filter(None, (values.min_stay_arrival, overrides.min_stay)), default=None),
    )


def _marked_up(rate_minor: int | None, percent: Decimal | None) -> int | None:
    """Halves are rounded up, as in the suite's own prices."""
    if rate_minor is None or percent is None:
        return rate_minor
    return int((rate_minor * (100 + percent) / 100).quantize(Decimal(1), ROUND_HALF_UP))


def closed_nights(runs: Iterable[ValueRun]) -> list[tuple[date, date]]:
    """The nights nobody may buy, as few `[start, end)` as possible, from runs in order."""
    found: list[tuple[date, date]] = []
    for run in runs:
        if run.values.available and not run.values.stop_sell:
            continue
        if found and found[-1][1] == run.start:
            found[-1] = (found[-1][0], run.end)
        else:
            found.append((run.start, run.end))
    return found


def sold_out_years(stays: Iterable[tuple[date, date]], overrides: ListingOverrides) -> frozenset[int]:
    """The calendar years of which a listing sold as many nights as it may; stays are check-in to check-out."""
    if overrides.max_nights_sold is None:
        return frozenset()
    sold = Counter(
        date.fromordinal(night).year
        for check_in, check_out in stays
        for night in range(check_in.toordinal(), check_out.toordinal())
    )
    if overrides.max_nights_sold == 0:
        return EVERY_YEAR
    return frozenset(year for year, nights in sold.items() if nights >= overrides.max_nights_sold)
