"""Booking over Kafka: OTA revisions of channel-sync's topic end in the same use cases as HTTP."""

from booking.domain.errors import NotFound
from booking.domain.model import ChannelReference
from booking.domain.revisions import Revision
from booking.service import channel
from booking.service.writing import Deps
from contracts.channel_sync_reservations_v1 import ChannelReservationReceived, RevisionKind, RevisionStatus
from contracts.envelope import Envelope
from contracts.topics import CHANNEL_SYNC_RESERVATIONS, Topic
from contracts.values import Occupancy
from runtime.consumer import Handler
from runtime.events import parse_event
from runtime.kafka import PoisonMessage, Record

# An OTA that names no occupancy sold the stay to at least one adult.
UNKNOWN_OCCUPANCY = Occupancy(adults=1)


def handlers(deps: Deps) -> dict[Topic, Handler]:
    """The topics booking reads, and what handles each."""

    async def on_channel_reservation(record: Record) -> None:
        event = parse_event(CHANNEL_SYNC_RESERVATIONS, record)
        if not isinstance(event.data, ChannelReservationReceived):
            return  # a watermark
        try:
            await channel.apply_revision(deps, _revision(event.envelope, event.data))
        except NotFound as error:
            raise PoisonMessage(str(error)) from error

    return {CHANNEL_SYNC_RESERVATIONS: on_channel_reservation}


def _revision(envelope: Envelope, data: ChannelReservationReceived) -> Revision:
    if envelope.agency_id is None:
        raise PoisonMessage("the envelope names no agency")
    occupancy = data.occupancy or UNKNOWN_OCCUPANCY
    guest = data.guest
    return Revision(
        agency_id=envelope.agency_id,
        property_id=data.property_id,
        channel=ChannelReference(data.connection_id, data.ota_name, data.ota_reservation_code),
        group_id=data.group_id,
        revision_id=data.revision_id,
        revision_no=data.revision_no,
        is_cancellation=data.status is RevisionStatus.CANCELLED,
        check_in=data.check_in,
        check_out=data.check_out,
        adults=occupancy.adults,
        children=occupancy.children,
        infants=occupancy.infants,
        guest_name=guest.name if guest else None,
        guest_email=guest.email if guest else None,
        guest_phone=guest.phone if guest else None,
        total_amount_minor=data.total_amount_minor,
        currency=data.currency,
        is_block=data.kind is RevisionKind.BLOCK,
    )
