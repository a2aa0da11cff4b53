"""HTTP requests and answers of channel-sync, public through the gateway, and its generic JSON protocol."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from contracts.channel_sync_activity_v1 import OperationDirection, OperationStatus, OperationType
from contracts.channel_sync_reservations_v1 import ChannelGuest, RevisionStatus
from contracts.values import (
    MAX_NIGHTS,
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
MarkupPercent = Annotated[Decimal, Field(gt=-100, le=1000, max_digits=6, decimal_places=2)]
Secret = Annotated[str, StringConstraints(min_length=16, max_length=200)]

SIGNATURE_HEADER = "X-PMS-Signature"
TIMESTAMP_HEADER = "X-PMS-Timestamp"


class ConnectionCreate(RequestModel):
    """A connection to a channel. The secret signs both directions; it is made when absent and shown once.

    `adapter` names the channel's protocol, such as `generic-json`; `settings` are the adapter's own.
    """

    name: ShortText
    adapter: str
    endpoint_url: EndpointUrl
    secret: Secret | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class ConnectionUpdate(RequestModel):
    """What is to be changed of a connection; what is absent stays. A disabled one is told nothing and asked nothing."""

    name: ShortText | None = None
    endpoint_url: EndpointUrl | None = None
    secret: Secret | None = None
    settings: dict[str, Any] | None = None
    enabled: bool | None = None


class ConnectionTested(AnswerModel):
    """What a real call to the channel came to; `status` is that of its answer, `error` why it does not work."""

    ok: bool
    status: int | None = None
    error: str | None = None
    duration_ms: int


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


class ListingOverrides(RequestModel):
    """What one listing tells its channel otherwise than its property says.

    `close_out` closes every night. `min_stay` is the least for arrivals. A listing that sold `max_nights_sold` nights
    of a calendar year is closed for the rest of that year.
    """

    markup_percent: MarkupPercent | None = None
    close_out: bool = False
    min_stay: Annotated[int, Field(ge=1, le=MAX_NIGHTS)] | None = None
    max_nights_sold: Annotated[int, Field(ge=0, le=366)] | None = None


class ListingCreate(ListingOverrides):
    """Maps one listing of the channel to one of our properties."""

    property_id: UUID
    ota_listing_id: Code
    ota_rate_plan_id: Code | None = None


class ListingUpdate(RequestModel):
    """What is to be changed of a listing's overrides; what is absent stays, null takes an override away."""

    markup_percent: MarkupPercent | None = None
    close_out: bool | None = None
    min_stay: Annotated[int, Field(ge=1, le=MAX_NIGHTS)] | None = None
    max_nights_sold: Annotated[int, Field(ge=0, le=366)] | None = None


class Listing(AnswerModel):
    """A mapped listing; `pushed_version` is the inventory version the channel last accepted.

    Where the channel reads our calendar, that is at `calendar_url`: whoever knows it may read it.
    """

    id: UUID
    connection_id: UUID
    property_id: UUID
    ota_listing_id: str
    ota_rate_plan_id: str | None = None
    dirty: bool
    stale_since: datetime | None = None
    pushed_version: InventoryVersion | None = None
    markup_percent: MarkupPercent | None = None
    close_out: bool = False
    min_stay: int | None = None
    max_nights_sold: int | None = None
    calendar_url: str | None = None
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
    block_id: UUID | None = None
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


class RevisionReprocessed(AnswerModel):
    """Where the revision is found now: under its own `log_id`, or that of the row it was read as."""

    log_id: UUID


class SyncRequest(RequestModel):
    """What is to be synchronised; a dry run says what would be told and tells nothing."""

    sync_type: Literal["full", "availability", "pricing", "bookings"]
    dry_run: bool = False


class SyncStarted(AnswerModel):
    """A synchronisation that was asked for: one task for each listing and kind of work."""

    batch_id: UUID
    task_ids: list[UUID]


