"""Terms that forbid nothing, each test adds what it is about; imported by the tests of judge and quote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from rules.quotes import DatedRate, Fees, Rates
from rules.stay_rules import DatedStayRule, RequestedStay, SellingConditions, SellingTerms, StayRule, StayRules

NOW = datetime(2028, 2, 1, 12, tzinfo=UTC)
MON, TUE, WED, THU, FRI, SAT, SUN = (date(2028, 2, 14) + timedelta(days=offset) for offset in range(7))
DAY = timedelta(days=1)


def conditions(
    zone: str = "UTC",
    *,
    max_occupancy: int = 4,
    lead_time_hours: int = 0,
    booking_window_days: int = 365,
    check_in_time: time = time(15),
    active: bool = True,
) -> SellingConditions:
    return SellingConditions(zone, max_occupancy, lead_time_hours, booking_window_days, check_in_time, active)


def rules(
    default: StayRule | None = None,
    weekday: Mapping[int, StayRule] | None = None,
    dated: Mapping[date, StayRule] | None = None,
) -> StayRules:
    """Stay rules whose dated entries are single days, given in order."""
    entries = tuple(DatedStayRule(day, day + DAY, rule) for day, rule in (dated or {}).items())
    return StayRules(default or StayRule(), weekday or {}, entries)


def rates(
    default: int | None = None, weekday: Mapping[int, int] | None = None, dated: Mapping[date, int] | None = None
) -> Rates:
    """Rates whose dated entries are single nights, given in order."""
    entries = tuple(DatedRate(night, night + DAY, rate) for night, rate in (dated or {}).items())
    return Rates(default, weekday or {}, entries)


def terms(
    stay_rules: StayRules | None = None,
    nightly: Rates | None = None,
    fees: Fees | None = None,
    sold_under: SellingConditions | None = None,
) -> SellingTerms:
    return SellingTerms(
        sold_under or conditions(), stay_rules or StayRules(), nightly or Rates(), fees or Fees(), "EUR"
    )


def stay(check_in: date, nights: int = 1, persons: int = 2) -> RequestedStay:
    return RequestedStay(check_in, check_in + DAY * nights, persons)
