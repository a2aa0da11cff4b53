"""Owns Kafka in: each record parsed and given to one service function; started by main in one consumer group."""

from collections.abc import Mapping
from uuid import UUID

from channel_sync.domain.errors import ConnectionUnknown, RevisionTooLarge, UnparseableRevision
from channel_sync.domain.revisions import RevisionResult
from channel_sync.service import inbound, outbound
from channel_sync.service.deps import Deps
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import GuestErased, InventoryChange, PropertyChange
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, OTA_INBOUND, Topic
from runtime.consumer import Handler
from runtime.events import parse_event
from runtime.kafka import PoisonMessage, Record

CONNECTION_HEADER = "connection-id"


def handlers(deps: Deps) -> Mapping[Topic, Handler]:
    """What channel-sync consumes."""
    return {
        BOOKING_RESERVATIONS: lambda record: on_reservation_change(deps, record),
        BOOKING_PROPERTIES: lambda record: on_property_snapshot(deps, record),
        OTA_INBOUND: lambda record: on_raw_revision(deps, record),
    }


async def on_reservation_change(deps: Deps, record: Record) -> None:
    """Every change makes the property's listings stale; one that came from a channel settles its revision.

    An erased guest is forgotten here as well, in the reservation of the channel that told them.
    """
    event = parse_event(BOOKING_RESERVATIONS, record)
    change = event.data
    if not isinstance(change, InventoryChange):
        return
    agency_id = _agency(event.envelope.agency_id)
    closes = bool(change.occupied) or isinstance(change, PropertyChange)
    if change.channel is not None:  # first: what a listing may still sell depends on it
        await inbound.settle(deps, agency_id, _result(change))
    await outbound.note_change(
        deps,
        agency_id,
        change.property_id,
        change.inventory_version,
        closes=closes,
        changed_at=event.envelope.occurred_at,
    )
    if isinstance(change, GuestErased) and change.connection_id is not None and change.ota_reservation_code is not None:
        await inbound.erase_guest(deps, agency_id, change.connection_id, change.ota_reservation_code)


async def on_property_snapshot(deps: Deps, record: Record) -> None:
    """A snapshot newer than what we know makes listings stale; a null is a property that left long ago."""
    if record.value is None:
        return
    snapshot = parse_event(BOOKING_PROPERTIES, record).data
    if isinstance(snapshot, PropertySnapshot):
        await outbound.note_change(deps, snapshot.agency_id, snapshot.property_id, snapshot.inventory_version)


async def on_raw_revision(deps: Deps, record: Record) -> None:
    """Raw bytes of a channel, written by any connector: the same use case as the webhook, without a signature."""
    if record.value is None:
        raise PoisonMessage("a tombstone is not legal on this topic")
    try:
        await inbound.receive_record(deps, _connection_id(record), record.value)
    except (ConnectionUnknown, RevisionTooLarge, UnparseableRevision) as error:
        raise PoisonMessage(str(error)) from None


def _agency(agency_id: UUID | None) -> UUID:
    if agency_id is None:
        raise PoisonMessage("a change must name its agency")
    return agency_id


def _result(change: InventoryChange) -> RevisionResult:
    assert change.channel is not None
    return RevisionResult(
        connection_id=change.channel.connection_id,
        revision_id=change.channel.revision_id,
        outcome=change.channel.outcome.value,
        reason=change.channel.reason,
        reservation_id=getattr(change, "reservation_id", None),
        block_id=getattr(change, "block_id", None),
    )


def _connection_id(record: Record) -> str:
    """The header, else the key; connectors write text with or without JSON's quotes."""
    named = next((value for name, value in record.headers if name == CONNECTION_HEADER), record.key)
    return (named or b"").decode("utf-8", "replace").strip().strip('"')
