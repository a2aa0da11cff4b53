"""Events of `channel-sync.activity.v1`: progress of batches and operations, and staleness; written by channel-sync."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from contracts.values import EventModel, InventoryVersion


class OperationType(StrEnum):
    """What one synchronisation step does."""

    AVAILABILITY_UPDATE = "availability_update"
    PRICING_UPDATE = "pricing_update"
    BOOKINGS_SYNC = "bookings_sync"


class OperationDirection(StrEnum):
    """From the channel to us, or from us to the channel."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class OperationStatus(StrEnum):
    """Where an operation stands; a batch's status is derived from those of its operations."""

    TRIGGERED = "triggered"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class SyncOperationChanged(EventModel):
    """One operation against a channel started, succeeded or failed."""

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


class SyncBatchChanged(EventModel):
    """A batch got a new derived status: failed if any operation failed, else running, else success."""

    batch_id: UUID
    connection_id: UUID
    batch_status: OperationStatus


class ChannelStalenessChanged(EventModel):
    """A listing became stale (`stale_since` set) or caught up (`stale_since` absent)."""

    connection_id: UUID
    listing_id: UUID
    stale_since: datetime | None = None
