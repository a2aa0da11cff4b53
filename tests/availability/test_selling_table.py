"""Proves that terms by column are the terms: given back exactly, judged and priced as `rules` judges and prices."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from availability.domain.arrays.interned import Interned
from availability.domain.selling.selling_table import SellingTable
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

FIRST = date(2028, 2, 20)
NOW = datetime(2028, 2, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ANYTHING = SellingConditions("UTC", 100, 0, 730, time(15))

lengths = st.none() | st.integers(1, 6)
flags = st.none() | st.booleans()
stay_rules = st.builds(StayRule, lengths, lengths, lengths, flags, flags, flags)


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[date, date]]:
    """Dates that lie apart, in order, some of them touching."""
    edges = sorted(draw(st.sets(st.integers(-5, 25), max_size=8)))
    return [(FIRST + DAY * start, FIRST + DAY * end) for start, end in pairwise(edges) if draw(st.booleans())]


def dated_rules(found: list[tuple[date, date]]) -> st.SearchStrategy[tuple[DatedStayRule, ...]]:
    return st.tuples(*(st.builds(DatedStayRule, st.just(start), st.just(end), stay_rules) for start, end in found))


def dated_rates(found: list[tuple[date, date]]) -> st.SearchStrategy[tuple[DatedRate, ...]]:
    return st.tuples(*(st.builds(DatedRate, st.just(start), st.just(end), money) for start, end in found))


money = st.integers(0, 10**12)
discounts = st.builds(LengthOfStayDiscount, st.integers(1, 6), st.integers(0, 10_000))
weekdays = st.integers(0, 6)
terms = st.builds(
    SellingTerms,
    st.just(ANYTHING),
    st.builds(StayRules, stay_rules, st.dictionaries(weekdays, stay_rules, max_size=3), spans().flatmap(dated_rules)),
    st.builds(Rates, st.none() | money, st.dictionaries(weekdays, money, max_size=7), spans().flatmap(dated_rates)),
    st.builds(Fees, money, money, st.none() | st.integers(0, 4), st.lists(discounts, max_size=3).map(tuple)),
    st.just("EUR"),
)
stays = st.builds(
    lambda first, nights, persons: RequestedStay(FIRST + DAY * first, FIRST + DAY * (first + nights), persons),
    st.integers(-3, 20),
    st.integers(1, 9),
    st.integers(1, 5),
)


def filled(given_terms: list[SellingTerms]) -> tuple[SellingTable, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    table = SellingTable()
    for row, one in enumerate(given_terms):
        table.put(row * 700, one)
    return table, np.arange(len(given_terms)) * 700


@settings(deadline=None)
@given(st.lists(terms, max_size=6))
def test_terms_come_back_as_they_were_put_also_after_others_were_replaced(given_terms: list[SellingTerms]) -> None:
    table, rows = filled(given_terms)
    for row in rows[::2].tolist():
        table.drop(row)
        table.put(row, given_terms[0])
    for place, row in enumerate(rows.tolist()):
        assert table.terms(row) == given_terms[0 if place % 2 == 0 else place]


@settings(max_examples=300, deadline=None)
@given(st.lists(terms, min_size=1, max_size=6), stays)
def test_a_stay_follows_the_rules_by_column_exactly_when_judge_finds_nothing(
    given_terms: list[SellingTerms], stay: RequestedStay
) -> None:
    table, rows = filled(given_terms)
    for is_kept, one in zip(table.follows_rules(rows, stay), given_terms, strict=True):
        broken = [found for found in judge(one, stay, NOW) if found.code != "no_rate"]
        assert bool(is_kept) is (broken == [])


@settings(max_examples=300, deadline=None)
@given(st.lists(terms, min_size=1, max_size=6), stays)
def test_a_price_by_column_is_the_quote(given_terms: list[SellingTerms], stay: RequestedStay) -> None:
    table, rows = filled(given_terms)
    prices = table.prices(rows, stay)
    for at, one in enumerate(given_terms):
        total, is_whole, has_any = prices.total[at], prices.is_whole[at], prices.is_priced[at]
        assert bool(has_any) is one.rates.has_any
        if not has_any:
            continue
        try:
            found = quote(one, stay)
        except NightWithoutRate:
            assert not is_whole
        else:
            assert found is not None
            assert is_whole
            assert total == found.total_minor


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
def test_equal_values_share_a_number_until_the_last_user_gives_it_back(program: list[tuple[bool, int]]) -> None:
    interned, users = Interned[int](), dict[int, list[int]]()
    for is_taken, value in program:
        if is_taken:
            users.setdefault(value, []).append(interned.take(value))
        elif users.get(value):
            interned.give_back(users[value].pop())
        users = {key: numbers for key, numbers in users.items() if numbers}
        assert len(interned) == len(users)
        assert all(len(set(numbers)) == 1 and interned[numbers[0]] == key for key, numbers in users.items())
        assert len({numbers[0] for numbers in users.values()}) == len(users)
