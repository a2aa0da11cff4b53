"""Decides what a quote is worth to the booking that names it; called by service.

A quote pinned to a hold fixes the price as long as the hold lives. Any other is what the client expects to pay: it
promises nothing, and a booking at another price is refused.
"""

from datetime import date, datetime, timedelta

from booking.domain.drafts import BookingDraft
from booking.domain.errors import PriceChanged, QuoteExpired, QuoteMismatch
from booking.domain.model import Hold, StoredQuote

LIFE = timedelta(minutes=15)
"""How long a quote without a hold can be named."""
MAX_LIVE = 2_000
"""Quotes of one property at a time; a client that asks without end is told to wait."""


def require_kept(hold: Hold, check_in: date, check_out: date) -> None:
    """Raise `QuoteMismatch` unless the hold keeps every night of the stay: a price is fixed for kept nights only."""
    if not hold.check_in <= check_in < check_out <= hold.check_out:
        raise QuoteMismatch("hold_id", f"the hold keeps {hold.check_in} to {hold.check_out} only")


def require_same(quote: StoredQuote, draft: BookingDraft) -> None:
    """Raise `QuoteMismatch` unless the booking is the stay the quote was made for, and consumes its hold."""
    quoted = (quote.property_id, quote.check_in, quote.check_out, quote.adults, quote.children, quote.infants)
    asked = (draft.property_id, draft.check_in, draft.check_out, draft.adults, draft.children, draft.infants)
    if quoted != asked:
        raise QuoteMismatch("quote_id", "the quote is of another property, other dates or another occupancy")
    if quote.hold_id is not None and quote.hold_id != draft.hold_id:
        raise QuoteMismatch("quote_id", "the quote is pinned to a hold, which the booking must name as hold_id")


def require_live(quote: StoredQuote, now: datetime) -> None:
    """Raise `QuoteExpired` for one that ran out; a pinned one lives as long as its hold, which is judged by itself."""
    if quote.hold_id is None and quote.expires_at <= now:
        raise QuoteExpired(QuoteExpired.__doc__)


def require_price(quote: StoredQuote, total_minor: int | None, currency: str) -> None:
    """Raise `PriceChanged` when the stay costs something else than was told, in amount or currency."""
    if (quote.total_minor, quote.currency) != (total_minor, currency):
        raise PriceChanged(total_minor, currency)
