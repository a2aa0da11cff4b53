"""Use cases of quotes: tell a price and keep it for the booking that names it; what a booking costs with one."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import orjson

from booking.domain import quotes
from booking.domain.drafts import BookingDraft
from booking.domain.errors import NotFound, PriceChanged, TooManyQuotes
from booking.domain.model import LedgerState, Property, StoredQuote
from booking.events.selling import quote_body
from booking.repository import quotes as rows
from booking.repository import reads
from booking.service import selling
from booking.service.holds import active_hold
from booking.service.judging import price_of, require_rules
from booking.service.writing import Deps, keep_answer, new_id, replaying
from rules.stay_rules import RequestedStay
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import Connection, transaction

RATES_MAY_BE_GONE = frozenset({"no_rate"})
"""A fixed price holds although the night has no rate any more."""


@dataclass(frozen=True, slots=True)
class QuoteDraft:
    """The stay a client asks the price of; `hold_id` names the hold it shall be pinned to."""

    property_id: UUID
    check_in: date
    check_out: date
    adults: int
    children: int
    infants: int
    hold_id: UUID | None = None

    @property
    def requested(self) -> RequestedStay:
        """As it is judged: infants do not count."""
        return RequestedStay(self.check_in, self.check_out, self.adults + self.children)

    def priced(
        self, quote_id: UUID, owner: Property, total_minor: int | None, now: datetime, until: datetime
    ) -> StoredQuote:
        """The record of the price told now."""
        return StoredQuote(
            quote_id,
            owner.agency_id,
            self.property_id,
            self.hold_id,
            self.check_in,
            self.check_out,
            self.adults,
            self.children,
            self.infants,
            owner.currency,
            total_minor,
            now,
            until,
        )


async def create(deps: Deps, agency_id: UUID, draft: QuoteDraft, key: IdempotencyKey | None) -> StoredAnswer:
    """Tell what a stay costs and keep it: 201 body.

    Raises `NotFound`, `StayRulesViolated`, `TooManyQuotes`; of the hold `HoldNotActive`, `QuoteMismatch`.
    """

    async def attempt() -> StoredAnswer:
        async with transaction(deps.pool, agency_id) as connection:
            stored = await select_idempotent_answer(connection, key) if key else None
            if stored is not None:
                return stored
            now = await reads.select_now(connection)
            stay = draft.requested
            owner, found = await selling.quote_stay(deps, connection, agency_id, draft.property_id, stay, now)
            total = None if found is None else found.total_minor
            until = await _lives_until(connection, agency_id, draft, now)
            made = draft.priced(new_id(), owner, total, now, until)
            if not await rows.insert_quote(connection, made, quotes.MAX_LIVE):
                raise TooManyQuotes(TooManyQuotes.__doc__)
            answer = StoredAnswer(201, orjson.dumps(quote_body(owner, made, found)).decode())
            await keep_answer(connection, key, answer)
            return answer

    return await replaying(deps, key, attempt)


async def price(deps: Deps, connection: Connection, state: LedgerState, draft: BookingDraft) -> tuple[int | None, str]:
    """What a booking costs in minor units and in which currency, decided under the property's lock.

    The hold of the draft is active. Raises `NotFound`, `QuoteMismatch`, `QuoteExpired`, `PriceChanged` for the quote
    the draft names, and `StayRulesViolated`.
    """
    owner = state.property
    quote = await _named(connection, state, draft)
    terms = await deps.terms.of(owner, connection)
    if quote is not None and quote.hold_id is not None:
        require_rules(owner, terms, draft.requested, state.now, ignoring=RATES_MAY_BE_GONE)
        if draft.expected_total_minor not in (None, quote.total_minor):
            raise PriceChanged(quote.total_minor, quote.currency)
        return quote.total_minor, quote.currency
    total = price_of(owner, terms, draft.requested, state.now, expected_minor=draft.expected_total_minor)
    if quote is not None:
        quotes.require_price(quote, total, owner.currency)
    return total, owner.currency


async def _named(connection: Connection, state: LedgerState, draft: BookingDraft) -> StoredQuote | None:
    if draft.quote_id is None:
        return None
    quote = await rows.select_quote(connection, state.property.agency_id, draft.quote_id)
    if quote is None:
        raise NotFound("quote")
    quotes.require_same(quote, draft)
    quotes.require_live(quote, state.now)
    return quote


async def _lives_until(connection: Connection, agency_id: UUID, draft: QuoteDraft, now: datetime) -> datetime:
    if draft.hold_id is None:
        return now + quotes.LIFE
    hold = await active_hold(connection, agency_id, draft.property_id, draft.hold_id, now)
    quotes.require_kept(hold, draft.check_in, draft.check_out)
    return hold.hold_expires_at
