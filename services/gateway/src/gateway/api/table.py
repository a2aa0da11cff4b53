"""The public routes, one entry each: who serves it, where, with which models; read by the other modules of `api`."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from contracts import availability_http_v1 as availability
from contracts import booking_http_v1 as booking
from contracts import channel_sync_http_v1 as channels
from contracts.problems import ProblemCode
from contracts.values import ReservationStatus
from gateway.clients import AVAILABILITY, BOOKING, CHANNEL_SYNC
from runtime.pages import MAX_LIMIT

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter, for the documentation alone: the service that gets it judges it."""

    name: str
    schema: dict[str, Any]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class PublicRoute:
    """One public route below `/api/v1`.

    `inside` is its path in `service`; both paths have the same parameters, which are UUIDs. `body` and `answer` are the
    models the service validates and answers. `creates` routes take an Idempotency-Key. `signed` routes carry a
    channel's signature in place of a bearer token. `problems` are the codes beyond those every such route can answer.
    """

    name: str
    method: str
    path: str
    service: str
    inside: str
    summary: str
    answer: type[BaseModel]
    status: int = 200
    also: dict[int, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: tuple[Query, ...] = ()
    creates: bool = False
    signed: bool = False
    problems: tuple[ProblemCode, ...] = ()
    description: str = ""

    @property
    def tag(self) -> str:
        """The area of the API: the first part of the path."""
        return self.path.split("/")[1]


_UUID = {"type": "string", "format": "uuid"}
_DATE = {"type": "string", "format": "date"}
LIMIT = Query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}, "Items per page.")
CURSOR = Query("cursor", {"type": "string"}, "`next_cursor` of the page before.")
PAGE = (LIMIT, CURSOR)
OFFSET = Query("offset", {"type": "integer", "minimum": 0, "default": 0}, "Items to leave out.")
PROPERTY_ID = Query("property_id", _UUID, "Only of this property.")
STATUS = Query(
    "status", {"type": "string", "enum": [status.value for status in ReservationStatus]}, "Only this status."
)
CONFLICT_STATE = Query("state", {"type": "string", "enum": ["open", "closed"]}, "Only open or only closed ones.")
CONNECTION_ID = Query("connection_id", _UUID, "Only of this connection.")
REVISION_STATE = Query("state", {"type": "string", "maxLength": 40}, "Only in this state, such as `applied`.")
AVAILABILITY_QUERY = (
    Query("property_id", _UUID, "The property.", required=True),
    Query("from_date", _DATE, "First night asked for.", required=True),
    Query("to_date", _DATE, "Day after the last night; at most 365 days after `from_date`.", required=True),
    Query(
        "min_version",
        {"type": "integer", "minimum": 0},
        "The `inventory_version` of an own write: the answer is never older.",
    ),
)

