"""What an entry of the table says, and the query parameters several entries share."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from contracts.generate import query_parameters
from contracts.problems import ProblemCode
from contracts.values import ReservationStatus
from runtime.pages import MAX_LIMIT


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
    channel's signature in place of a bearer token, `public` ones neither: their address is the secret. `text` is the
    media type of an answer that is no JSON. `problems` are the codes beyond those every such route can answer.
    """

    name: str
    method: str
    path: str
    service: str
    inside: str
    summary: str
    answer: type[BaseModel] | None
    status: int = 200
    also: dict[int, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: tuple[Query, ...] = ()
    creates: bool = False
    signed: bool = False
    public: bool = False
    text: str = ""
    problems: tuple[ProblemCode, ...] = ()
    description: str = ""

    @property
    def tag(self) -> str:
        """The area of the API: the first part of the path."""
        return self.path.split("/")[1]


def queries_of(model: type[BaseModel]) -> tuple[Query, ...]:
    """The parameters of a query string that a service reads as this model."""
    return tuple(
        Query(found["name"], found["schema"], found.get("description", ""), required=found["required"])
        for found in query_parameters(model)
    )


UUID_TEXT = {"type": "string", "format": "uuid"}
DATE_TEXT = {"type": "string", "format": "date"}
LIMIT = Query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}, "Items per page.")
CURSOR = Query("cursor", {"type": "string"}, "`next_cursor` of the page before.")
PAGE = (LIMIT, CURSOR)
OFFSET = Query("offset", {"type": "integer", "minimum": 0, "default": 0}, "Items to leave out.")
PROPERTY_ID = Query("property_id", UUID_TEXT, "Only of this property.")
STATUS = Query(
    "status", {"type": "string", "enum": [status.value for status in ReservationStatus]}, "Only this status."
)
CONFLICT_STATE = Query("state", {"type": "string", "enum": ["open", "closed"]}, "Only open or only closed ones.")
CONNECTION_ID = Query("connection_id", UUID_TEXT, "Only of this connection.")
REVISION_STATE = Query("state", {"type": "string", "maxLength": 40}, "Only in this state, such as `applied`.")
BATCH_STATUS = Query(
    "status",
    {"type": "string", "enum": ["any", "running", "failed", "success"], "default": "any"},
    "Only those that stand like this.",
)
OLDER_THAN_DAYS = Query(
    "older_than_days", {"type": "integer", "minimum": 1, "maximum": 3650, "default": 30}, "Only older ones."
)
DRY_RUN = Query("dry_run", {"type": "boolean", "default": False}, "Change nothing, only say what would be done.")
BOOKING_FILTERS = (
    PROPERTY_ID,
    Query("guest_id", UUID_TEXT, "Only of this guest."),
    STATUS,
    Query("source", {"type": "string", "enum": ["direct", "ota"]}, "Only from here."),
    Query("from_date", DATE_TEXT, "Only stays with a night on or after this date."),
    Query("to_date", DATE_TEXT, "Only stays with a night before this date."),
    Query("updated_since", {"type": "string", "format": "date-time"}, "Only what changed at or after this instant."),
    Query("q", {"type": "string", "maxLength": 200}, "Guest's name or e-mail, the reservation's id or the OTA's code."),
    Query("with_total", {"type": "boolean", "default": False}, "Also answer `total`, the number of all matches."),
)
