"""HTTP requests and answers of guests: the record, its figures, its timeline."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from contracts.booking_http_v1 import BookingHistoryEntry, Email, Phone
from contracts.values import AnswerModel, RequestModel, ShortText

# Which reservations the figures are about; SQL has it in `counts_for_guest`.
COUNTED = "are now confirmed, checked_in or checked_out"


class GuestCreate(RequestModel):
    """A new guest; an agency has one guest per e-mail, upper and lower case alike."""

    name: ShortText
    email: Email | None = None
    phone: Phone | None = None


class GuestPatch(RequestModel):
    """The fields to change; absent ones stay. `email: null` and `phone: null` remove them."""

    name: ShortText | None = None
    email: Email | None = None
    phone: Phone | None = None


class Guest(AnswerModel):
    """A guest and their figures, over reservations that are confirmed, checked_in or checked_out.

    `total_spent` is in minor units by currency; `average_rating` is over all ratings.
    """

    id: UUID
    name: str
    email: str | None = None
    phone: str | None = None
    total_bookings: int = Field(description=f"How many reservations {COUNTED}.")
    total_spent: dict[str, int] = Field(
        description=f"Sum of `total_amount_minor` by currency, of reservations that {COUNTED}."
    )
    first_booking_at: datetime | None = Field(
        default=None, description=f"When the earliest made of the reservations that {COUNTED} was made."
    )
    last_booking_at: datetime | None = Field(
        default=None, description=f"When the latest made of the reservations that {COUNTED} was made."
    )
    average_rating: float | None = Field(
        default=None, ge=1, le=5, description="Over all ratings of the guest's stays, given after check-out."
    )
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    erased_at: datetime | None = None


class GuestList(AnswerModel):
    """One page of guests, newest first."""

    items: list[Guest]
    next_cursor: str | None = None


class TimelineEntry(BookingHistoryEntry):
    """One change of one of the guest's reservations."""

    booking_id: UUID


class GuestTimeline(AnswerModel):
    """Every change of the guest's reservations, newest first."""

    items: list[TimelineEntry]
    next_cursor: str | None = None
