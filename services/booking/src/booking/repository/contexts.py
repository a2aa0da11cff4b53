"""What bookings are judged by, read without a lock for several at once; called by `service.reservations`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from booking.domain.drafts import BookingDraft
from booking.domain.errors import Competitor
from booking.domain.model import Property, PropertyTerms
from booking.repository.rows import competitor_from, property_from
from booking.repository.terms import KnownTerms, terms_from
from runtime.idempotency import IdempotencyKey, StoredAnswer, stored_answer
from runtime.postgres import Connection, Pool

Question = dict[str, Any]
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BookingContext:
    """What a booking is judged by, of one snapshot."""

    now: datetime
    answer: StoredAnswer | None
    owner: Property | None
    terms: PropertyTerms
    guest_id: UUID | None
    overlap: Competitor | None


def question_of(agency_id: UUID, draft: BookingDraft, key: IdempotencyKey | None, known: KnownTerms | None) -> Question:
    """What `booking_contexts` is asked for a draft; terms the asker knows are not sent along."""
    return {
        "agency_id": agency_id,
        "property_id": draft.property_id,
        "check_in": draft.check_in,
        "check_out": draft.check_out,
        "guest_id": draft.guest.id,
        "email": draft.guest.email_normalised,
        "caller": key.caller if key else None,
        "key": key.key if key else None,
        "rules_version": known[0] if known is not None else None,
    }


async def select_contexts(executor: Connection | Pool, questions: Sequence[Question]) -> list[Found]:
    """What is found for each question, in order, in one statement."""
    found: list[Found] = await executor.fetchval("SELECT booking_contexts($1)", questions)
    return found


def context_of(found: Found, key: IdempotencyKey | None, known: KnownTerms | None) -> BookingContext:
    """The record of what was found for a question; raises `IdempotencyMismatch`."""
    owner = property_from(found["property"]) if found["property"] else None
    is_known = owner is not None and known is not None and known[0] == owner.rules_version
    return BookingContext(
        datetime.fromisoformat(found["now"]),
        stored_answer(found["answer"], key) if found["answer"] and key else None,
        owner,
        known[1] if known is not None and is_known else terms_from(found["terms"]),
        UUID(found["guest_id"]) if found["guest_id"] else None,
        competitor_from(found["overlap"]) if found["overlap"] else None,
    )
