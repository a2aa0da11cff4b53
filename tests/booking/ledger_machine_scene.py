"""Owns what the ledger machine works on: a database of its own, one event loop, the clock, a look at everything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from booking.domain.errors import (
    ConflictClosed,
    DatesUnavailable,
    HoldNotActive,
    IllegalTransition,
    NotFound,
    StayRulesViolated,
)
from runtime.idempotency import IdempotencyMismatch
from runtime.postgres import Connection
from tests.booking.ledger_model_records import View
from tests.booking.own_database import OwnLedger, own_ledger
from tests.clock import at, set_clock
from tests.conftest import Provisioned

START = datetime(2040, 5, 1, 12, tzinfo=UTC)
"""When each program begins. Instants lie on a grid of 6 h and what expires does so an hour off it, so that the time
the program itself takes decides nothing."""
PENDING_TTL = timedelta(hours=7)
REFUSALS = (
    ConflictClosed,
    DatesUnavailable,
    HoldNotActive,
    IdempotencyMismatch,
    IllegalTransition,
    NotFound,
    StayRulesViolated,
)
KEYS_BY_THE_SUITE_S_CLOCK = """
ALTER TABLE idempotency_keys ALTER created_at SET DEFAULT suite_now(),
                             ALTER expires_at SET DEFAULT suite_now() + interval '48 hours'"""
TENANT_TABLES = """
SELECT table_name FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND column_name = 'agency_id' AND table_type = 'BASE TABLE' ORDER BY 1"""
LOOK = """
SELECT json_build_object(
    'ranges', (SELECT json_agg(json_build_array(id, property_id, kind, source_id, lower(stay), upper(stay),
                   lower(occupied), upper(occupied), coalesce(expires_at <= suite_now(), false)))
               FROM inventory_ranges WHERE state = 'active'),
    'overlaps', (SELECT json_agg(json_build_array(a.id, b.id)) FROM inventory_ranges a JOIN inventory_ranges b
                 ON a.property_id = b.property_id AND a.id < b.id AND a.occupied && b.occupied
                 WHERE a.state = 'active' AND b.state = 'active'),
    'stays', (SELECT json_agg(json_build_array(id, property_id, check_in, check_out,
                  CASE WHEN status = 'pending' AND hold_expires_at <= suite_now() THEN 'expired' ELSE status END))
              FROM reservations),
    'holds', (SELECT json_agg(json_build_array(id, property_id, check_in, check_out,
                  CASE WHEN state = 'active' AND hold_expires_at <= suite_now() THEN 'expired' ELSE state END))
              FROM holds),
    'blocks', (SELECT json_agg(json_build_array(id, property_id, start_date, end_date, active)) FROM blocks),
    'conflicts', (SELECT json_agg(json_build_array(reservation_id, property_id, resolution,
                      CASE WHEN state = 'open' THEN competing_source_ids END)) FROM conflicts),
    'versions', (SELECT json_object_agg(property_id, inventory_version) FROM inventory_versions),
    'events', (SELECT json_agg(json_build_array(key, event_id, xid::text, data->'inventory_version',
                   data->'commit_version', data->'released', data->'occupied') ORDER BY id) FROM outbox))"""


@dataclass(frozen=True)
class Result:
    """What an operation came to: its value, or the refusal."""

    value: Any = None
    refusal: Exception | None = None

    @property
    def name(self) -> str:
        """`done`, or the situation in which booking refused."""
        return "done" if self.refusal is None else type(self.refusal).__name__


@dataclass(frozen=True)
class Seen:
    """The database after a step, all of one snapshot. `faults` says which invariant is broken and how."""

    view: View
    versions: dict[UUID, int]
    faults: list[str]


class Scene:
    """A ledger of one's own, driven from outside of any event loop; `steps` and `outcomes` count what was done."""

    def __init__(self, runner: asyncio.Runner, own: OwnLedger, admin: Connection, owner: Connection) -> None:
        self.runner = runner
        self.api = replace(own.ledger.api, pending_ttl=PENDING_TTL)
        self.system = replace(own.ledger.system, pending_ttl=PENDING_TTL)
        self.own = own
        self.admin = admin
        self.owner = owner
        self.steps = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._tables = [row["table_name"] for row in self.run(admin.fetch(TENANT_TABLES))]

    def run(self, work: Awaitable[Any]) -> Any:
        """Wait for work on the one loop all connections belong to."""

        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    def attempt(self, work: Awaitable[Any]) -> Result:
        """Run an operation; a refusal is a result, anything else is raised."""
        try:
            return Result(self.run(work))
        except REFUSALS as refusal:
            return Result(refusal=refusal)

    def set_now(self, moment: datetime) -> None:
        """Move the database's clock."""
        self.run(set_clock(self.owner, at(moment)))

    def execute(self, *statements: str) -> None:
        """Run statements no role of booking may."""
        for statement in statements:
            self.run(self.admin.execute(statement))

    def value(self, query: str) -> Any:
        """One value, read past row security."""
        return self.run(self.admin.fetchval(query))

    def reached(self, name: str) -> set[str]:
        """The outcomes an operation had."""
        return {outcome for done, outcome in self.outcomes if done == name}

    def begin(self) -> None:
        """An empty database at the start of time."""
        self.set_now(START)
        self.execute(
            "SET session_replication_role = replica; "
            + "; ".join(f"DELETE FROM {table}" for table in self._tables)
            + "; SET session_replication_role = DEFAULT"
        )

    def look(self) -> Seen:
        """Everything there is, and what is wrong with it by itself."""
        found = {key: value or [] for key, value in orjson.loads(self.value(LOOK)).items()}
        versions = {UUID(key): version for key, version in dict(found["versions"]).items()}
        faults = [f"I1: ranges {first} and {second} overlap" for first, second in found["overlaps"]]
        return Seen(_view(found), versions, [*faults, *_faults_of_the_feed(found["events"], found["ranges"], versions)])

    def revision_made(self, connection_id: UUID, code: str, house: UUID, number: int) -> UUID | None:
        """The reservation a revision was applied to."""
        made: UUID | None = self.run(
            self.admin.fetchval(
                """SELECT reservation_id FROM channel_revisions WHERE connection_id = $1
                   AND ota_reservation_code = $2 AND property_id = $3 AND revision_no = $4""",
                connection_id, code, house, number,
            )
        )  # fmt: skip
        return UUID(str(made)) if made else None


