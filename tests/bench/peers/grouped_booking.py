"""Owns a prototype for one comparison: booking with the concurrent requests of a process grouped into one statement.

`python -m tests.bench.peers.grouped_booking api` is `python -m booking api` with its two server-side calls replaced. It
lives here because the product does not do this; the bench copy of the schema needs `tests/bench/sql/group.sql`. A group
that fails as a whole (a deadlock, a lock timeout) fails all its requests: the product would retry them one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg

from booking.domain.errors import Competitor, DatesUnavailable, GuestAppeared, HoldsOverdue, RulesMoved
from booking.main import SERVICE
from booking.repository import reads, rows, writes
from booking.repository.reads import BookingContext
from booking.repository.writes import WriteRequest, Written
from runtime.cli import command_line
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection, Pool

LARGEST = 32
AT_ONCE = 2
"""Groups in flight per process and kind: while these run, the next ones collect."""
_CONTEXTS = """
SELECT booking_context(a, p, ci, co, g, e, c, k)
FROM unnest($1::uuid[], $2::uuid[], $3::date[], $4::date[], $5::uuid[], $6::text[], $7::text[], $8::text[])
     WITH ORDINALITY AS asked (a, p, ci, co, g, e, c, k, place)
ORDER BY place"""
_REFUSALS: dict[str, type[Exception]] = {"PM002": RulesMoved, "PM005": GuestAppeared, "PM006": HoldsOverdue}

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


@dataclass
class _Grouped(Generic[Asked, Answered]):
    """Collects calls while others are under way, and makes one of all that wait."""

    call: Callable[[Pool, Sequence[Asked]], Awaitable[Sequence[Answered]]]

    def __post_init__(self) -> None:
        self._waiting: deque[tuple[Asked, asyncio.Future[Answered]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, pool: Pool, asked: Asked) -> Answered:
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if len(self._running) < AT_ONCE:
            task = asyncio.create_task(self._work(pool))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await answer

    async def _work(self, pool: Pool) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(LARGEST, len(self._waiting)))]
            try:
                answers = await self.call(pool, [asked for asked, _ in group])
            except Exception as error:
                for _, answer in group:
                    answer.set_exception(error)
            else:
                for (_, answer), found in zip(group, answers, strict=True):
                    answer.set_result(found)


async def _write(pool: Pool, requests: Sequence[WriteRequest]) -> Sequence[dict[str, Any]]:
    documents = [writes._json(request) for request in requests]
    found: list[dict[str, Any]] = await pool.fetchval("SELECT bench_write_group($1)", documents)
    return found


async def _look(pool: Pool, asked: Sequence[tuple[Any, ...]]) -> Sequence[dict[str, Any]]:
    found = await pool.fetch(_CONTEXTS, *(list(column) for column in zip(*asked, strict=True)))
    return [row[0] for row in found]


_writes: _Grouped[WriteRequest, dict[str, Any]] = _Grouped(_write)
_reads: _Grouped[tuple[Any, ...], dict[str, Any]] = _Grouped(_look)
_write_alone = writes.write_changes


async def _write_grouped(executor: Connection | Pool, request: WriteRequest) -> Written:
    if not isinstance(executor, asyncpg.Pool):
        return await _write_alone(executor, request)
    result = await _writes.ask(executor, request)
    if (state := result.get("refused")) == writes.NIGHTS_TAKEN:
        taken = rows.detail_of(result["detail"])
        raise DatesUnavailable(
            Competitor(taken["kind"], rows.parse_date(taken["start_date"]), rows.parse_date(taken["end_date"]))
        )
    if state is not None:
        raise _REFUSALS.get(state, RuntimeError)(result["message"])
    versions = {UUID(key): version for key, version in result.get("versions", {}).items()}
    return Written(StoredAnswer(result["status"], result["body"], replayed=result["replayed"]), versions)


class _OneAnswer:
    """Stands for the pool of `select_booking_context`, so that its reading of the answer is the product's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetchval(self, _: str, *arguments: Any) -> dict[str, Any]:
        return await _reads.ask(self._pool, arguments)


_look_alone = reads.select_booking_context


async def _look_grouped(
    pool: Pool,
    agency_id: UUID,
    property_id: UUID,
    stay: tuple[date, date],
    guest: tuple[UUID | None, str | None],
    key: IdempotencyKey | None,
) -> BookingContext:
    stand_in: Any = _OneAnswer(pool)
    return await _look_alone(stand_in, agency_id, property_id, stay, guest, key)


if __name__ == "__main__":
    writes.write_changes = _write_grouped
    reads.select_booking_context = _look_grouped
    command_line(SERVICE)()
