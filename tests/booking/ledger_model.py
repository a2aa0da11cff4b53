"""Owns the slow, obvious model of the ledger that the machine compares booking with; pure, none of booking's code.

A property is a list of disjoint claims on nights. Every operation first lets run out what is overdue, then decides,
then deals what is free to the waiting overbooked stays, longest waiting first. A refusal is raised as `Refused` with
every reason that would justify one; the world is worthless then. Booking's own names of refusals are the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.booking.ledger_model_records import (
    ALLOWED,
    LEFT,
    OCCUPYING,
    ONE,
    Block,
    Claim,
    Code,
    Conflict,
    Hold,
    House,
    Refused,
    Stay,
    View,
    Wanted,
)


@dataclass
class World:
    """All there is. `is_lazy` leaves the dealing out after operations that free no nights."""

    now: datetime
    houses: dict[UUID, House] = field(default_factory=dict)
    stays: dict[UUID, Stay] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    blocks: dict[UUID, Block] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    revisions: dict[Code, dict[int, tuple[str, UUID | None]]] = field(default_factory=dict)
    is_lazy: bool = False

    def copy(self) -> World:
        return World(
            self.now,
            {key: replace(house, claims=list(house.claims)) for key, house in self.houses.items()},
            {key: replace(stay) for key, stay in self.stays.items()},
            {key: replace(hold) for key, hold in self.holds.items()},
            {key: replace(block) for key, block in self.blocks.items()},
            [replace(conflict) for conflict in self.conflicts],
            {code: dict(decided) for code, decided in self.revisions.items()},
            self.is_lazy,
        )

    def touched(self, houses: Iterable[UUID]) -> World:
        """Another world, in which what is overdue in these houses ran out."""
        world = self.copy()
        for house in houses:
            world._run_out(house)
        return world

    def today(self, house: UUID) -> date:
        return self.now.astimezone(ZoneInfo(self.houses[house].zone)).date()

    def visible(self) -> View:
        def status(stay: Stay) -> str:
            return "expired" if stay.status == "pending" and self._is_over(stay.expires_at) else stay.status

        def state(hold: Hold) -> str:
            return "expired" if hold.state == "active" and self._is_over(hold.expires_at) else hold.state

        return View(
            frozenset(
                (key, claim.kind, claim.source, claim.first, claim.last, claim.first, claim.end)
                for key, house in self.houses.items()
                for claim in house.claims
                if not self._is_over(claim.expires_at)
            ),
            frozenset((key, it.house, it.first, it.last, status(it)) for key, it in self.stays.items()),
            frozenset((key, it.house, it.first, it.last, state(it)) for key, it in self.holds.items()),
            frozenset((key, it.house, it.first, it.last, it.active) for key, it in self.blocks.items()),
            frozenset(
                (it.stay, it.house, it.resolution, it.competing if it.resolution is None else None)
                for it in self.conflicts
            ),
        )

    def book(self, wanted: Sequence[Wanted], made: Sequence[UUID], ttl: timedelta) -> None:
        """All the stays or none; one after another, each may consume a hold."""
        reasons: set[str] = set()
        competing: list[Claim] = []
        for one, stay_id in zip(wanted, made, strict=True):
            found = self._past(one.house, one.first)
            found |= self._consume(one)
            expires_at = self.now + ttl if one.status == "pending" else None
            self.stays[stay_id] = Stay(one.house, one.first, one.last, one.status, expires_at=expires_at)
            taken = self._take_for(stay_id)
            reasons |= found | ({"DatesUnavailable"} if taken else set())
            competing += taken
            self._deal(one.house) if one.hold else self._deal_unless_lazy(one.house)
        if reasons:
            raise Refused(reasons, competing)

    def modify(self, stay_id: UUID, first: date, last: date, target: UUID) -> None:
        """Other dates, another house; the old nights are given back only if the new ones are won."""
        stay = self.stays[stay_id]
        source, moves = stay.house, target != stay.house
        is_changed = moves or (first, last) != (stay.first, stay.last)
        if stay.status not in ("inquiry", *OCCUPYING) and not (stay.status == "overbooked" and moves):
            raise Refused({"IllegalTransition"})
        if stay.status == "checked_in" and first != stay.first:
            raise Refused({"IllegalTransition"})
        reasons = self._past(target, first) if stay.is_direct and first != stay.first else set()
        if is_changed:
            stay.first, stay.last, stay.house = first, last, target
            if stay.status == "overbooked":
                stay.status = "checked_in" if stay.is_here else "confirmed"
            self._close_conflict(stay_id, "moved")
            self._free(source, stay_id)
            taken = self._take_for(stay_id)
            if reasons or taken:
                raise Refused(reasons | ({"DatesUnavailable"} if taken else set()), taken)
            self._deal(source)
        self._deal_unless_lazy(target)

    def transit(self, stay_id: UUID, action: str) -> None:
        """confirm, decline, cancel, check_in, check_out, mark_no_show."""
        stay = self.stays[stay_id]
        if stay.status not in ALLOWED[action]:
            raise Refused({"IllegalTransition"})
        getattr(self, f"_{action}")(stay_id, stay)
        self._deal_unless_lazy(stay.house)

    def place(self, hold_id: UUID, house: UUID, first: date, last: date, lasts: timedelta) -> None:
        expires_at = self.now + lasts
        taken = self._take(house, Claim("hold", hold_id, first, last, self.houses[house].end(last), expires_at))
        if taken:
            raise Refused({"DatesUnavailable"}, taken)
        self.holds[hold_id] = Hold(house, first, last, expires_at)
        self._deal_unless_lazy(house)

    def extend(self, hold_id: UUID, lasts: timedelta) -> None:
        """The hold keeps the nights it has, until another instant."""
        hold = self.holds[hold_id]
        if hold.state != "active":
            raise Refused({"HoldNotActive"})
        hold.expires_at = self.now + lasts
        house = self.houses[hold.house]
        house.claims = [
            replace(claim, expires_at=hold.expires_at) if claim.source == hold_id else claim for claim in house.claims
        ]
        self._deal_unless_lazy(hold.house)

    def release(self, hold_id: UUID) -> None:
        hold = self.holds[hold_id]
        if hold.state == "active":
            self._end_hold(hold_id, "released")
            self._deal(hold.house)

    def block(self, block_id: UUID, house: UUID, first: date, last: date) -> None:
        taken = self._take(house, Claim("block", block_id, first, last, last))
        if taken:
            raise Refused({"DatesUnavailable"}, taken)
        self.blocks[block_id] = Block(house, first, last)
        self._deal_unless_lazy(house)

    def unblock(self, block_id: UUID) -> None:
        block = self.blocks[block_id]
        if block.active:
            block.active = False
            self._free(block.house, block_id)
            self._deal(block.house)

    def prepare(self, house: UUID, preparation_days: int) -> None:
        """From now on the house needs so many days after a stay; what is written stays as it is."""
        self.houses[house].preparation_days = preparation_days
        self._deal_unless_lazy(house)

    def revise(self, code: Code, number: int, stay_id: UUID | None, dates: tuple[date, date] | None) -> None:
        """What an OTA tells about its reservation, None for a cancellation; it is never refused."""
        decided = self.revisions.setdefault(code, {})
        if number in decided:
            return
        known = decided[max(decided)][1] if decided else None
        if decided and max(decided) > number:
            decided[number] = ("superseded", known)
            return
        decided[number] = ("applied", known)
        if dates is None:
            if known is not None and self.stays[known].status in ALLOWED["cancel"]:
                self._cancel(known, self.stays[known])
            return
        stay_id = known or stay_id
        assert stay_id is not None, "a revision with dates makes a reservation"
        decided[number] = ("applied", stay_id)
        if known is None:
            assert stay_id not in self.stays, "a new code makes a new reservation"
            self.stays[stay_id] = Stay(code[1], *dates, "confirmed", is_direct=False)
        self._retell(stay_id, dates)

    def resolve(self, conflict: Conflict, stay_id: UUID, target: UUID | None) -> None:
        """Cancel one of a conflict's stays, or move it away."""
        if conflict.resolution is not None:
            raise Refused({"ConflictClosed"})
        if stay_id not in self.stays or stay_id not in (conflict.stay, *conflict.competing):
            raise Refused({"NotFound"})
        stay = self.stays[stay_id]
        if target is None:
            self.transit(stay_id, "cancel")
        else:
            self.modify(stay_id, stay.first, stay.last, target)

    def competing(self, conflict: Conflict) -> list[UUID]:
        """Who competes, the waiting stay first."""
        return [conflict.stay, *sorted(conflict.competing, key=str)]

    def _retell(self, stay_id: UUID, dates: tuple[date, date]) -> None:
        stay = self.stays[stay_id]
        stay.first, stay.last = dates
        if stay.status in LEFT:
            return
        was_here = stay.is_here and stay.status in ("checked_in", "overbooked")
        self._close_conflict(stay_id, "modified_by_channel")
        self._free(stay.house, stay_id)
        stay.status = "checked_in" if was_here else "confirmed"
        if self._take_for(stay_id):
            stay.status = "overbooked"
            self.conflicts.append(Conflict(stay_id, stay.house))
        self._deal(stay.house)

    def _confirm(self, stay_id: UUID, stay: Stay) -> None:
        house = self.houses[stay.house]
        if stay.status == "pending":
            stay.status, stay.expires_at = "confirmed", None
            house.claims = [
                replace(claim, expires_at=None) if claim.source == stay_id else claim for claim in house.claims
            ]
            return
        stay.status = "confirmed"
        reasons = self._past(stay.house, stay.first)
        taken = self._take_for(stay_id)
        if reasons or taken:
            raise Refused(reasons | ({"DatesUnavailable"} if taken else set()), taken)

    def _decline(self, stay_id: UUID, stay: Stay) -> None:
        self._give_back(stay_id, "declined")

    def _cancel(self, stay_id: UUID, stay: Stay) -> None:
        if stay.status != "cancelled":
            self._give_back(stay_id, "cancelled")

    def _mark_no_show(self, stay_id: UUID, stay: Stay) -> None:
        self._give_back(stay_id, "no_show")

    def _check_in(self, stay_id: UUID, stay: Stay) -> None:
        stay.status, stay.is_here = "checked_in", True

    def _check_out(self, stay_id: UUID, stay: Stay) -> None:
        """Who leaves early gives nights back, and never takes any."""
        stay.status = "checked_out"
        house, today = self.houses[stay.house], self.today(stay.house)
        if today >= stay.last:
            return
        (held,) = (claim for claim in house.claims if claim.source == stay_id)
        self._free(stay.house, stay_id)
        if today > stay.first:
            house.claims.append(replace(held, last=today, end=min(house.end(today), held.end)))
        self._deal(stay.house)

    def _give_back(self, stay_id: UUID, status: str) -> None:
        stay = self.stays[stay_id]
        stay.status = status
        self._close_conflict(stay_id, status)
        self._free(stay.house, stay_id)
        self._deal(stay.house)

    def _consume(self, one: Wanted) -> set[str]:
        if one.hold is None:
            return set()
        hold = self.holds.get(one.hold)
        if hold is None or hold.house != one.house:
            return {"NotFound"}
        if hold.state != "active":
            return {"HoldNotActive"}
        if one.status != "inquiry":
            self._end_hold(one.hold, "consumed")
        return set()

    def _end_hold(self, hold_id: UUID, state: str) -> None:
        self.holds[hold_id].state = state
        self._free(self.holds[hold_id].house, hold_id)

    def _run_out(self, house_id: UUID) -> None:
        overdue = [claim for claim in self.houses[house_id].claims if self._is_over(claim.expires_at)]
        for claim in overdue:
            if claim.kind == "hold":
                self._end_hold(claim.source, "expired")
            else:
                self.stays[claim.source].status = "expired"
                self._free(house_id, claim.source)
        if overdue:
            self._deal(house_id)

    def _deal_unless_lazy(self, house_id: UUID) -> None:
        if not self.is_lazy:
            self._deal(house_id)

    def _deal(self, house_id: UUID) -> None:
        house = self.houses[house_id]
        house.claims = [claim for claim in house.claims if claim.kind != "conflict"]
        for conflict in self.conflicts:
            if conflict.house != house_id or conflict.resolution is not None:
                continue
            stay = self.stays[conflict.stay]
            nights = _days(stay.first, house.end(stay.last))
            taken = {night: claim.source for claim in house.claims for night in _days(claim.first, claim.end)}
            conflict.competing = frozenset(taken[night] for night in nights if night in taken)
            if not conflict.competing:
                stay.status = "checked_in" if stay.is_here else "confirmed"
                conflict.resolution = "nights_came_free"
                assert self._take_for(conflict.stay) == []
                continue
            house.claims += [
                Claim("conflict", conflict.stay, first, end, end)
                for first, end in _runs([night for night in nights if night not in taken])
            ]

    def _take_for(self, stay_id: UUID) -> list[Claim]:
        """The stay takes its nights, if its status needs any; else the claims that are in its way."""
        stay = self.stays[stay_id]
        if stay.status not in OCCUPYING:
            return []
        expires_at = stay.expires_at if stay.status == "pending" else None
        end = self.houses[stay.house].end(stay.last)
        return self._take(stay.house, Claim("reservation", stay_id, stay.first, stay.last, end, expires_at))

    def _take(self, house_id: UUID, wanted: Claim) -> list[Claim]:
        claims = self.houses[house_id].claims
        met = [claim for claim in claims if claim.meets(wanted.first, wanted.end)]
        if not met:
            claims.append(wanted)
        return met

    def _free(self, house_id: UUID, source: UUID) -> None:
        house = self.houses[house_id]
        house.claims = [claim for claim in house.claims if claim.source != source]

    def _close_conflict(self, stay_id: UUID, resolution: str) -> None:
        for conflict in self.conflicts:
            if conflict.stay == stay_id and conflict.resolution is None:
                conflict.resolution = resolution

    def _past(self, house_id: UUID, first: date) -> set[str]:
        return {"StayRulesViolated"} if first < self.today(house_id) else set()

    def _is_over(self, expires_at: datetime | None) -> bool:
        return expires_at is not None and expires_at <= self.now


def _days(first: date, end: date) -> list[date]:
    return [first + number * ONE for number in range((end - first).days)]


def _runs(nights: Sequence[date]) -> list[tuple[date, date]]:
    """Consecutive nights as half-open ranges."""
    runs: list[tuple[date, date]] = []
    for night in nights:
        if runs and runs[-1][1] == night:
            runs[-1] = (runs[-1][0], night + ONE)
        else:
            runs.append((night, night + ONE))
    return runs
