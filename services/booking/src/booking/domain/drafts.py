"""What a client asks to book, and the new records it becomes; called by service."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from booking.domain.inventory import NewId
from booking.domain.model import Guest, Property, Reservation, normalise_email
from rules.stay_rules import RequestedStay


@dataclass(frozen=True, slots=True)
class GuestDraft:
    """Whose booking it is: `id` of a guest, or what a new one is made of; one with the same e-mail is found again."""

    id: UUID | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None

    @property
    def email_normalised(self) -> str | None:
        """The e-mail as compared."""
        return normalise_email(self.email)

    def new_guest(self, agency_id: UUID, new_id: NewId) -> Guest:
        """The record of a guest nobody knows yet."""
        return Guest(new_id(), agency_id, self.name or "", self.email, self.phone)


@dataclass(frozen=True, slots=True)
class BookingDraft:
    """One stay a client asks for; `hold_id` names the hold it consumes, `quote_id` the price it was told."""

    property_id: UUID
    check_in: date
    check_out: date
    adults: int
    children: int
    infants: int
    status: str
    notes: str | None
    guest: GuestDraft
    hold_id: UUID | None = None
    expected_total_minor: int | None = None
    quote_id: UUID | None = None

    @property
    def requested(self) -> RequestedStay:
        """As it is judged: infants do not count."""
        return RequestedStay(self.check_in, self.check_out, self.adults + self.children)


def new_reservation(
    draft: BookingDraft,
    owner: Property,
    guest_id: UUID | None,
    pending_until: datetime,
    total_minor: int | None,
    new_id: NewId,
    group_id: UUID | None = None,
) -> Reservation:
    """The record of a direct stay that is not stored yet."""
    return Reservation(
        id=new_id(),
        agency_id=owner.agency_id,
        property_id=owner.id,
        guest_id=guest_id,
        check_in=draft.check_in,
        check_out=draft.check_out,
        status=draft.status,
        source="direct",
        adults=draft.adults,
        children=draft.children,
        infants=draft.infants,
        currency=owner.currency,
        total_amount_minor=total_minor,
        notes=draft.notes,
        group_id=group_id,
        hold_expires_at=pending_until if draft.status == "pending" else None,
    )
