"""The one way into the ledger: the property lock and `write_requests`, with the refusals it answers or raises."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from booking.domain.errors import (
    DatesUnavailable,
    GuestAppeared,
    HoldsOverdue,
    KeyWonElsewhere,
    NotFound,
    RangeMoved,
    RulesMoved,
)
from booking.domain.model import Change
from booking.repository.rows import (
    block_json,
    competitor_from,
    conflict_json,
    decision_json,
    detail_of,
    guest_json,
    hold_json,
    property_json,
    range_json,
    reservation_json,
)
from booking.repository.terms import terms_json
from runtime.idempotency import IdempotencyInProgress, IdempotencyKey, IdempotencyMismatch, StoredAnswer
from runtime.postgres import Connection, Pool
from runtime.telemetry import carrier_of

INVENTORY_RANGES_NO_OVERLAP = "inventory_ranges_no_overlap"
NIGHTS_TAKEN = "PM001"
PROPERTY_MISSING = "PM008"
COME_ALONE = "PM009"
LOCK_TIMEOUT = "55P03"
Document = dict[str, Any]
Answer = dict[str, Any]
_REFUSALS: dict[str, type[Exception]] = {
    "PM002": RulesMoved,
    "PM003": IdempotencyMismatch,
    "PM004": KeyWonElsewhere,
    "PM005": GuestAppeared,
    "PM006": HoldsOverdue,
    "PM007": RangeMoved,
}


@dataclass(frozen=True, slots=True)
class Event:
    """What the topic gets for a change: type, subject, and data without the versions the database gives."""

    type: str
    subject: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerDraft:
    """The 2xx answer of a creating request; the database adds version and instants of `property_id`.

    With `items` (each a property and a booking's body) they are added to each of these, and the body gets them whole.
    """

    property_id: UUID
    status: int
    body: dict[str, Any]
    items: tuple[tuple[UUID, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the answer (None when no draft was given) and each property's version after it."""

    answer: StoredAnswer | None
    versions: dict[UUID, int]

    @property
    def created(self) -> StoredAnswer:
        """The answer of a write that drafted one."""
        if self.answer is None:
            raise RuntimeError("this write drafted no answer")
        return self.answer


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """The decided changes of one transaction, each with its event.

    `rules_versions` holds the version a property's rules were judged at, when that happened without its lock. `shard`
    is the partition of a property that is created here.
    """

    agency_id: UUID
    topic: str
    changes: Sequence[tuple[Change, Event]]
    key: IdempotencyKey | None = None
    answer: AnswerDraft | None = None
    rules_versions: dict[UUID, int] | None = None
    shard: int | None = None
    actor: str = "system"


async def lock_properties(connection: Connection, property_ids: Collection[UUID]) -> None:
    """Take the properties' locks, sorted, until the transaction ends; a statement of its own, before any read."""
    await connection.execute(
        """SELECT pg_advisory_xact_lock(sorted.lock_key)
           FROM (SELECT DISTINCT property_lock_key(id) AS lock_key
                 FROM unnest($1::uuid[]) AS id ORDER BY 1) AS sorted""",
        list(property_ids),
    )


async def write_changes(executor: Connection | Pool, request: WriteRequest) -> Written:
    """Apply decided changes: ranges, versions, records, events, idempotency. All of it, or a refusal is raised."""
    try:
        return written_of(await write_alone(executor, document_of(request)))
    except asyncpg.PostgresError as error:
        raise refusal_of(error) from error


async def write_alone(executor: Connection | Pool, document: Document) -> Answer:
    """The answer of one request, which waits for the locks it needs; what is raised is told by `refusal_of`."""
    (answer,) = await _write_requests(executor, [document], waits=True)
    return answer


async def write_together(executor: Connection | Pool, documents: Sequence[Document]) -> list[Answer]:
    """The answers of requests for one new reservation each, in order and in one transaction.

    No lock is waited for: some may have to come alone (`must_come_alone`). What is raised concerns all of them, and
    nothing of them stays.
    """
    return await _write_requests(executor, documents, waits=False)


async def _write_requests(executor: Connection | Pool, documents: Sequence[Document], *, waits: bool) -> list[Answer]:
    answers: list[Answer] = await executor.fetchval("SELECT write_requests($1, $2)", documents, waits)
    return answers


def must_come_alone(answer: Answer) -> bool:
    """Whether the request was not decided, because it would have had to wait for a lock."""
    return answer.get("refused") == COME_ALONE


def written_of(answer: Answer) -> Written:
    """What a request came to; raises its refusal."""
    refused = answer.get("refused")
    if refused is not None:
        raise _refusal(refused, answer.get("detail"))
    stored = None
    if answer["body"] is not None:
        stored = StoredAnswer(answer["status"], answer["body"], replayed=answer["replayed"])
    versions = {UUID(key): version for key, version in answer.get("versions", {}).items()}
    return Written(stored, versions)


def refusal_of(error: Exception) -> Exception:
    """The refusal that a database error stands for, or the error itself."""
    if not isinstance(error, asyncpg.PostgresError):
        return error
    state = error.sqlstate or ""
    if state == LOCK_TIMEOUT and "idempotency_keys" in (error.context or ""):
        return IdempotencyInProgress(IdempotencyInProgress.__doc__)
    if state == NIGHTS_TAKEN:
        return _refusal(state, detail_of(error.detail))
    return _refusal(state, None) if state in _REFUSALS else error


def _refusal(code: str, detail: dict[str, Any] | None) -> Exception:
    if code == NIGHTS_TAKEN:
        assert detail is not None, "taken nights come with what takes them"
        return DatesUnavailable(competitor_from(detail))
    if code == PROPERTY_MISSING:
        return NotFound("property")
    refusal = _REFUSALS[code]
    return refusal(refusal.__doc__)


def document_of(request: WriteRequest) -> Document:
    """The request as `write_requests` reads it, with the trace it is made in."""
    # A range taken and given back within one transaction is in its events, but never becomes a row.
    taken = {stored.range_id for change, _ in request.changes for stored in change.occupied}
    transient = taken & {stored.range_id for change, _ in request.changes for stored in change.released}
    document: dict[str, Any] = {
        "agency_id": request.agency_id,
        "topic": request.topic,
        "trace": carrier_of(),
        "actor": request.actor,
        "changes": [_change_json(change, event, request.shard, transient) for change, event in request.changes],
    }
    if request.key is not None:
        key = request.key
        document["idempotency"] = {"caller": key.caller, "key": key.key, "fingerprint": key.fingerprint}
    if request.answer is not None:
        document["answer"] = _answer_json(request.answer)
    if request.rules_versions:
        document["rules_versions"] = {str(key): version for key, version in request.rules_versions.items()}
    return document


def _answer_json(answer: AnswerDraft) -> dict[str, Any]:
    document: dict[str, Any] = {"property_id": answer.property_id, "status": answer.status, "body": answer.body}
    if answer.items:
        document["items"] = [{"property_id": item, "body": body} for item, body in answer.items]
    return document


def _change_json(change: Change, event: Event, shard: int | None, transient: set[UUID]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "property_id": change.property_id,
        "event_id": uuid4(),
        "event_type": event.type,
        "subject": event.subject,
        "data": event.data,
        "release": [stored.range_id for stored in change.released if stored.range_id not in transient],
        "occupy": [range_json(stored) for stored in change.occupied if stored.range_id not in transient],
    }
    if change.property is not None:
        document["property"] = property_json(change.property)
        if change.terms is not None:
            document["property"]["terms"] = terms_json(change.terms)
        document["shard"] = shard
    if change.guest is not None:
        document["guest"] = guest_json(change.guest)
    if change.reservation is not None:
        document["reservation"] = reservation_json(change.reservation)
    if change.hold is not None:
        document["hold"] = hold_json(change.hold)
    if change.block is not None:
        document["block"] = block_json(change.block)
    if change.conflict is not None:
        document["conflict"] = conflict_json(change.conflict)
    if change.revision is not None:
        document["revision"] = decision_json(change.revision)
    return document
