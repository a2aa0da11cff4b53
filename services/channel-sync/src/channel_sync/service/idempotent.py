"""Owns how a creating use case and its Idempotency-Key share a transaction; called by the other service modules."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from runtime.idempotency import (
    IdempotencyInProgress,
    IdempotencyKey,
    StoredAnswer,
    insert_idempotent_answer,
    select_idempotent_answer,
)
from runtime.postgres import Connection, Pool, sqlstate, transaction

LOCK_NOT_AVAILABLE = "55P03"


async def stored_answer(pool: Pool, key: IdempotencyKey | None) -> StoredAnswer | None:
    """The answer of an earlier request with this key; raises `IdempotencyMismatch`."""
    if key is None:
        return None
    async with transaction(pool, key.agency_id) as conn:
        return await select_idempotent_answer(conn, key)


async def create_once(
    pool: Pool, agency_id: UUID, key: IdempotencyKey | None, effect: Callable[[Connection], Awaitable[StoredAnswer]]
) -> StoredAnswer:
    """Run `effect` and store its answer in one transaction, or replay the answer a request with this key stored.

    Of two requests at a time the second waits for the first one's commit, rolls back and replays; after the lock
    timeout it gets `IdempotencyInProgress`. `effect` may return a replayed answer that it found under its own lock.
    """
    try:
        async with transaction(pool, agency_id) as conn:
            if key is not None and (stored := await select_idempotent_answer(conn, key)) is not None:
                return stored
            answer = await effect(conn)
            if key is not None and not answer.replayed:
                await _store(conn, key, answer)
            return answer
    except IdempotencyInProgress:
        stored = await stored_answer(pool, key)
        if stored is None:
            raise
        return stored


async def _store(conn: Connection, key: IdempotencyKey, answer: StoredAnswer) -> None:
    try:
        await insert_idempotent_answer(conn, key, answer)
    except Exception as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise IdempotencyInProgress(IdempotencyInProgress.__doc__) from error
        raise
