"""Events of `channel-sync.reservations.v1`: normalised OTA revisions, written by channel-sync, applied by booking."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from contracts.values import Code, Currency, EventModel, MoneyMinor, Occupancy


class RevisionStatus(StrEnum):
    """What the OTA says happened to its reservation."""

    NEW = "new"
    MODIFIED = "modified"
    CANCELLED = "cancelled"


class RevisionKind(StrEnum):
    """A sold stay, or closed nights of an imported calendar."""

    RESERVATION = "reservation"
    BLOCK = "block"


class ChannelGuest(EventModel):
    """The guest as the OTA named them."""

    name: Annotated[str, StringConstraints(max_length=200)]
    email: Annotated[str, StringConstraints(max_length=320)] | None = None
    phone: Annotated[str, StringConstraints(max_length=40)] | None = None


class ChannelReservationReceived(EventModel):
    """One OTA revision of one reservation.

    `revision_id` is opaque and only deduplicates. `revision_no` orders the revisions of (connection_id,
    ota_reservation_code); booking compares only that. Stay fields may be absent on a cancellation.
    """

    log_id: UUID
    connection_id: UUID
    property_id: UUID
    revision_id: Code
    revision_no: Annotated[int, Field(ge=0)]
    kind: RevisionKind = RevisionKind.RESERVATION
    status: RevisionStatus
    ota_name: Code
    ota_reservation_code: Code
    published_at: datetime | None = None
    check_in: date | None = None
    check_out: date | None = None
    occupancy: Occupancy | None = None
    guest: ChannelGuest | None = None
    total_amount_minor: MoneyMinor | None = None
    currency: Currency | None = None
    group_id: UUID | None = None

    @model_validator(mode="after")
    def _stay_is_whole(self) -> Self:
        if self.status is not RevisionStatus.CANCELLED and (self.check_in is None or self.check_out is None):
            raise ValueError("check_in and check_out are required unless the revision is a cancellation")
        if self.check_in is not None and self.check_out is not None and self.check_out <= self.check_in:
            raise ValueError("check_out must be after check_in")
        return self
