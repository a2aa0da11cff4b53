"""The price of a stay, night by night, in integer minor units; the only place that computes one; called by booking."""

from dataclasses import dataclass
from datetime import date

from rules.rates import DatedRate, Fees, LengthOfStayDiscount, Rates
from rules.stay_rules import RequestedStay, SellingTerms

__all__ = [
    "DatedRate",
    "Fees",
    "LengthOfStayDiscount",
    "NightPrice",
    "NightWithoutRate",
    "Quote",
    "Rates",
    "quote",
]

_WHOLE = 10_000


class NightWithoutRate(Exception):
    """A night of the stay has no rate."""

    def __init__(self, night: date) -> None:
        super().__init__(f"The night of {night} has no rate.")
        self.night = night


@dataclass(frozen=True, slots=True)
class NightPrice:
    """The rate of one night, before fees and discount."""

    date: date
    rate_minor: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What a stay costs: `total = accommodation - discount + extra_guest + cleaning_fee`, none of them negative."""

    nights: tuple[NightPrice, ...]
    accommodation_minor: int
    discount_minor: int
    extra_guest_minor: int
    cleaning_fee_minor: int
    total_minor: int
    currency: str


def quote(terms: SellingTerms, stay: RequestedStay) -> Quote | None:
    """The price of the stay; None when the property has no rate at all and is sold unpriced.

    The accommodation is the sum of the nightly rates. One discount applies, to the accommodation only: that of the
    highest `min_nights` the stay reaches (of two with the same `min_nights` the larger). Its amount is rounded once, to
    a whole minor unit, halves up: `floor((accommodation * basis_points + 5,000) / 10,000)`. Nothing else is rounded.
    Raises `NightWithoutRate` for the first night without a rate; `judge` names all of them as `no_rate` before.
    """
    if not terms.rates.has_any:
        return None
    nights = tuple(NightPrice(night, _rate_of(terms.rates, night)) for night in stay.dates)
    fees = terms.fees
    accommodation = sum(night.rate_minor for night in nights)
    discount = _discount(fees, accommodation, stay.nights)
    extra_guest = _extra_guests(fees, stay.persons) * stay.nights * fees.extra_guest_fee_minor
    return Quote(
        nights=nights,
        accommodation_minor=accommodation,
        discount_minor=discount,
        extra_guest_minor=extra_guest,
        cleaning_fee_minor=fees.cleaning_fee_minor,
        total_minor=accommodation - discount + extra_guest + fees.cleaning_fee_minor,
        currency=terms.currency,
    )


def _rate_of(rates: Rates, night: date) -> int:
    rate = rates.rate_of(night)
    if rate is None:
        raise NightWithoutRate(night)
    return rate


def _discount(fees: Fees, accommodation: int, nights: int) -> int:
    reached = [
        (tier.min_nights, tier.basis_points) for tier in fees.length_of_stay_discounts if tier.min_nights <= nights
    ]
    if not reached:
        return 0
    _, basis_points = max(reached)
    return (accommodation * basis_points + _WHOLE // 2) // _WHOLE


def _extra_guests(fees: Fees, persons: int) -> int:
    return 0 if fees.included_guests is None else max(0, persons - fees.included_guests)
