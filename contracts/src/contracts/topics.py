"""The topic registry: who writes, who reads, what it looks like, how long it stays. All Kafka names are here."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from contracts import booking_properties_v1, booking_reservations_v1, channel_sync_activity_v1
from contracts.channel_sync_reservations_v1 import ChannelReservationReceived
from contracts.values import EventModel

MIB = 1024 * 1024
CONSUMED_MAX_BYTES = 4 * MIB
PRODUCER_MAX_BYTES = 5 * MIB

SERVICES = ("booking", "availability", "channel-sync", "gateway")
EXTERNAL = "external"
"""Consumers outside the suite: they keep their own dead letters."""

Cleanup = Literal["delete", "compact", "compact,delete"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `retention` is None for compacted topics; `events` maps an envelope type to its model."""

    name: str
    owner: str
    key: str
    cleanup: Cleanup
    retention: timedelta | None
    max_message_bytes: int
    null_is_legal: bool
    consumers: tuple[str, ...]
    description: str
    events: dict[str, type[EventModel]] = field(default_factory=dict, compare=False)

    def dead_letter_name(self, service: str) -> str:
        """Name of the topic where `service` puts what it could not process from this one."""
        return f"{self.name}.{service}.dlq"

    @property
    def dead_letters(self) -> tuple["Topic", ...]:
        """The dead-letter topics of this topic, one per consumer of the suite."""
        return tuple(
            Topic(
                name=self.dead_letter_name(service),
                owner=service,
                key="origin topic/partition/offset",
                cleanup="compact,delete",
                retention=timedelta(days=7),
                max_message_bytes=PRODUCER_MAX_BYTES,
                null_is_legal=True,
                consumers=(service,),
                description=f"What {service} could not process from {self.name}; original bytes, origin in headers.",
            )
            for service in self.consumers
            if service in SERVICES
        )


def _by_name(*models: type[EventModel]) -> dict[str, type[EventModel]]:
    return {model.__name__: model for model in models}


BOOKING_RESERVATIONS = Topic(
    name="booking.reservations.v1",
    owner="booking",
    key="property_id",
    cleanup="delete",
    retention=timedelta(days=7),
    max_message_bytes=CONSUMED_MAX_BYTES,
    null_is_legal=False,
    consumers=("availability", "channel-sync"),
    description="Every committed change of a property's inventory, in version order per property; watermarks.",
    events=_by_name(*booking_reservations_v1.CHANGES, booking_reservations_v1.Watermark),
)
BOOKING_PROPERTIES = Topic(
    name="booking.properties.v1",
    owner="booking",
    key="property_id",
    cleanup="compact",
    retention=None,
    max_message_bytes=CONSUMED_MAX_BYTES,
    null_is_legal=True,
    consumers=("availability", "channel-sync"),
    description="The whole state of each property at a version, and per partition the delta offset it contains.",
    events=_by_name(booking_properties_v1.PropertySnapshot, booking_properties_v1.DeltaOffset),
)
CHANNEL_SYNC_RESERVATIONS = Topic(
    name="channel-sync.reservations.v1",
    owner="channel-sync",
    key="property_id",
    cleanup="delete",
    retention=timedelta(days=7),
    max_message_bytes=CONSUMED_MAX_BYTES,
    null_is_legal=False,
    consumers=("booking",),
    description="Normalised OTA revisions; carries guests' personal data.",
    events=_by_name(ChannelReservationReceived, booking_reservations_v1.Watermark),
)
CHANNEL_SYNC_ACTIVITY = Topic(
    name="channel-sync.activity.v1",
    owner="channel-sync",
    key="connection_id",
    cleanup="delete",
    retention=timedelta(days=7),
    max_message_bytes=CONSUMED_MAX_BYTES,
    null_is_legal=False,
    consumers=(EXTERNAL,),
    description="Batch and operation progress, staleness changes, for integrators; the suite itself reads the outbox.",
    events=_by_name(
        channel_sync_activity_v1.SyncOperationChanged,
        channel_sync_activity_v1.SyncBatchChanged,
        channel_sync_activity_v1.ChannelStalenessChanged,
        booking_reservations_v1.Watermark,
    ),
)
OTA_INBOUND = Topic(
    name="ota.inbound.v1",
    owner="channel-sync",
    key="connection_id (or the header connection-id)",
    cleanup="delete",
    retention=timedelta(days=7),
    max_message_bytes=CONSUMED_MAX_BYTES,
    null_is_legal=False,
    consumers=("channel-sync",),
    description="Raw OTA bytes written by any Kafka Connect source; no envelope; carries guests' personal data.",
)

TOPICS: tuple[Topic, ...] = (
    BOOKING_RESERVATIONS,
    BOOKING_PROPERTIES,
    CHANNEL_SYNC_RESERVATIONS,
    CHANNEL_SYNC_ACTIVITY,
    OTA_INBOUND,
)


def owned_by(service: str) -> tuple[Topic, ...]:
    """Topics that `service` creates: its own, and the dead-letter topics it writes."""
    own = [topic for topic in TOPICS if topic.owner == service]
    letters = [letter for topic in TOPICS for letter in topic.dead_letters if letter.owner == service]
    return (*own, *letters)
