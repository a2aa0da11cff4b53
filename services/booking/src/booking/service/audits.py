"""The auditor: re-checks I1, I8 and I10 on live data in small steps; called by the worker and the command `audit`.

One auditor works at a time, under a lease; its cursor and positions are stored with the findings of each step, so a
restart continues. What it keeps in memory is bounded and can be lost.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID, uuid4

import orjson

from booking.clients import TopicBatch, TopicLog, TopicUnavailable
from booking.domain import audits
from booking.domain.audits import (
    UNKNOWN,
    Finding,
    Matching,
    Position,
    StoredEvent,
    StoredFinding,
    Suspect,
    TopicEvent,
)
from booking.repository import audits as repository
from booking.repository.audits import Cursor, Fence
from contracts.envelope import Envelope
from runtime.kafka import Record
from runtime.logs import get_logger
from runtime.postgres import Pool, transaction
from runtime.telemetry import counter

log = get_logger(__name__)
Answer = TypeVar("Answer")

LEASE_S = 30.0
OUTBOX_LIMIT = 5_000
TOPIC_LIMIT = 2_000
PAGE_LIMIT = 500
"""Properties a step: 20,000 of them are gone through in 40 steps, well within the minute an alarm may take."""
REMEMBERED_ROWS = 50_000
CARRIED_LIMIT = 20_000
"""Records kept for rows that a long transaction hides; beyond that the topic waits."""
SUSPECT_LIMIT = 2_000
ROUNDS = 20
"""Steps at a stretch while there is more to read."""
FINDINGS_LISTED = 1_000
FULL_PASS_TIMEOUT_S = 600.0
TOPIC_TIMEOUT_S = 10.0
"""How long a step waits for Kafka: what is checked in the database alone must not stand still with a frozen broker."""
TOPIC_PAUSE_S = 20.0
"""How long Kafka is left alone after it did not serve; two thirds of a minute's steps then go to the database."""


_EVENTS = counter("pms.audit.events", "{event}", "Outbox rows audited.")
_PROPERTIES = counter("pms.audit.properties", "{property}", "Properties checked for overlaps, again and again.")
_CYCLES = counter("pms.audit.cycles", "{cycle}", "Rounds through all properties that ended.")
_FINDINGS = counter("pms.audit.findings", "{finding}", "Violations found by invariant, each once.")


class AnotherAuditor(Exception):
    """Another auditor took over; what this one read is thrown away."""


class AuditUnfinished(Exception):
    """The full pass did not end in time."""


@dataclass(slots=True)
class AuditTotals:
    """Counts since the auditor was made."""

    events: int = 0
    records: int = 0
    properties: int = 0
    cycles: int = 0


