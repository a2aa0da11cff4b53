"""What every use case that writes stands on: its dependencies, and the frame of a decision under the lock."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from booking import events
from booking.domain.errors import AnswerErased, KeyWonElsewhere, NotFound
from booking.domain.inventory import after, expire_overdue
from booking.domain.model import Change, LedgerState
from booking.repository import reads, writes
from booking.repository.writes import AnswerDraft, Event, WriteRequest, Written
from booking.service.grouping import LedgerCalls
from booking.service.terms import TermsCache
from contracts.topics import BOOKING_RESERVATIONS
from runtime.idempotency import (
    IdempotencyInProgress,
    IdempotencyKey,
    StoredAnswer,
    insert_idempotent_answer,
    select_idempotent_answer,
)
from runtime.postgres import Connection, Pool, retrying_deadlocks, sqlstate, transaction

Record = TypeVar("Record")
new_id = uuid4
ERASED = 410


@dataclass(frozen=True, slots=True)
class Deps:
    """What a use case needs from outside: a pool, how to wake the relay after a commit, and two settings.

    `partitions` is the partition count of the topics, `pending_ttl` how long a pending reservation keeps its nights,
    `actor` who the history of a reservation names.

    The API's pool is the application role's: row security sees the agency of each transaction. Consumers and workers
    pass the system role's.
    """

    pool: Pool
    wake: Callable[[], None]
    partitions: int
    pending_ttl: timedelta
    actor: str = "system"
    terms: TermsCache = field(default_factory=TermsCache)
    calls: LedgerCalls = field(default_factory=LedgerCalls)

    def by(self, actor: str) -> "Deps":
        """The same on behalf of somebody: a token's subject, or the connection an OTA revision came by."""
        return replace(self, actor=actor)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a use case decided under the lock; `answer` is the draft of a creating request's answer."""

    changes: Sequence[Change]
    answer: AnswerDraft | None = None


Decide = Callable[[Connection, LedgerState], Awaitable[Decision]]
DecideOverSeveral = Callable[[Connection, Mapping[UUID, LedgerState]], Awaitable[Decision]]
Require = Callable[[LedgerState], None]
Finish = Callable[[Connection, Written], Awaitable[Record]]


async def under_lock(
    deps: Deps,
    agency_id: UUID,
    property_id: UUID,
    decide: Decide,
    finish: Finish[Record],
    key: IdempotencyKey | None = None,
    shard: int | None = None,
) -> Record:
    """`under_locks` for one property."""

    async def decide_one(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        return await decide(connection, states[property_id])

    return await under_locks(deps, agency_id, [property_id], decide_one, finish, key, shard)


async def under_locks(
    deps: Deps,
    agency_id: UUID,
    property_ids: Collection[UUID],
    decide: DecideOverSeveral,
    finish: Finish[Record],
    key: IdempotencyKey | None = None,
    shard: int | None = None,
) -> Record:
    """One transaction: lock, look the key up, expire what is overdue, decide, write; `finish` makes the result.

    Raises `NotFound` for a property the agency does not have, and whatever `decide` raises; then nothing is written.
    """

    async def attempt() -> Record:
        async with transaction(deps.pool, agency_id) as connection:
            await writes.lock_properties(connection, property_ids)
            stored = await select_idempotent_answer(connection, key) if key else None
            if stored is not None:
                return await finish(connection, Written(stored, {}))
            states = {item: await _state(connection, agency_id, item) for item in property_ids}
            expired = {item: expire_overdue(state, new_id) for item, state in states.items()}
            decision = await decide(connection, {item: after(states[item], expired[item]) for item in states})
            changes = [*(change for some in expired.values() for change in some), *decision.changes]
            written = Written(None, {item: state.property.inventory_version for item, state in states.items()})
            if changes:
                request = write_request(deps, agency_id, changes, key=key, answer=decision.answer, shard=shard)
                written = await writes.write_changes(connection, request)
            return await finish(connection, written)

    result = await retrying_deadlocks(attempt)
    deps.wake()
    return result


async def _state(connection: Connection, agency_id: UUID, property_id: UUID) -> LedgerState:
    state = await reads.select_ledger_state(connection, property_id)
    if state is None or state.property.agency_id != agency_id:
        raise NotFound("property")
    return state


async def replaying(
    deps: Deps, key: IdempotencyKey | None, create: Callable[[], Awaitable[StoredAnswer]]
) -> StoredAnswer:
    """Run a creating use case; when a concurrent request with the same key won, answer with what it stored.

    Raises `AnswerErased` for a stored answer that was blanked.
    """
    try:
        answer = await create()
    except KeyWonElsewhere:
        if key is None:
            raise
        async with transaction(deps.pool, key.agency_id) as connection:
            stored = await select_idempotent_answer(connection, key)
        if stored is None:
            raise IdempotencyInProgress(IdempotencyInProgress.__doc__) from None
        answer = stored
    if answer.status == ERASED:
        raise AnswerErased(AnswerErased.__doc__)
    return answer


async def keep_answer(connection: Connection, key: IdempotencyKey | None, answer: StoredAnswer) -> None:
    """Store an answer that `write_requests` does not, last in its transaction; `replaying` meets `KeyWonElsewhere`."""
    if key is None:
        return
    try:
        await insert_idempotent_answer(connection, key, answer)
    except IdempotencyInProgress as error:
        raise KeyWonElsewhere(KeyWonElsewhere.__doc__) from error
    except Exception as error:
        if sqlstate(error) == writes.LOCK_TIMEOUT:
            raise IdempotencyInProgress(IdempotencyInProgress.__doc__) from error
        raise


async def only_answer(_: Connection, written: Written) -> StoredAnswer:
    """The `finish` of creating use cases."""
    return written.created


def write_request(
    deps: Deps,
    agency_id: UUID,
    changes: Sequence[Change],
    *,
    key: IdempotencyKey | None = None,
    answer: AnswerDraft | None = None,
    rules_versions: dict[UUID, int] | None = None,
    shard: int | None = None,
) -> WriteRequest:
    """The request of one transaction: each change with its event."""
    return WriteRequest(
        agency_id,
        BOOKING_RESERVATIONS.name,
        [(change, Event(change.event, events.subject_of(change), events.event_data(change))) for change in changes],
        key,
        answer,
        rules_versions,
        shard,
        deps.actor,
    )
