"""Owns the frame of the ledger machine: a program's start, an operation next to its model, the look after each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import orjson
from hypothesis.stateful import RuleBasedStateMachine, invariant

from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.errors import DatesUnavailable
from booking.service import properties
from runtime.idempotency import IdempotencyKey, StoredAnswer
from tests.booking.conftest import make_property
from tests.booking.ledger_machine_scene import START, Result, Scene
from tests.booking.ledger_model import World
from tests.booking.ledger_model_records import Claim, House, Refused, Wanted

ZONES = ("Europe/Lisbon", "Pacific/Kiritimati", "America/Los_Angeles")
MOST_STAYS = 3
"""In a group."""
KEPT = timedelta(hours=47)
"""How long an answer is asked for again; its key lives for 48 hours."""
Predict = Callable[[World, Any], None]


@dataclass(frozen=True)
class Answered:
    """A creating request that was answered under a key, and how to send it again."""

    again: Callable[[IdempotencyKey], Awaitable[StoredAnswer]]
    key: IdempotencyKey
    answer: StoredAnswer
    at: datetime
    houses: Collection[UUID]


class ComparedMachine(RuleBasedStateMachine):
    """One agency with three houses in three time zones, and another agency that tries its luck."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene
        self.own_agency, self.foreign_agency = uuid4(), uuid4()
        self.answered: list[Answered] = []
        self.refused_keys: list[str] = []
        self.key_numbers = count()
        self.prepared = 0
        scene.begin()
        self.world = World(START)
        for number, zone in enumerate(ZONES):
            made = replace(make_property(self.own_agency, number), time_zone=zone)
            scene.run(properties.create(scene.api, made, None))
            self.world.houses[made.id] = House(self.own_agency, zone, number)
        self.house_ids = list(self.world.houses)
        self.candidates = [self.world]
        self.versions = dict.fromkeys(self.house_ids, 1)

    @invariant()
    def the_ledger_is_one_the_model_knows(self) -> None:
        """I1 and I10 by themselves; I4, I5, I6 and I7 by comparison: nothing is there that the model has not."""
        seen = self.scene.look()
        assert not seen.faults, seen.faults
        known = [world for world in self.candidates if world.visible() == seen.view]
        if not known:
            wanted = self.candidates[0].visible()
            for name in ("ranges", "stays", "holds", "blocks", "conflicts"):
                present, modelled = getattr(seen.view, name), getattr(wanted, name)
                assert present == modelled, (
                    f"I4: {name}: only in the ledger {present - modelled}, not {modelled - present}"
                )
        before, self.world = self.world, known[0]
        for house in self.house_ids:
            moved = seen.versions[house] - self.versions[house]
            changed = _about(before, house) != _about(self.world, house)
            assert moved > 0 if changed else moved >= 0, f"I10: {house} changed without a version"
        self.versions = seen.versions
        if len(self.world.conflicts) > len(before.conflicts):
            self.scene.outcomes["overbooked", "waits"] += 1
        if [one.resolution for one in before.conflicts] != [one.resolution for one in self.world.conflicts]:
            self.scene.outcomes.update(("overbooked", one.resolution or "waits") for one in self.world.conflicts)

    def _create(
        self,
        name: str,
        houses: Collection[UUID],
        ask: Callable[[IdempotencyKey | None], Awaitable[StoredAnswer]],
        predict: Predict,
        *,
        keyed: bool,
        foreign: bool,
    ) -> None:
        """A creating request; what was refused under a key is tried under it again."""
        key = None
        if keyed:
            # One that was refused before is free: a retry decides anew.
            told = self.refused_keys.pop() if self.refused_keys else f"key {next(self.key_numbers)}"
            key = IdempotencyKey(self._agency(foreign), "caller", told, "f")

        def predict_made(world: World, answer: StoredAnswer | None) -> None:
            predict(world, [uuid4() for _ in range(MOST_STAYS)] if answer is None else _made(answer))

        result = self._change(name, houses, ask(key), predict_made, foreign=foreign)
        if key is None:
            return
        if result.refusal is not None:
            self.refused_keys.append(key.key)
        else:
            self.answered.append(Answered(ask, key, result.value, self.world.now, houses))

    def _change(
        self, name: str, houses: Collection[UUID], work: Awaitable[Any], predict: Predict, *, foreign: bool = False
    ) -> Result:
        """Run an operation and compare: it succeeds when the model can do it, and is refused for a reason it has."""
        result = self.scene.attempt(work)
        self._count(name, result.name)
        touched = self.world.touched(houses)

        def tried(base: World, *, is_lazy: bool) -> World:
            world = base.copy()
            world.is_lazy = is_lazy
            if foreign:
                raise Refused({"NotFound"})
            predict(world, result.value)
            world.is_lazy = False
            return world

        def why_not(written: World) -> Collection[str]:
            # Who is refused anyhow may be told why by what is written. An overdue claim is never a reason.
            try:
                tried(written, is_lazy=True)
            except Refused as refusal:
                return refusal.reasons - {"DatesUnavailable"}
            return ()

        refused = None
        reasons = {"done"}
        try:
            self.candidates = [tried(touched, is_lazy=True), tried(touched, is_lazy=False)]
        except Refused as refusal:
            refused = refusal
            self.candidates = [self.world, touched]
            reasons = {*refused.reasons, *why_not(self.world)}
        if result.name not in reasons:
            present = self.scene.look().faults
            raise AssertionError(f"I5: {name} is {result.refusal!r} and should be {reasons}; {present}")
        if refused is not None:
            self._judge(result, [*refused.competing, *self._claims(houses)])
        return result

    def _judge(self, result: Result, claims: Sequence[Claim]) -> None:
        """I5: what a refusal names is live, and the model's own reason."""
        if not isinstance(result.refusal, DatesUnavailable):
            return
        told = result.refusal.competitor
        known = {(claim.kind, claim.first, claim.last) for claim in claims if not self._is_over(claim)}
        assert (told.kind, told.start_date, told.end_date) in known, f"I5: {told} is not live"

    def _claims(self, houses: Collection[UUID]) -> list[Claim]:
        return [claim for house in houses for claim in self.world.houses[house].claims]

    def _is_over(self, claim: Claim) -> bool:
        return claim.expires_at is not None and claim.expires_at <= self.world.now

    def _count(self, name: str, outcome: str) -> None:
        self.scene.steps += 1
        self.scene.outcomes[name, outcome] += 1

    def _may_ask_again(self) -> list[Answered]:
        return [asked for asked in self.answered if self.world.now - asked.at <= KEPT]

    def _agency(self, foreign: bool) -> UUID:
        return self.foreign_agency if foreign else self.own_agency

    def _dates(self, day: int, nights: int) -> tuple[date, date]:
        first = self.world.now.date() + timedelta(days=day)
        return first, first + timedelta(days=nights)

    def _hold_in(self, house: int, wanted: bool) -> UUID | None:
        found = [key for key, hold in self.world.holds.items() if hold.house == self.house_ids[house]]
        return found[-1] if wanted and found else None

    def _draft(self, wanted: Wanted) -> BookingDraft:
        guest = GuestDraft(name="Guest", email=f"{wanted.first.day % 3}@example.com")
        return BookingDraft(
            property_id=wanted.house,
            check_in=wanted.first,
            check_out=wanted.last,
            adults=2,
            children=0,
            infants=0,
            status=wanted.status,
            notes=None,
            guest=guest,
            hold_id=wanted.hold,
        )


def _made(answer: StoredAnswer) -> list[UUID]:
    """The ids of what a creating request made."""
    assert answer.status == 201
    assert not answer.replayed
    body = orjson.loads(answer.body)
    return [UUID(made["id"]) for made in body.get("bookings", [body])]


def _about(world: World, house: UUID) -> tuple[Any, ...]:
    """What of a house takes a version to change."""
    return (
        world.houses[house].preparation_days,
        frozenset(world.houses[house].claims),
        *(
            [(key, *vars(it).items()) for key, it in records.items() if it.house == house]
            for records in (world.stays, world.holds, world.blocks)
        ),
        [tuple(vars(conflict).items()) for conflict in world.conflicts if conflict.house == house],
    )
