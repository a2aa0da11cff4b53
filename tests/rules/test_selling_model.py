"""judge() and quote() against a model that paints a calendar day by day and counts with fractions."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rules.dated import put_over
from rules.quotes import DatedRate, Fees, LengthOfStayDiscount, NightWithoutRate, Rates, quote
from rules.stay_rules import (
    DatedStayRule,
    RequestedStay,
    SellingConditions,
    SellingTerms,
    StayRule,
    StayRules,
    judge,
)

ORIGIN = date(2028, 2, 20)  # 29 February is nine days on
DAYS = 60
# Zones that never change their clocks, so the model can add the offset and has nothing else to know.
OFFSETS_HOURS = {"UTC": 0.0, "Pacific/Kiritimati": 14.0, "Pacific/Pago_Pago": -11.0, "Asia/Kathmandu": 5.75}
NAMES = [field.name for field in fields(StayRule)]


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


SPANS = st.tuples(st.integers(0, DAYS - 15), st.integers(1, 14))
LIMITS = st.none() | st.integers(1, 8)
FLAGS = st.sampled_from([None, None, False, True])
STAY_RULE = st.builds(StayRule, LIMITS, LIMITS, LIMITS, FLAGS, FLAGS, FLAGS)
RATE = st.integers(0, 50_000)


@st.composite
def stay_rules(draw: st.DrawFn) -> StayRules:
    dated: tuple[DatedStayRule, ...] = ()
    for (start, length), rule in draw(st.lists(st.tuples(SPANS, STAY_RULE), max_size=4)):
        dated = put_over(dated, day(start), day(start + length), rule, DatedStayRule)
    return StayRules(draw(STAY_RULE), draw(st.dictionaries(st.integers(0, 6), STAY_RULE, max_size=3)), dated)


@st.composite
def nightly_rates(draw: st.DrawFn) -> Rates:
    dated: tuple[DatedRate, ...] = ()
    for (start, length), rate in draw(st.lists(st.tuples(SPANS, RATE), max_size=4)):
        dated = put_over(dated, day(start), day(start + length), rate, DatedRate)
    return Rates(draw(st.none() | RATE), draw(st.dictionaries(st.integers(0, 6), RATE, max_size=7)), dated)


CONDITIONS = st.builds(
    SellingConditions,
    st.sampled_from(sorted(OFFSETS_HOURS)),
    st.integers(1, 6),
    st.sampled_from([0, 0, 1, 24, 60]),
    st.sampled_from([1, 5, 20, 60, 365]),
    st.times(),
    st.sampled_from([True, True, True, False]),
)
FEES = st.builds(
    Fees,
    st.integers(0, 9999),
    st.integers(0, 999),
    st.none() | st.integers(0, 5),
    st.lists(st.builds(LengthOfStayDiscount, st.integers(1, 15), st.integers(0, 10_000)), max_size=4).map(tuple),
)
TERMS = st.builds(SellingTerms, CONDITIONS, stay_rules(), nightly_rates(), FEES, st.sampled_from(["EUR", "JPY"]))
STAYS = st.builds(
    lambda start, nights, persons: RequestedStay(day(start), day(start + nights), persons),
    st.integers(0, DAYS - 15),
    st.integers(1, 14),
    st.integers(1, 6),
)
# From four days before the first possible arrival until three days after it.
INSTANTS = st.integers(-96 * 60, 72 * 60).map(
    lambda minutes: datetime.combine(ORIGIN, time(), UTC) + timedelta(minutes=minutes)
)


class Calendar:
    """Every date of the window with what is painted on it: first the default, then its weekday's, then the dated."""

    def __init__(self, terms: SellingTerms) -> None:
        self.restrictions: dict[date, dict[str, int | bool]] = {}
        self.rate: dict[date, int] = {}
        for painted in map(day, range(DAYS)):
            cell = self.restrictions[painted] = {}
            layers = [terms.rules.default]
            layers += [rule for weekday, rule in terms.rules.weekday.items() if weekday == painted.isoweekday() - 1]
            layers += [one.rule for one in terms.rules.dated if one.start_date <= painted < one.end_date]
            for layer in layers:
                cell |= {name: getattr(layer, name) for name in NAMES if getattr(layer, name) is not None}
            prices = [] if terms.rates.default_minor is None else [terms.rates.default_minor]
            prices += [rate for weekday, rate in terms.rates.weekday_minor.items() if weekday == painted.weekday()]
            prices += [one.rate_minor for one in terms.rates.dated if one.start_date <= painted < one.end_date]
            if prices:
                self.rate[painted] = prices[-1]

    def says(self, name: str, on: date) -> int:
        """A limit, 1 for closed; 0 when nothing is said or it is open."""
        return int(self.restrictions[on].get(name, 0))


def priced(terms: SellingTerms) -> bool:
    return bool(terms.rates.weekday_minor or terms.rates.dated) or terms.rates.default_minor is not None


def nights_of(stay: RequestedStay) -> list[date]:
    return [one for one in map(day, range(DAYS)) if stay.check_in <= one < stay.check_out]


Broken = set[tuple[date, str, int | str]]