ROUTES: tuple[PublicRoute, ...] = (
    # The busiest routes stand first: routes are matched from the top.
    PublicRoute(
        "read_availability",
        "GET",
        "/availability",
        AVAILABILITY,
        "/availability",
        "What is occupied between two dates, and how fresh the answer is",
        availability.AvailabilityAnswer,
        query=AVAILABILITY_QUERY,
        problems=(ProblemCode.NOT_FOUND,),
    ),
    PublicRoute(
        "create_booking",
        "POST",
        "/bookings",
        BOOKING,
        "/bookings",
        "Book a stay",
        booking.Booking,
        201,
        body=booking.BookingCreate,
        creates=True,
        problems=(
            ProblemCode.INVENTORY_OVERLAP,
            ProblemCode.STAY_RULES_VIOLATED,
            ProblemCode.DEADLOCK,
            ProblemCode.NOT_FOUND,
        ),
    ),
    PublicRoute(
        "read_booking", "GET", "/bookings/{id}", BOOKING, "/bookings/{id}", "Read a reservation", booking.Booking
    ),
    PublicRoute(
        "list_bookings",
        "GET",
        "/bookings",
        BOOKING,
        "/bookings",
        "List reservations, newest first",
        booking.BookingList,
        query=(PROPERTY_ID, STATUS, *PAGE),
    ),
    PublicRoute(
        "confirm_booking",
        "POST",
        "/bookings/{id}/confirm",
        BOOKING,
        "/bookings/{id}/confirm",
        "Confirm an inquiry or a pending reservation: it takes its nights",
        booking.Booking,
        problems=(
            ProblemCode.INVENTORY_OVERLAP,
            ProblemCode.STAY_RULES_VIOLATED,
            ProblemCode.ILLEGAL_TRANSITION,
            ProblemCode.DEADLOCK,
        ),
    ),
    PublicRoute(
        "cancel_booking",
        "POST",
        "/bookings/{id}/cancel",
        BOOKING,
        "/bookings/{id}/cancel",
        "Cancel a reservation",
        booking.Booking,
        body=booking.TransitionRequest,
        body_required=False,
        problems=(ProblemCode.ILLEGAL_TRANSITION, ProblemCode.DEADLOCK),
        description="Frees the nights at once. Cancelling twice answers the same. A reservation is never deleted: "
        "DELETE answers 405.",
    ),
    PublicRoute(
        "create_property",
        "POST",
        "/properties",
        BOOKING,
        "/properties",
        "Add a property",
        booking.Property,
        201,
        body=booking.PropertyCreate,
        creates=True,
    ),
    PublicRoute(
        "list_properties",
        "GET",
        "/properties",
        BOOKING,
        "/properties",
        "List properties",
        booking.PropertyList,
        query=PAGE,
    ),
    PublicRoute(
        "read_property", "GET", "/properties/{id}", BOOKING, "/properties/{id}", "Read a property", booking.Property
    ),
    PublicRoute(
        "create_block",
        "POST",
        "/availability/blocks",
        BOOKING,
        "/blocks",
        "Close nights by hand",
        booking.Block,
        201,
        body=booking.BlockCreate,
        creates=True,
        problems=(ProblemCode.INVENTORY_OVERLAP, ProblemCode.DEADLOCK, ProblemCode.NOT_FOUND),
    ),
    PublicRoute(
        "list_blocks",
        "GET",
        "/availability/blocks",
        BOOKING,
        "/blocks",
        "List active blocks",
        booking.BlockList,
        query=(PROPERTY_ID, *PAGE),
    ),
    PublicRoute(
        "read_block", "GET", "/availability/blocks/{id}", BOOKING, "/blocks/{id}", "Read a block", booking.Block
    ),
    PublicRoute(
        "delete_block",
        "DELETE",
        "/availability/blocks/{id}",
        BOOKING,
        "/blocks/{id}",
        "Open the nights of a block again",
        booking.Block,
        problems=(ProblemCode.DEADLOCK,),
    ),
    PublicRoute(
        "list_channel_conflicts",
        "GET",
        "/channel-conflicts",
        BOOKING,
        "/channel-conflicts",
        "List overbooked stays and what they compete with, oldest first",
        booking.ChannelConflictList,
        query=(CONFLICT_STATE, *PAGE),
    ),
    PublicRoute(
        "read_channel_conflict",
        "GET",
        "/channel-conflicts/{id}",
        BOOKING,
        "/channel-conflicts/{id}",
        "Read a conflict",
        booking.ChannelConflict,
    ),
    PublicRoute(
        "create_channel_connection",
        "POST",
        "/channel-connections",
        CHANNEL_SYNC,
        "/channel-connections",
        "Connect a channel",
        channels.ConnectionCreated,
        201,
        body=channels.ConnectionCreate,
        creates=True,
        description="The secret signs both directions. When none is sent one is made and shown in this answer alone.",
    ),
    PublicRoute(
        "list_channel_connections",
        "GET",
        "/channel-connections",
        CHANNEL_SYNC,
        "/channel-connections",
        "List connections",
        channels.ConnectionList,
        query=PAGE,
    ),
    PublicRoute(
        "read_channel_connection",
        "GET",
        "/channel-connections/{id}",
        CHANNEL_SYNC,
        "/channel-connections/{id}",
        "Read a connection",
        channels.Connection,
    ),
    PublicRoute(
        "create_listing",
        "POST",
        "/channel-connections/{id}/listings",
        CHANNEL_SYNC,
        "/channel-connections/{id}/listings",
        "Map a listing of the channel to a property",
        channels.Listing,
        201,
        body=channels.ListingCreate,
        creates=True,
        problems=(ProblemCode.ALREADY_EXISTS,),
    ),
    PublicRoute(
        "list_listings",
        "GET",
        "/channel-connections/{id}/listings",
        CHANNEL_SYNC,
        "/channel-connections/{id}/listings",
        "List the mapped listings",
        channels.ListingList,
        query=PAGE,
    ),
    PublicRoute(
        "list_operations",
        "GET",
        "/channel-connections/{id}/operations",
        CHANNEL_SYNC,
        "/channel-connections/{id}/operations",
        "List what was sent to and received from the channel, newest first",
        channels.SyncOperationList,
        query=(LIMIT, OFFSET),
    ),
    PublicRoute(
        "list_inbound_revisions",
        "GET",
        "/inbound-revisions",
        CHANNEL_SYNC,
        "/inbound-revisions",
        "List the revisions channels sent and what became of them, newest first",
        channels.InboundRevisionList,
        query=(CONNECTION_ID, REVISION_STATE, *PAGE),
    ),
    PublicRoute(
        "receive_revision",
        "POST",
        "/inbound/{connection_id}",
        CHANNEL_SYNC,
        "/inbound/{connection_id}",
        "Webhook of a channel: one signed revision of one reservation",
        channels.RevisionAccepted,
        202,
        also={200: "This revision was received before."},
        body=channels.GenericJsonRevision,
        signed=True,
        problems=(ProblemCode.SIGNATURE_INVALID,),
        description="Signed with the connection's secret: `X-PMS-Signature` is the hexadecimal HMAC-SHA256 of "
        '`X-PMS-Timestamp + "." + body`. Answered once the revision is stored durably.',
    ),
)
