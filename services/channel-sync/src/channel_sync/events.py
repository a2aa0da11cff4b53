"""Owns how channel-sync's facts look on its topics; called by service. Pure: domain -> contracts -> outbox rows."""

from uuid import UUID

from channel_sync.domain.batches import Batch, Operation
from channel_sync.domain.revisions import ParsedRevision, PendingRevision
from contracts.channel_sync_activity_v1 import (
    OperationDirection,
    OperationStatus,
    OperationType,
    SyncBatchChanged,
    SyncOperationChanged,
)
from contracts.channel_sync_reservations_v1 import (
    ChannelGuest,
    ChannelReservationReceived,
    RevisionKind,
    RevisionStatus,
)
from contracts.topics import CHANNEL_SYNC_ACTIVITY, CHANNEL_SYNC_RESERVATIONS
from contracts.values import EventModel, Occupancy
from runtime.kafka import partition_of
from runtime.outbox import OutboxRow


def channel_reservation_received(
    event_id: UUID, pending: PendingRevision, revision: ParsedRevision, partitions: int
) -> OutboxRow:
    """A revision that is stored and mapped, for booking; keyed by the property."""
    party, guest = revision.party, revision.guest
    event = ChannelReservationReceived(
        log_id=pending.log_id,
        connection_id=pending.connection_id,
        property_id=pending.property_id,
        revision_id=revision.revision_id,
        revision_no=pending.revision_no,
        kind=RevisionKind(revision.kind),
        status=RevisionStatus(revision.status),
        ota_name=revision.ota_name,
        ota_reservation_code=revision.ota_reservation_code,
        published_at=revision.published_at,
        check_in=revision.check_in,
        check_out=revision.check_out,
        occupancy=(
            Occupancy(adults=party.adults, children=party.children, infants=party.infants)
            if party is not None
            else None
        ),
        guest=ChannelGuest(name=guest.name, email=guest.email, phone=guest.phone) if guest is not None else None,
        total_amount_minor=revision.total_amount_minor,
        currency=revision.currency,
    )
    key = str(pending.property_id)
    return OutboxRow(
        event_id=event_id,
        topic=CHANNEL_SYNC_RESERVATIONS.name,
        shard=partition_of(key, partitions),
        key=key,
        type=type(event).__name__,
        subject=f"property/{key}",
        agency_id=pending.agency_id,
        data=event.model_dump(mode="json", exclude_none=True),
    )


def sync_operation_changed(event_id: UUID, agency_id: UUID, operation: Operation, partitions: int) -> OutboxRow:
    """An attempt against a channel ended, or was asked for; keyed by the connection."""
    event = SyncOperationChanged(
        log_id=operation.log_id,
        connection_id=operation.connection_id,
        listing_id=operation.listing_id,
        batch_id=operation.batch_id,
        task_id=operation.task_id,
        operation_type=OperationType(operation.operation_type),
        direction=OperationDirection(operation.direction),
        status=OperationStatus(operation.status),
        inventory_version=operation.inventory_version,
        error=operation.error,
        duration_ms=operation.duration_ms,
    )
    return _activity(event_id, agency_id, event, operation.connection_id, partitions)


def sync_batch_changed(event_id: UUID, agency_id: UUID, batch: Batch, partitions: int) -> OutboxRow:
    """A batch stands otherwise than before; keyed by the connection."""
    event = SyncBatchChanged(
        batch_id=batch.batch_id, connection_id=batch.connection_id, batch_status=OperationStatus(batch.batch_status)
    )
    return _activity(event_id, agency_id, event, batch.connection_id, partitions)


def _activity(event_id: UUID, agency_id: UUID, event: EventModel, connection_id: UUID, partitions: int) -> OutboxRow:
    key = str(connection_id)
    return OutboxRow(
        event_id=event_id,
        topic=CHANNEL_SYNC_ACTIVITY.name,
        shard=partition_of(key, partitions),
        key=key,
        type=type(event).__name__,
        subject=f"connection/{key}",
        agency_id=agency_id,
        data=event.model_dump(mode="json", exclude_none=True),
    )