def _view(found: dict[str, Any]) -> View:
    def rows(name: str) -> frozenset[tuple[Any, ...]]:
        listed = [
            (UUID(key), UUID(house), date.fromisoformat(first), date.fromisoformat(last), state)
            for key, house, first, last, state in found[name]
        ]
        assert len(set(listed)) == len(listed)
        return frozenset(listed)

    return View(
        frozenset(
            (UUID(house), kind, UUID(source), *map(date.fromisoformat, days))
            for _, house, kind, source, *days, is_over in found["ranges"]
            if not is_over
        ),
        rows("stays"),
        rows("holds"),
        rows("blocks"),
        frozenset(
            (UUID(stay), UUID(house), resolution, None if competing is None else frozenset(map(UUID, competing)))
            for stay, house, resolution, competing in found["conflicts"]
        ),
    )


def _faults_of_the_feed(events: list[Any], ranges: list[Any], versions: dict[UUID, int]) -> Iterator[str]:
    """I10 per property, one event each; and the ranges the events tell are those of the ledger."""
    told: dict[UUID, list[int]] = {house: [] for house in versions}
    commits: dict[tuple[str, str], list[tuple[int, int]]] = {}
    alive: set[str] = set()
    for key, _, xid, version, commit_version, released, occupied in events:
        told.setdefault(UUID(key), []).append(version)
        commits.setdefault((key, xid), []).append((version, commit_version))
        alive |= {stored["range_id"] for stored in occupied}
        alive -= {stored["range_id"] for stored in released}
    for house, present in versions.items():
        if told[house] != list(range(1, present + 1)):
            yield f"I10: {house} is at version {present}, its events say {told[house]}"
    if len({event[1] for event in events}) != len(events):
        yield "I10: two events have one id"
    for (key, _), listed in commits.items():
        if {commit for _, commit in listed} != {max(version for version, _ in listed)}:
            yield f"I10: one commit of {key} told (version, commit_version) {listed}"
    if alive != {stored[0] for stored in ranges}:
        yield f"I10: the events leave other ranges than the ledger has: {alive ^ {stored[0] for stored in ranges}}"


@contextmanager
def open_scene(provisioned: Provisioned) -> Iterator[Scene]:
    """A scene on a fresh database."""
    with asyncio.Runner() as runner:
        context = own_ledger(provisioned)
        own = runner.run(context.__aenter__())
        admin = runner.run(asyncpg.connect(own.ledger.admin_dsn))
        owner = runner.run(asyncpg.connect(own.ledger.owner_dsn))
        try:
            runner.run(admin.execute(KEYS_BY_THE_SUITE_S_CLOCK))
            yield Scene(runner, own, admin, owner)
        finally:
            runner.run(admin.close())
            runner.run(owner.close())
            runner.run(context.__aexit__(None, None, None))
