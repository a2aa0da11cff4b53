"""Dated stay rules and discounts as records of a few bytes; used by the selling table."""

from collections.abc import Iterable
from datetime import date

import numpy as np
from numpy.typing import NDArray

from availability.domain.selling.dated_lists import EPOCH
from rules.quotes import LengthOfStayDiscount
from rules.stay_rules import DatedStayRule, StayRule

ANY_LENGTH = 2**15 - 1
CLOSED_TO_ARRIVAL, CLOSED_TO_DEPARTURE, STOP_SELL = 1, 2, 4
NO_RATE = -1
RULE = np.dtype(
    [("start", "<u2"), ("end", "<u2"), ("arrival", "<i2"), ("through", "<i2"), ("longest", "<i2"), ("says", "u1"),
     ("flags", "u1")]
)  # fmt: skip
"""A dated rule: min_stay_arrival, min_stay_through and max_stay, 0 where it does not say; `says` are the flags it says
something about."""
DISCOUNT = np.dtype([("start", "<u2"), ("points", "<u2")])
"""A discount from `start` nights on."""

Records = NDArray[np.void]


def lengths_of(rule: StayRule, any_length: int = ANY_LENGTH) -> tuple[int, int, int]:
    """Shortest stays by arrival and by night and the longest, in nights, where the rule says something."""
    return rule.min_stay_arrival or 0, rule.min_stay_through or 0, rule.max_stay or any_length


def flags_of(rule: StayRule) -> tuple[int, int]:
    """Which flags a rule says something about, and which it sets."""
    said = (
        (CLOSED_TO_ARRIVAL, rule.closed_to_arrival),
        (CLOSED_TO_DEPARTURE, rule.closed_to_departure),
        (STOP_SELL, rule.stop_sell),
    )
    return sum(bit for bit, flag in said if flag is not None), sum(bit for bit, flag in said if flag)


def packed_rules(rules: Iterable[DatedStayRule]) -> Records:
    """The records of dated rules, in their order."""
    return np.array(
        [(*_days(one.start_date, one.end_date), *lengths_of(one.rule, 0), *flags_of(one.rule)) for one in rules], RULE
    )


def unpacked_rules(records: Records) -> tuple[DatedStayRule, ...]:
    """The dated rules of records."""
    return tuple(
        DatedStayRule(
            date.fromordinal(EPOCH + start),
            date.fromordinal(EPOCH + end),
            StayRule(
                min_stay_arrival=arrival or None,
                min_stay_through=through or None,
                max_stay=longest or None,
                closed_to_arrival=_flag(CLOSED_TO_ARRIVAL, says, flags),
                closed_to_departure=_flag(CLOSED_TO_DEPARTURE, says, flags),
                stop_sell=_flag(STOP_SELL, says, flags),
            ),
        )
        for start, end, arrival, through, longest, says, flags in records.tolist()
    )


def packed_discounts(discounts: Iterable[LengthOfStayDiscount]) -> Records:
    """The records of discounts by length: of two from the same length on the larger is the last."""
    return np.array(sorted((one.min_nights, one.basis_points) for one in discounts), DISCOUNT)


def _days(start: date, end: date) -> tuple[int, int]:
    return start.toordinal() - EPOCH, end.toordinal() - EPOCH


def _flag(bit: int, says: int, flags: int) -> bool | None:
    return bool(flags & bit) if says & bit else None
