"""HTTP requests and answers of channel-sync, public through the gateway, and its generic JSON protocol."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from contracts.channel_sync_activity_v1 import OperationDirection, OperationStatus, OperationType
from contracts.channel_sync_reservations_v1 import ChannelGuest, RevisionStatus
from contracts.values import (
    AnswerModel,
    CalendarDate,
    Code,
    Currency,
    EventModel,
    InventoryVersion,
    MoneyMinor,
    Occupancy,
    RequestModel,
    ShortText,
)

EndpointUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2000)]
Secret = Annotated[str, StringConstraints(min_length=16, max_length=200)]

SIGNATURE_HEADER = "X-PMS-Signature"
TIMESTAMP_HEADER = "X-PMS-Timestamp"


class ConnectionCreate(RequestModel):
    """A connection to a channel. The secret signs both directions; it is made when absent and shown once."""

    name: ShortText
    adapter: Literal["generic-json"]
    endpoint_url: EndpointUrl
    secret: Secret | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Connection(AnswerModel):
    """A connection as stored; the secret is never in an answer."""

    id: UUID
    name: str
    adapter: str
    endpoint_url: str
    settings: dict[str, Any]
    enabled: bool
    inbound_url: str
    created_at: datetime
    updated_at: datetime


class ConnectionCreated(Connection):
    """The answer of the creation alone: `secret` is present when the suite made it."""

    secret: str | None = None


class ConnectionList(AnswerModel):
    """One page of connections."""

    items: list[Connection]
    next_cursor: str | None = None


class ListingCreate(RequestModel):
    """Maps one listing of the channel to one of our properties."""

    property_id: UUID
    ota_listing_id: Code
    ota_rate_plan_id: Code | None = None


class Listing(AnswerModel):
    """A mapped listing; `pushed_version` is the inventory version the channel last accepted."""

    id: UUID
    connection_id: UUID
    property_id: UUID
    ota_listing_id: str
    ota_rate_plan_id: str | None = None
    dirty: bool
    stale_since: datetime | None = None
    pushed_version: InventoryVersion | None = None
    created_at: datetime


class ListingList(AnswerModel):
    """One page of listings."""

    items: list[Listing]
    next_cursor: str | None = None


class InboundRevision(AnswerModel):
    """One stored OTA revision and what became of it."""

    log_id: UUID
    connection_id: UUID
    revision_id: str
    ota_reservation_code: str | None = None
    revision_no: int | None = None
    state: str
    reason: str | None = None
    reservation_id: UUID | None = None
    received_at: datetime
    settled_at: datetime | None = None


class InboundRevisionList(AnswerModel):
    """One page of revisions, newest first."""

    items: list[InboundRevision]
    next_cursor: str | None = None


class RevisionAccepted(AnswerModel):
    """The revision is stored durably; `log_id` names it in our history."""

    revision_id: str
    log_id: UUID


class SyncOperation(AnswerModel):
    """One step of synchronisation with a channel."""

    log_id: UUID
    connection_id: UUID
    listing_id: UUID | None = None
    batch_id: UUID | None = None
    task_id: UUID
    operation_type: OperationType
    direction: OperationDirection
    status: OperationStatus
    inventory_version: InventoryVersion | None = None
    error: str | None = None
    duration_ms: int | None = None
    trace_id: str | None = None
    created_at: datetime
    updated_at: datetime


class SyncOperationList(AnswerModel):
    """One page of operations, newest first."""

    items: list[SyncOperation]
    total: int


class GenericJsonRevision(EventModel):
    """Body of the generic JSON protocol, inbound: one revision of one reservation, signed by the channel."""

    revision_id: Code
    published_at: AwareDatetime | None = None
    status: RevisionStatus
    ota_name: Code
    ota_reservation_code: Code
    ota_listing_id: Code
    check_in: CalendarDate | None = None
    check_out: CalendarDate | None = None
    occupancy: Occupancy | None = None
    guest: ChannelGuest | None = None
    total_amount_minor: MoneyMinor | None = None
    currency: Currency | None = None


class GenericJsonDays(EventModel):
    """Nights `[start_date, end_date)` with one value: 1 is open, 0 is closed."""

    start_date: date
    end_date: date
    available: Literal[0, 1]


class GenericJsonPush(EventModel):
    """Body of the generic JSON protocol, outbound: absolute open and closed nights, signed by the suite."""

    ota_listing_id: str
    inventory_version: InventoryVersion
    days: list[GenericJsonDays]