@dataclass(slots=True)
class _Step:
    """What one step read, and what it came to."""

    batch: TopicBatch | None
    newest: Fence
    rows: list[StoredEvent]
    outbox_id: int
    records: list[TopicEvent] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    known: dict[UUID, Position] = field(default_factory=dict)
    positions: dict[UUID, Position] = field(default_factory=dict)
    judged: list[UUID] = field(default_factory=list)
    given_up: dict[UUID, set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Memory:
    """What the auditor holds between steps.

    `reading` are the topic's offsets, ahead of the stored ones; `undecided` counts suspects that do not wait for the
    relay.
    """

    cursor: Cursor
    reading: dict[int, int]
    matching: Matching
    fence: Fence | None = None
    suspects: dict[UUID, Suspect] = field(default_factory=dict)
    undecided: int = 0


class Auditor:
    """Audits one ledger and its topic. `pool` is the system role's."""

    def __init__(self, pool: Pool, topic_log: TopicLog, topic: str) -> None:
        self._pool = pool
        self._log = topic_log
        self._topic = topic
        self._owner = f"{os.uname().nodename}/{os.getpid()}/{uuid4().hex[:8]}"
        self._memory: _Memory | None = None
        self._is_kafka_away = False
        self._kafka_paused_until = 0.0
        self.totals = AuditTotals()

    async def run_rounds(self) -> None:
        """The worker's step: one audit, and more of them while there is a backlog."""
        for _ in range(ROUNDS):
            if not await self.audit_once():
                return

    async def audit_once(self, *, takes_over: bool = False) -> bool:
        """One small step; True when there was more to read than it takes. Does nothing while another auditor works."""
        async with transaction(self._pool, None) as connection:
            cursor = await repository.update_lease(connection, self._owner, LEASE_S, takes_over=takes_over)
        if cursor is None:
            self._memory = None
            return False
        memory = self._memory
        if memory is None or memory.cursor != cursor:
            memory = await self._remember(cursor)
        self._memory = None  # whatever fails below: begin again from what is stored
        step = await self._read(memory)
        await self._check_events(memory, step)
        checked, after_property = await self._check_properties(memory, step)
        await self._judge_suspects(memory, step)
        ends_cycle = after_property is None
        memory.cursor = await self._save(memory, step, checked, after_property)
        self._memory = memory
        self._count(step, checked, ends_cycle=ends_cycle)
        return len(step.rows) == OUTBOX_LIMIT or len(step.records) == TOPIC_LIMIT

    async def full_pass(self) -> list[StoredFinding]:
        """Everything once: all properties, and all events up to now; every open finding. Takes the work over.

        Events that still wait for the relay are left to the next pass. Raises `AuditUnfinished`, `TopicUnavailable`.
        """
        try:
            async with asyncio.timeout(FULL_PASS_TIMEOUT_S):
                await self._pass_everything()
        except TimeoutError as error:
            raise AuditUnfinished(AuditUnfinished.__doc__) from error
        async with transaction(self._pool, None) as connection:
            return await repository.select_open_findings(connection, FINDINGS_LISTED)

    async def _pass_everything(self) -> None:
        goal_ends = await self._log.ends()
        async with self._pool.acquire() as connection:
            goal = (await repository.select_fence(connection)).outbox_id
        await self.audit_once(takes_over=True)
        cycles = self.totals.cycles
        # The page that was under way began before: only the cycle after it covers everything.
        while self.totals.cycles < cycles + 2 or not self._has_reached(goal, goal_ends):
            await self.audit_once(takes_over=True)
            if self._is_kafka_away:
                raise TopicUnavailable(TopicUnavailable.__doc__)

    async def close(self) -> None:
        """Let the next auditor begin at once."""
        async with transaction(self._pool, None) as connection:
            await repository.release_lease(connection, self._owner)
        await self._log.close()

    def _has_reached(self, outbox_id: int, ends: dict[int, int]) -> bool:
        memory = self._memory
        if memory is None or self._is_kafka_away or memory.cursor.outbox_id < outbox_id:
            return False
        is_read = all(memory.reading.get(partition, 0) >= end for partition, end in ends.items())
        return is_read and memory.undecided == 0 and not memory.matching.strangers(outbox_id)

    async def _remember(self, cursor: Cursor) -> _Memory:
        matching = Matching(REMEMBERED_ROWS)
        async with self._pool.acquire() as connection:
            first = cursor.outbox_id - REMEMBERED_ROWS
            found = await repository.select_events(connection, self._topic, first, cursor.outbox_id, REMEMBERED_ROWS)
        matching.add_rows(found)
        return _Memory(cursor, dict(cursor.offsets), matching)

    async def _read(self, memory: _Memory) -> _Step:
        """The next records, then the next rows: a row is committed before its record is sent."""
        batch = await self._read_topic(memory)
        async with self._pool.acquire() as connection:
            if batch is not None and batch.lost:
                log.warning("topic records were lost before they were audited", partitions=sorted(batch.lost))
                await repository.forget_topic_positions(connection, batch.lost)
            newest = await repository.select_fence(connection)
            safe_id = memory.cursor.outbox_id
            for fence in (newest, memory.fence):
                if fence is not None and await repository.is_behind(connection, fence):
                    safe_id = max(safe_id, fence.outbox_id)
                    break
            if memory.fence is None or memory.fence.outbox_id <= safe_id:
                memory.fence = newest
            after = memory.cursor.outbox_id
            rows = await repository.select_events(connection, self._topic, after, safe_id, OUTBOX_LIMIT)
        outbox_id = rows[-1].outbox_id if len(rows) == OUTBOX_LIMIT else safe_id
        return _Step(batch, newest, rows, outbox_id)

    async def _read_topic(self, memory: _Memory) -> TopicBatch | None:
        if len(memory.matching.carried) > CARRIED_LIMIT:
            return None
        return await self._of_topic(lambda: self._log.read(memory.reading, TOPIC_LIMIT))

    async def _of_topic(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """What the topic answers; None while Kafka does not serve, or was found not to a while ago."""
        now = asyncio.get_running_loop().time
        if now() < self._kafka_paused_until:
            return None
        try:
            async with asyncio.timeout(TOPIC_TIMEOUT_S):
                answer = await ask()
        except (TopicUnavailable, TimeoutError) as error:
            if not self._is_kafka_away:
                log.warning("the topic cannot be audited until kafka serves again", error=repr(error))
            self._is_kafka_away = True
            await self._log.close()
            self._kafka_paused_until = now() + TOPIC_PAUSE_S
            return None
        self._is_kafka_away = False
        return answer

    async def _check_events(self, memory: _Memory, step: _Step) -> None:
        for record in step.batch.records if step.batch else ():
            event = _topic_event(record)
            if isinstance(event, TopicEvent):
                step.records.append(event)
            elif event is not None:
                step.findings.append(event)
        keys = {event.property_id for event in step.rows} | {event.property_id for event in step.records}
        step.judged = list(memory.suspects)
        keys.update(step.judged)
        keys |= {carried.event.property_id for carried in memory.matching.carried.values()}
        async with transaction(self._pool, None) as connection:
            step.known = await repository.select_positions(connection, keys)
            step.given_up = await repository.select_given_up(connection, keys)
        step.positions = dict(step.known)
        step.findings += audits.check_outbox(step.rows, step.positions)
        step.findings += audits.check_topic(step.records, step.positions, step.given_up)
        memory.matching.add_rows(step.rows)
        memory.matching.carry(step.records, step.newest.outbox_id)
        step.findings += memory.matching.settle(step.positions)
        strangers = memory.matching.strangers(step.outbox_id)
        if strangers:
            step.findings += memory.matching.drop(strangers, await self._look_up(strangers, step.outbox_id))
        if step.batch is not None:
            memory.reading = step.batch.offsets

    async def _look_up(self, strangers: Sequence[TopicEvent], below: int) -> set[UUID]:
        """Which of these old events the outbox has: a relay that woke up sends what was sent long ago."""
        wanted = {event.event_id for event in strangers}
        not_before = min(event.occurred_at for event in strangers)
        found: set[UUID] = set()
        next_id: int | None = below
        while next_id is not None and wanted - found:
            async with self._pool.acquire() as connection:
                more, next_id = await repository.select_known_event_ids(connection, wanted, next_id, not_before)
            found |= more
        return found

    async def _check_properties(self, memory: _Memory, step: _Step) -> tuple[list[UUID], UUID | None]:
        """The properties that changed and the next page of all: the ids, and where the next page begins."""
        changed = {event.property_id for event in step.rows}
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            page, suspects = await repository.select_properties_behind(
                connection, memory.cursor.after_property, PAGE_LIMIT
            )
            checked = sorted(changed.union(page))
            overlaps = await repository.select_overlaps(connection, checked)
        step.findings += [audits.overlap_finding(overlap) for overlap in overlaps]
        for suspect in suspects[: max(SUSPECT_LIMIT - len(memory.suspects), 0)]:
            memory.suspects.setdefault(suspect.property_id, suspect)
        return checked, page[-1] if len(page) == PAGE_LIMIT else None

    async def _judge_suspects(self, memory: _Memory, step: _Step) -> None:
        shards = {suspect.shard for suspect in memory.suspects.values()}
        async with self._pool.acquire() as connection:
            unsent = await repository.select_oldest_unsent(connection, shards)
            quarantined = await repository.select_quarantined(connection)
        # Read after the rows were known to be sent: their records lie below.
        ends = (await self._of_topic(self._log.ends) if memory.suspects else None) or {}
        for key in step.judged:
            suspect = memory.suspects[key]
            findings, is_settled = audits.judge_suspect(
                suspect,
                step.positions.get(key, UNKNOWN),
                step.given_up.get(key, ()),
                is_outbox_read=step.outbox_id >= suspect.outbox_id,
                is_topic_read=memory.reading.get(suspect.shard, 0) >= (suspect.topic_end or sys.maxsize),
            )
            step.findings += findings
            if is_settled:
                del memory.suspects[key]
        memory.undecided = 0
        for key, suspect in list(memory.suspects.items()):
            if key in quarantined and step.outbox_id >= suspect.outbox_id:
                del memory.suspects[key]  # the relay raised the alarm, and `resync` is to follow
                continue
            is_sent = unsent.get(suspect.shard, sys.maxsize) > suspect.outbox_id
            memory.undecided += is_sent or step.outbox_id < suspect.outbox_id
            if is_sent and suspect.topic_end is None and suspect.shard in ends:
                memory.suspects[key] = replace(suspect, topic_end=ends[suspect.shard])

    async def _save(
        self, memory: _Memory, step: _Step, checked: Collection[UUID], after_property: UUID | None
    ) -> Cursor:
        """Findings, positions and cursor in one transaction; raises `AnotherAuditor`."""
        before = memory.cursor
        cycles = before.cycles + (after_property is None)
        offsets = {**memory.reading, **memory.matching.oldest_offsets()}
        now = Cursor(step.outbox_id, offsets, after_property, cycles)
        overlaps = [finding.fingerprint for finding in step.findings if finding.invariant == audits.EXCLUSIVE]
        async with transaction(self._pool, None) as connection:
            if not await repository.update_cursor(connection, self._owner, before, now):
                raise AnotherAuditor(AnotherAuditor.__doc__)
            moved = {key: position for key, position in step.positions.items() if position != step.known.get(key)}
            await repository.upsert_positions(connection, moved)
            new = await repository.upsert_findings(connection, step.findings)
            await repository.resolve_findings(connection, audits.EXCLUSIVE, checked, overlaps)
        for finding in new:
            _FINDINGS.add(1, {"invariant": finding.invariant})
            log.error(
                "the audit found a violation",
                invariant=finding.invariant,
                kind=finding.kind,
                property_id=str(finding.property_id),
                **finding.detail,
            )
        return now

    def _count(self, step: _Step, checked: Collection[UUID], *, ends_cycle: bool) -> None:
        self.totals.events += len(step.rows)
        self.totals.records += len(step.records)
        self.totals.properties += len(checked)
        self.totals.cycles += ends_cycle
        _EVENTS.add(len(step.rows))
        _PROPERTIES.add(len(checked))
        _CYCLES.add(ends_cycle)


async def resolve(pool: Pool, finding_id: int) -> bool:
    """Close one finding by hand; False when there is no such open one."""
    async with transaction(pool, None) as connection:
        return await repository.resolve_finding(connection, finding_id)


def _topic_event(record: Record) -> TopicEvent | Finding | None:
    """What a record says; None for a watermark, a finding when no consumer can read it."""
    if record.key is None:
        return None
    try:
        envelope = Envelope.model_validate(orjson.loads(record.value or b""))
        return TopicEvent(
            envelope.event_id,
            UUID(record.key.decode()),
            envelope.agency_id,
            int(envelope.data["inventory_version"]),
            envelope.occurred_at,
            record.partition,
            record.offset,
        )
    except (ValueError, KeyError, TypeError) as error:
        return audits.unreadable(record.partition, record.offset, type(error).__name__)
