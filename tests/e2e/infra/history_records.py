"""Owns what a recorded history is made of: operations, the ledger they left, violations; for the history checker."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Literal

Nights = tuple[date, date]
Action = Literal["book", "hold", "modify", "cancel", "release"]

NEVER = math.inf
EVENTS: dict[Action, str] = {
    "book": "ReservationConfirmed",
    "hold": "HoldPlaced",
    "modify": "ReservationModified",
    "cancel": "ReservationCancelled",
    "release": "HoldReleased",
}
PLACING: frozenset[Action] = frozenset({"book", "hold"})
ENDING: frozenset[Action] = frozenset({"cancel", "release"})
# A 409 that decides nothing: the first request with the key is still under way.
UNDECIDED = "idempotency_in_progress"


@dataclass(frozen=True)
class Operation:
    """One request as its client saw it; instants are monotonic seconds of one clock.

    `trace_id` is its own and on every change it makes. `nights` is what book, hold and modify want, `record_id` what
    modify, cancel and release are about. `status` is None when no answer came.
    """

    trace_id: str
    action: Action
    property_id: str
    began: float
    nights: Nights | None = None
    record_id: str = ""
    key: str = ""
    client: int = 0
    answered: float = NEVER
    status: int | None = None
    content: bytes = b""

    @cached_property
    def body(self) -> Any:
        """The parsed answer; empty when there is none."""
        return json.loads(self.content) if self.content else {}

    @property
    def code(self) -> str:
        """The problem code of a refusal."""
        return str(self.body.get("code", ""))

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client was told that it is done."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Whether the client was told that it is not done."""
        return self.status is not None and 400 <= self.status < 500 and self.code != UNDECIDED

    @property
    def is_unknown(self) -> bool:
        """Whether it may take effect at any time from its beginning on, or never."""
        return not self.is_acknowledged and not self.is_refused

    @property
    def ends(self) -> float:
        """When it had taken effect at the latest, if it has any."""
        return NEVER if self.is_unknown else self.answered

    @property
    def effect(self) -> str:
        """What at most one effect is allowed for: its key, or the request itself."""
        return self.key or self.trace_id

    def __str__(self) -> str:
        wanted = f" {shown(self.nights)}" if self.nights else ""
        aimed = f" of {self.record_id}" if self.record_id else ""
        heard = "no answer" if self.status is None else f"{self.status} {self.code}".strip()
        return f"{self.action}{wanted}{aimed} by client {self.client} (trace {self.trace_id}, key {self.key}): {heard}"


@dataclass(frozen=True)
class Change:
    """One committed change as its event tells it; the `version` is its place in the order of its property."""

    property_id: str
    version: int
    type: str
    record_id: str
    trace_id: str
    occupied: tuple[Nights, ...] = ()
    released: tuple[Nights, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of its record as a refusal names it."""
        return "hold" if self.type.startswith("Hold") else "reservation"


@dataclass(frozen=True)
class ActiveRange:
    """One active row of the ledger."""

    property_id: str
    record_id: str
    nights: Nights


@dataclass(frozen=True)
class Ledger:
    """What the database holds at the end: changes but the properties' creation, active ranges, ids of all records."""

    changes: Sequence[Change]
    ranges: Sequence[ActiveRange]
    records: frozenset[str]


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, by its name in the list of invariants, and what was seen."""

    invariant: str
    seen: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.seen}"


@dataclass
class Findings:
    """The violations found so far."""

    violations: list[Violation] = field(default_factory=list)

    def add(self, invariant: str, seen: str) -> None:
        """Note one."""
        self.violations.append(Violation(invariant, seen))


def overlap(one: Nights, other: Nights) -> bool:
    """Whether two half-open stays share a night."""
    return one[0] < other[1] and other[0] < one[1]


def shown(nights: Nights) -> str:
    """Nights as a violation shows them."""
    return f"{nights[0]} to {nights[1]}"


def grouped(operations: Sequence[Operation]) -> Mapping[str, list[Operation]]:
    """The operations by what at most one effect is allowed for, each in order of beginning."""
    found: dict[str, list[Operation]] = {}
    for operation in sorted(operations, key=lambda known: known.began):
        found.setdefault(operation.effect, []).append(operation)
    return found
