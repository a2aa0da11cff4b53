"""What a stay costs: rates by night, fees, discounts and their rounding, by example."""

from __future__ import annotations

from datetime import date

import pytest

from rules.quotes import (
    DatedRate,
    Fees,
    LengthOfStayDiscount,
    NightPrice,
    NightWithoutRate,
    Quote,
    Rates,
    quote,
)
from tests.rules.selling import DAY, FRI, MON, SAT, SUN, THU, TUE, WED, rates, stay, terms


def quoted(nightly: Rates, nights: int = 1, persons: int = 2, check_in: date = MON, fees: Fees | None = None) -> Quote:
    found = quote(terms(nightly=nightly, fees=fees), stay(check_in, nights, persons))
    assert found is not None
    return found


def discounts(*tiers: tuple[int, int]) -> Fees:
    return Fees(length_of_stay_discounts=tuple(LengthOfStayDiscount(*tier) for tier in tiers))


def test_a_property_without_any_rate_is_unpriced() -> None:
    assert quote(terms(fees=Fees(cleaning_fee_minor=5000)), stay(MON, 3)) is None


def test_a_quote_breaks_down_by_night_and_adds_up() -> None:
    fees = Fees(5000, 1500, 2, (LengthOfStayDiscount(3, 1000),))
    found = quoted(rates(10000, {4: 12000, 5: 12000}, {SAT: 20000}), 3, 4, THU, fees)
    assert found == Quote(
        nights=(NightPrice(THU, 10000), NightPrice(FRI, 12000), NightPrice(SAT, 20000)),
        accommodation_minor=42000,
        discount_minor=4200,
        extra_guest_minor=2 * 3 * 1500,
        cleaning_fee_minor=5000,
        total_minor=42000 - 4200 + 9000 + 5000,
        currency="EUR",
    )


def test_a_dated_rate_wins_over_the_weekdays_which_wins_over_the_default() -> None:
    layered = rates(10000, {4: 12000}, {FRI: 8000})
    assert layered.rate_of(THU) == 10000
    assert layered.rate_of(FRI) == 8000
    assert layered.rate_of(FRI + 7 * DAY) == 12000


def test_a_dated_rate_holds_from_its_start_and_not_on_its_end() -> None:
    dated = Rates(1, dated=(DatedRate(TUE, THU, 5), DatedRate(FRI, SUN, 7)))
    assert [night.rate_minor for night in quoted(dated, 7).nights] == [1, 5, 5, 1, 7, 7, 1]


def test_a_weekday_rate_of_nothing_wins_over_the_default() -> None:
    assert quoted(rates(10000, {0: 0})).total_minor == 0


def test_the_night_of_the_check_out_date_is_not_paid() -> None:
    assert quoted(rates(100, dated={WED: 9999}), 2).total_minor == 200


def test_a_night_without_a_rate_has_no_price() -> None:
    gap = terms(nightly=rates(dated={MON: 100, WED: 100}))
    with pytest.raises(NightWithoutRate, match=f"^The night of {TUE} has no rate.$") as raised:
        quote(gap, stay(MON, 5))
    assert raised.value.night == TUE


def test_the_cleaning_fee_is_paid_once_per_stay() -> None:
    assert quoted(rates(100), 10, fees=Fees(cleaning_fee_minor=30)).total_minor == 1030


@pytest.mark.parametrize(("persons", "extra"), [(1, 0), (2, 0), (3, 300), (4, 600)])
def test_each_person_above_the_included_ones_pays_per_night(persons: int, extra: int) -> None:
    found = quoted(rates(1000), 3, persons, fees=Fees(extra_guest_fee_minor=100, included_guests=2))
    assert found.extra_guest_minor == extra
    assert found.total_minor == 3000 + extra


def test_nobody_is_extra_when_no_number_is_included() -> None:
    assert quoted(rates(1000), persons=9, fees=Fees(extra_guest_fee_minor=100)).extra_guest_minor == 0
    with_none_included = Fees(extra_guest_fee_minor=100, included_guests=0)
    assert quoted(rates(1000), persons=2, fees=with_none_included).extra_guest_minor == 200


@pytest.mark.parametrize(("nights", "discount"), [(2, 0), (3, 150), (6, 300), (7, 700), (28, 8400)])
def test_the_highest_tier_the_stay_reaches_applies_alone(nights: int, discount: int) -> None:
    tiers = discounts((7, 1000), (3, 500), (28, 3000))
    assert quoted(rates(1000), nights, fees=tiers).discount_minor == discount


def test_a_longer_tier_applies_even_when_it_gives_less() -> None:
    assert quoted(rates(1000), 7, fees=discounts((3, 2000), (7, 100))).discount_minor == 70


def test_of_two_tiers_of_the_same_length_the_larger_applies() -> None:
    for tiers in (discounts((3, 500), (3, 900)), discounts((3, 900), (3, 500))):
        assert quoted(rates(1000), 3, fees=tiers).discount_minor == 270


def test_the_discount_is_on_the_accommodation_only() -> None:
    fees = Fees(5000, 1000, 1, (LengthOfStayDiscount(1, 10_000),))
    found = quoted(rates(1000), 2, 2, fees=fees)
    assert (found.discount_minor, found.total_minor) == (2000, 5000 + 2000)


@pytest.mark.parametrize(
    ("rate", "basis_points", "discount"),
    [
        (1, 4999, 0),
        (1, 5000, 1),  # half a cent goes up
        (3, 5000, 2),  # always up, not to even
        (5, 5000, 3),
        (10_000, 1, 1),
        (4_999, 1, 0),
        (15_000, 1, 2),
        # No binary fraction is in the way: 0.07 of 150 is 10.5 exactly, and far above 2**53 no digit is lost.
        (150, 700, 11),
        (10**18 + 1, 5000, 5 * 10**17 + 1),
    ],
)
def test_a_discount_rounds_half_a_minor_unit_up(rate: int, basis_points: int, discount: int) -> None:
    assert quoted(rates(rate), fees=discounts((1, basis_points))).discount_minor == discount


def test_the_discount_is_rounded_once_for_the_whole_stay() -> None:
    # Night by night, three halves would be rounded up three times.
    assert quoted(rates(1), 3, fees=discounts((1, 5000))).discount_minor == 2


def test_a_stay_over_a_clock_change_and_the_29th_of_february_pays_each_date_once() -> None:
    assert quoted(rates(100), 2, check_in=date(2026, 3, 28)).accommodation_minor == 200
    assert quoted(rates(100), 2, check_in=date(2026, 10, 24)).accommodation_minor == 200
    leap = quoted(rates(100, dated={date(2028, 2, 29): 900}), 3, check_in=date(2028, 2, 28))
    assert [(night.date.day, night.rate_minor) for night in leap.nights] == [(28, 100), (29, 900), (1, 100)]
