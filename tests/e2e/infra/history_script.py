"""Owns a ledger of one property that is right, and the history its clients saw; the checker's tests spoil it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from tests.e2e.infra.history import check
from tests.e2e.infra.history_records import (
    EVENTS,
    PLACING,
    Action,
    ActiveRange,
    Change,
    Ledger,
    Nights,
    Operation,
    overlap,
)

PROPERTY = "property-1"


def nights(first: int, last: int) -> Nights:
    """Nights from `first` to before `last`."""
    day = date(2030, 1, 1)
    return day + timedelta(days=first), day + timedelta(days=last)


class Scripted:
    """The ledger and its history. Requests follow each other, each a unit long, unless `during` says otherwise."""

    def __init__(self) -> None:
        self.now = 0.0
        self.operations: list[Operation] = []
        self.changes: list[Change] = []
        self.live: dict[str, Nights] = {}
        self.records: dict[str, str] = {}

    def ask(
        self,
        action: Action,
        wanted: Nights | None = None,
        *,
        of: str = "",
        key: str = "",
        heard: bool = True,
        happens: bool = True,
        during: tuple[float, float] | None = None,
    ) -> Operation:
        """One request; `heard` says whether its answer came, `happens` whether it reached the ledger."""
        began, answered = during or (self.now, self.now + 1)
        self.now = max(self.now, answered) + 1
        trace_id = f"trace-{len(self.operations)}"
        asked = Operation(trace_id, action, PROPERTY, began, wanted, of, key or "")
        status, body = self._decide(asked) if happens else (201, {})
        if heard:
            content = json.dumps(body).encode()
            asked = replace(asked, answered=answered, status=status, content=content)
        self.operations.append(asked)
        return asked

    def _decide(self, asked: Operation) -> tuple[int, dict[str, Any]]:
        own = next((known for known in self.changes if asked.key and self._key_of(known) == asked.key), None)
        if own is not None:
            return 201, {"id": own.record_id, "inventory_version": own.version}
        record_id = asked.record_id or f"{asked.action}-{len(self.records)}"
        held = self.live.get(record_id)
        for other_id, other in self.live.items():
            if asked.nights and other_id != record_id and overlap(asked.nights, other):
                named = {"kind": self.records[other_id], "start_date": str(other[0]), "end_date": str(other[1])}
                return 409, {"code": "inventory_overlap", "conflict": named}
        if asked.action == "modify" and held is None:
            return 409, {"code": "illegal_transition"}
        if asked.action not in PLACING and held == asked.nights:
            last = max(known.version for known in self.changes if known.record_id == record_id)
            return 200, {"id": record_id, "inventory_version": last}
        self.records.setdefault(record_id, "hold" if asked.action == "hold" else "reservation")
        self.live.pop(record_id, None)
        if asked.nights:
            self.live[record_id] = asked.nights
        self.changes.append(change_of(asked, record_id, len(self.changes) + 2, held))
        return 201 if asked.action in PLACING else 200, {"id": record_id, "inventory_version": self.changes[-1].version}

    def _key_of(self, known: Change) -> str:
        return next((asked.key for asked in self.operations if asked.trace_id == known.trace_id), "")

    def ledger(self) -> Ledger:
        """What is stored."""
        ranges = [ActiveRange(PROPERTY, record_id, held) for record_id, held in self.live.items()]
        return Ledger(self.changes, ranges, frozenset(self.records))

    def violated(self) -> set[str]:
        """The invariants the checker names."""
        return {violation.invariant for violation in check(self.operations, self.ledger())}

    def rewrite(self, old: Operation, **fields: Any) -> Operation:
        """Let a request have been another."""
        new = replace(old, **fields)
        self.operations[self.operations.index(old)] = new
        return new


def change_of(asked: Operation, record_id: str, version: int, held: Nights | None) -> Change:
    """What a request makes of a record that held these nights."""
    occupied = (asked.nights,) if asked.nights else ()
    released = (held,) if held else ()
    return Change(PROPERTY, version, EVENTS[asked.action], record_id, asked.trace_id, occupied, released)
