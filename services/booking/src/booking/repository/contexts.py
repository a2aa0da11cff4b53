"""What bookings are judged by, read without a lock for several at once; called by `service.reservations`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from booking.domain.drafts import BookingDraft
from booking.domain.errors import Competitor
from booking.domain.model import Property, PropertyTerms
from booking.repository.rows import parse_date, property_from
from booking.repository.terms import terms_from
from runtime.idempotency import IdempotencyKey, IdempotencyMismatch, StoredAnswer
from runtime.postgres import Connection, Pool

Question = dict[str, Any]
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BookingContext:
    """What a booking is judged by, of one snapshot; `terms` are None when the asker knows them already."""

    now: datetime
    answer: StoredAnswer | None
    owner: Property | None
    terms: PropertyTerms | None
    guest_id: UUID | None
    overlap: Competitor | None


def question_of(
    agency_id: UUID, draft: BookingDraft, key: IdempotencyKey | None, known_rules_version: int | None
) -> Question:
    """What `booking_contexts` is asked for a draft; `known_rules_version` is of the terms the asker has."""
    return {
        "agency_id": agency_id,
        "property_id": draft.property_id,
        "check_in": draft.check_in,
        "check_out": draft.check_out,
        "guest_id": draft.guest.id,
        "email": draft.guest.email_normalised,
        "caller": key.caller if key else None,
        "key": key.key if key else None,
        "rules_version": known_rules_version,
    }


async def select_contexts(executor: Connection | Pool, questions: Sequence[Question]) -> list[Found]:
    """What is found for each question, in order, in one statement."""
    found: list[Found] = await executor.fetchval("SELECT booking_contexts($1)", questions)
    return found


def context_of(found: Found, key: IdempotencyKey | None, known_rules_version: int | None) -> BookingContext:
    """The record of what was found for a question; raises `IdempotencyMismatch`."""
    owner = property_from(found["property"]) if found["property"] else None
    is_known = owner is None or owner.rules_version == known_rules_version
    return BookingContext(
        datetime.fromisoformat(found["now"]),
        _stored_answer(found["answer"], key),
        owner,
        None if is_known else terms_from(found["terms"]),
        UUID(found["guest_id"]) if found["guest_id"] else None,
        _competitor(found["overlap"]),
    )


def _stored_answer(stored: dict[str, Any] | None, key: IdempotencyKey | None) -> StoredAnswer | None:
    if stored is None or key is None:
        return None
    if stored["fingerprint"] != key.fingerprint:
        raise IdempotencyMismatch(IdempotencyMismatch.__doc__)
    return StoredAnswer(stored["status"], stored["body"], replayed=True)


def _competitor(overlap: dict[str, Any] | None) -> Competitor | None:
    if overlap is None:
        return None
    return Competitor(overlap["kind"], parse_date(overlap["start_date"]), parse_date(overlap["end_date"]))
