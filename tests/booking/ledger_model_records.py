"""Owns the records of the ledger's model: claims on nights, what claims them, and what can be seen of them; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

ONE = timedelta(days=1)
OCCUPYING = ("pending", "confirmed", "checked_in")
LEFT = ("checked_out", "no_show")
ALLOWED = {
    "confirm": ("inquiry", "pending"),
    "decline": ("inquiry", "pending"),
    "cancel": ("inquiry", "pending", "confirmed", "overbooked", "cancelled"),
    "check_in": ("confirmed",),
    "check_out": ("checked_in",),
    "mark_no_show": ("confirmed",),
}
Code = tuple[str, UUID]
"""An OTA's reservation code and the property it was sold as."""


@dataclass(frozen=True)
class Claim:
    """Nights `[first, end)` that are not free: the stay `[first, last)` and its preparation."""

    kind: str
    source: UUID
    first: date
    last: date
    end: date
    expires_at: datetime | None = None

    def meets(self, first: date, end: date) -> bool:
        return self.first < end and first < self.end


@dataclass
class House:
    agency: UUID
    zone: str
    preparation_days: int = 0
    claims: list[Claim] = field(default_factory=list)

    def end(self, last: date) -> date:
        return last + self.preparation_days * ONE


@dataclass
class Stay:
    house: UUID
    first: date
    last: date
    status: str
    is_direct: bool = True
    expires_at: datetime | None = None
    is_here: bool = False


@dataclass
class Hold:
    house: UUID
    first: date
    last: date
    expires_at: datetime
    state: str = "active"


@dataclass
class Block:
    house: UUID
    first: date
    last: date
    active: bool = True


@dataclass
class Conflict:
    """An overbooked stay waits; it is open until it has a resolution."""

    stay: UUID
    house: UUID
    competing: frozenset[UUID] = frozenset()
    resolution: str | None = None


@dataclass(frozen=True)
class Wanted:
    """One stay somebody asks for."""

    house: UUID
    first: date
    last: date
    status: str = "confirmed"
    hold: UUID | None = None


@dataclass(frozen=True)
class View:
    """What can be seen of a ledger at an instant; overdue claims are gone, written down or not."""

    ranges: frozenset[tuple[Any, ...]]
    stays: frozenset[tuple[Any, ...]]
    holds: frozenset[tuple[Any, ...]]
    blocks: frozenset[tuple[Any, ...]]
    conflicts: frozenset[tuple[Any, ...]]


class Refused(Exception):
    """The operation is not possible, for these reasons."""

    def __init__(self, reasons: Iterable[str], competing: Iterable[Claim] = ()) -> None:
        self.reasons = frozenset(reasons)
        self.competing = tuple(competing)
        super().__init__(", ".join(sorted(self.reasons)))
