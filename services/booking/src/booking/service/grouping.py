"""Requests of this process that come at the same time, made one database call; called by `service.reservations`.

Nothing is waited for: a request that finds no call under way goes at once. While a call is under way, requests collect,
and the next call takes all that wait. Why, with figures: docs/decisions/0010.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from booking.repository import contexts, writes
from booking.repository.contexts import Found, Question
from booking.repository.writes import WriteRequest, Written
from runtime.postgres import Pool, sqlstate

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

CONNECTION_LOST = "08"


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Asked, Answered]):
    pool: Pool
    asked: Asked
    marks: frozenset[Hashable]
    answer: "asyncio.Future[Answered]"

    def give(self, answer: Answered) -> None:
        if not self.answer.done():  # its caller may have gone away
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Grouped(Generic[Asked, Answered]):
    """Makes one call of the requests that wait; two with a common mark never share a call.

    `together` answers several requests in order. When it is refused as a whole, each request is sent again by `alone`;
    not so when the connection broke, because what happened is not known then.
    """

    def __init__(
        self,
        together: Callable[[Pool, Sequence[Asked]], Awaitable[Sequence[Answered]]],
        alone: Callable[[Pool, Asked], Awaitable[Answered]],
        largest: int,
    ) -> None:
        self._together = together
        self._alone = alone
        self._largest = largest
        self._waiting: list[_Waiting[Asked, Answered]] = []
        self._is_working = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, pool: Pool, asked: Asked, marks: frozenset[Hashable] = frozenset()) -> Answered:
        """The answer of one request, or what its call raised."""
        if self._largest == 1:
            return await self._alone(pool, asked)
        waiting: _Waiting[Asked, Answered] = _Waiting(pool, asked, marks, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._is_working:
            self._is_working = True
            self._start(self._work())
        return await waiting.answer

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while group := self._take():
            await self._send(group)
        # With no await since the last look: a request that comes from now on starts its own call.
        self._is_working = False

    def _take(self) -> list[_Waiting[Asked, Answered]]:
        group: list[_Waiting[Asked, Answered]] = []
        left: list[_Waiting[Asked, Answered]] = []
        marks: set[Hashable] = set()
        for waiting in self._waiting:
            if waiting.answer.done():  # its caller went away
                continue
            is_fit = not group or (waiting.pool is group[0].pool and marks.isdisjoint(waiting.marks))
            if is_fit and len(group) < self._largest:
                group.append(waiting)
                marks |= waiting.marks
            else:
                left.append(waiting)
        self._waiting = left
        return group

    async def _send(self, group: Sequence[_Waiting[Asked, Answered]]) -> None:
        try:
            answers = await self._together(group[0].pool, [waiting.asked for waiting in group])
        except Exception as error:  # handed to who asked
            state = sqlstate(error)
            is_undone = state is not None and not state.startswith(CONNECTION_LOST)
            goes_alone = is_undone and (len(group) > 1 or state == writes.LOCK_TIMEOUT)
            for waiting in group:
                if goes_alone:  # by a task of its own: who waits for a lock must not keep the others from their calls
                    self._start(self._send_alone(waiting))
                else:
                    waiting.fail(error)
        else:
            for waiting, answer in zip(group, answers, strict=True):
                waiting.give(answer)

    async def _send_alone(self, waiting: _Waiting[Asked, Answered]) -> None:
        try:
            waiting.give(await self._alone(waiting.pool, waiting.asked))
        except Exception as error:  # handed to who asked
            waiting.fail(error)


async def _context_alone(pool: Pool, question: Question) -> Found:
    (found,) = await contexts.select_contexts(pool, [question])
    return found


class LedgerCalls:
    """The two calls a booking makes, each grouped; `largest` is the most requests of one call, 1 turns grouping off."""

    def __init__(self, largest: int = 32) -> None:
        self._contexts = Grouped(contexts.select_contexts, _context_alone, largest)
        self._writes = Grouped(writes.write_together, writes.write_alone, largest)

    async def context(self, pool: Pool, question: Question) -> Found:
        """What a booking is judged by."""
        return await self._contexts.ask(pool, question)

    async def write(self, pool: Pool, request: WriteRequest) -> Written:
        """`writes.write_changes` of one new reservation."""
        document = writes.document_of(request)
        try:
            answer = await self._writes.ask(pool, document, _marks(request))
            if writes.must_come_alone(answer):
                answer = await writes.write_alone(pool, document)
        except Exception as error:  # most are refusals
            raise writes.refusal_of(error) from error
        return writes.written_of(answer)


def _marks(request: WriteRequest) -> frozenset[Hashable]:
    """A key or a new guest that two requests of one call must not share: the second has to see what the first did."""
    guests = [change.guest for change, _ in request.changes if change.guest is not None]
    emails = [(guest.agency_id, guest.email_normalised) for guest in guests if guest.email_normalised is not None]
    keys = [(request.key.agency_id, request.key.caller, request.key.key)] if request.key is not None else []
    return frozenset([*emails, *keys])