def broken_restrictions(terms: SellingTerms, stay: RequestedStay) -> Broken:
    calendar, nights, found = Calendar(terms), nights_of(stay), set[tuple[date, str, int | str]]()
    for night in nights:
        if calendar.says("stop_sell", night):
            found.add((night, "stop_sell", "open"))
        if calendar.says("min_stay_through", night) > len(nights):
            found.add((night, "min_stay_through", calendar.says("min_stay_through", night)))
        if priced(terms) and night not in calendar.rate:
            found.add((night, "no_rate", "rate"))
    arrival = nights[0]
    if calendar.says("min_stay_arrival", arrival) > len(nights):
        found.add((arrival, "min_stay_arrival", calendar.says("min_stay_arrival", arrival)))
    if 0 < calendar.says("max_stay", arrival) < len(nights):
        found.add((arrival, "max_stay", calendar.says("max_stay", arrival)))
    if calendar.says("closed_to_arrival", arrival):
        found.add((arrival, "closed_to_arrival", "open"))
    if calendar.says("closed_to_departure", nights[-1] + timedelta(days=1)):
        found.add((nights[-1] + timedelta(days=1), "closed_to_departure", "open"))
    return found


def broken_conditions(sold: SellingConditions, stay: RequestedStay, now: datetime) -> Broken:
    clock = now.replace(tzinfo=None) + timedelta(hours=OFFSETS_HOURS[sold.time_zone])
    found: Broken = set()
    if not sold.active:
        found.add((stay.check_in, "inactive", "active"))
    if stay.persons > sold.max_occupancy:
        found.add((stay.check_in, "max_occupancy", sold.max_occupancy))
    if datetime.combine(stay.check_in + timedelta(days=1), time()) <= clock:
        found.add((stay.check_in, "past", clock.date().isoformat()))
    elif sold.lead_time_hours:
        arrival = datetime.combine(stay.check_in, sold.check_in_time)
        if clock + timedelta(hours=sold.lead_time_hours) > arrival:
            found.add((stay.check_in, "lead_time", sold.lead_time_hours))
    sellable = {clock.date() + timedelta(days=ahead) for ahead in range(-5, sold.booking_window_days)}
    last_night = nights_of(stay)[-1]
    if last_night not in sellable:
        found.add((last_night, "booking_window", sold.booking_window_days))
    return found


@settings(max_examples=250, deadline=None)
@given(TERMS, STAYS, INSTANTS)
def test_judge_finds_exactly_what_the_slow_model_finds(terms: SellingTerms, stay: RequestedStay, now: datetime) -> None:
    found = judge(terms, stay, now)
    expected = broken_restrictions(terms, stay) | broken_conditions(terms.conditions, stay, now)
    for code in {one.code for one in found} or {"sold"}:
        event(code)
    assert {(one.date, one.code, one.limit) for one in found} == expected
    keys = [(one.date, one.code) for one in found]
    assert keys == sorted(set(keys))
    lengths = {one.actual for one in found if one.code in ("min_stay_arrival", "min_stay_through", "max_stay")}
    assert lengths <= {len(nights_of(stay))}


def discount_of(terms: SellingTerms, nights: list[date], accommodation: int) -> int:
    reached = [tier for tier in terms.fees.length_of_stay_discounts if tier.min_nights <= len(nights)]
    longest = [tier for tier in reached if all(tier.min_nights >= other.min_nights for other in reached)]
    amounts = [Decimal(accommodation) * tier.basis_points / 10_000 for tier in longest]
    return int(max(amounts, default=Decimal(0)).quantize(Decimal(1), ROUND_HALF_UP))


@settings(max_examples=250, deadline=None)
@given(TERMS, STAYS, INSTANTS)
def test_quote_costs_exactly_what_the_slow_model_adds_up(
    terms: SellingTerms, stay: RequestedStay, now: datetime
) -> None:
    calendar, nights = Calendar(terms), nights_of(stay)
    missing = [night for night in nights if night not in calendar.rate]
    if priced(terms) and missing:
        with pytest.raises(NightWithoutRate) as raised:
            quote(terms, stay)
        assert raised.value.night == missing[0]
        assert [one.date for one in judge(terms, stay, now) if one.code == "no_rate"] == missing
        return
    found = quote(terms, stay)
    assert (found is None) is not priced(terms)
    if found is None:
        return
    assert [(one.date, one.rate_minor) for one in found.nights] == [(night, calendar.rate[night]) for night in nights]
    accommodation = sum(calendar.rate[night] for night in nights)
    extra = 0
    if terms.fees.included_guests is not None:
        for _ in nights:
            extra += sum(terms.fees.extra_guest_fee_minor for _ in range(terms.fees.included_guests, stay.persons))
    discount = discount_of(terms, nights, accommodation)
    assert found.accommodation_minor == accommodation
    assert found.discount_minor == discount
    assert found.extra_guest_minor == extra
    assert found.cleaning_fee_minor == terms.fees.cleaning_fee_minor
    assert found.total_minor == accommodation - discount + extra + terms.fees.cleaning_fee_minor
    assert 0 <= found.discount_minor <= found.accommodation_minor
    assert found.currency == terms.currency