class SyncOperation(AnswerModel):
    """One attempt at one task of synchronisation with a channel; the attempts of a task share its `task_id`.

    `payload_digest` is the SHA-256 of what was sent, `staleness_ms` the time from the commit of the oldest change told
    to its acceptance by the channel.
    """

    log_id: UUID
    connection_id: UUID
    listing_id: UUID | None = None
    batch_id: UUID | None = None
    task_id: UUID
    operation_type: OperationType
    direction: OperationDirection
    status: OperationStatus
    attempt: int = 1
    inventory_version: InventoryVersion | None = None
    error: str | None = None
    error_class: str | None = None
    payload_digest: str | None = None
    staleness_ms: int | None = None
    duration_ms: int | None = None
    trace_id: str | None = None
    created_at: datetime
    updated_at: datetime


class SyncOperationList(AnswerModel):
    """One page of operations, newest first."""

    items: list[SyncOperation]
    total: int


class SyncBatch(AnswerModel):
    """Work of one connection that was asked for together, or changes told together (`sync_type` changes).

    `batch_status` is that of the last attempts of its tasks: failed if any failed, else running if any is to come.
    """

    batch_id: UUID
    connection_id: UUID
    sync_type: Literal["full", "availability", "pricing", "bookings", "changes"]
    batch_status: Literal["running", "failed", "success"]
    created_at: datetime
    updated_at: datetime


class SyncBatchList(AnswerModel):
    """One page of batches, newest first; `total` is the number of all that stand as asked for."""

    items: list[SyncBatch]
    total: int
    limit: int
    offset: int


class SyncBatchDetails(SyncBatch):
    """A batch with every attempt of its tasks."""

    operations: list[SyncOperation]


class BatchesPurged(AnswerModel):
    """How many ended batches were deleted, with how many operations; in a dry run, would be."""

    batches: int
    operations: int
    dry_run: bool


class ListingStaleness(AnswerModel):
    """How far behind a channel is with one listing; without `stale_since` it was told everything.

    `age_ms` is the age of the oldest change it was not told, `error` why the last of its failed `attempts` failed.
    """

    listing_id: UUID
    property_id: UUID
    ota_listing_id: str
    stale_since: datetime | None = None
    age_ms: int | None = None
    attempts: int
    error: str | None = None


class DelayCount(AnswerModel):
    """How many changes took up to so many milliseconds, and longer than the bound before; without a bound: longer."""

    up_to_ms: int | None = None
    count: int


class FeedStaleness(AnswerModel):
    """How old what we read of a channel is: since it was last read to its end and believed; `error` since then."""

    polled_at: datetime | None = None
    age_ms: int | None = None
    error: str | None = None


class Staleness(AnswerModel):
    """How far behind a channel is now, and how long changes took from commit to acceptance over the last day.

    `feed` is there where we ask the channel for its reservations.
    """

    listings: list[ListingStaleness]
    feed: FeedStaleness | None = None
    told: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    histogram: list[DelayCount]


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
    """Everything that holds for the nights `[start_date, end_date)`: 1 is open, 0 is closed.

    Values are absolute: a restriction that is absent is none, a price that is absent is not known. Stays are in nights,
    `rate_minor` is in minor units of `currency`; with `stop_sell` open nights must not be sold.
    """

    start_date: date
    end_date: date
    available: Literal[0, 1]
    rate_minor: MoneyMinor | None = None
    currency: Currency | None = None
    min_stay_arrival: int | None = None
    min_stay_through: int | None = None
    max_stay: int | None = None
    closed_to_arrival: bool | None = None
    closed_to_departure: bool | None = None
    stop_sell: bool | None = None


class GenericJsonPush(EventModel):
    """Body of the generic JSON protocol, outbound: absolute values of nights, signed by the suite.

    Only nights that the channel does not hold already are told; of the others it keeps what it was told.
    """

    ota_listing_id: str
    ota_rate_plan_id: str | None = None
    inventory_version: InventoryVersion
    days: list[GenericJsonDays]


class ListingDifference(AnswerModel):
    """What a channel would be told of one listing now; `error` where that cannot be said."""

    listing_id: UUID
    property_id: UUID
    ota_listing_id: str
    days: list[GenericJsonDays]
    error: str | None = None


class SyncPreview(AnswerModel):
    """A dry run: every listing with the nights it would be told."""

    listings: list[ListingDifference]
