"""Owns the steps of the ledger machine: every use case of booking that touches the ledger, with random arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from booking.domain.model import Block, ChannelReference, Hold, Page
from booking.domain.revisions import Revision
from booking.service import (
    blocks,
    channel,
    expiry,
    groups,
    holds,
    modifying,
    reservations,
    selling,
    transitions,
)
from booking.service.modifying import Patch
from tests.booking.ledger_machine_frame import MOST_STAYS, ZONES, ComparedMachine
from tests.booking.ledger_machine_scene import PENDING_TTL, START
from tests.booking.ledger_model import World
from tests.booking.ledger_model_records import ALLOWED, OCCUPYING, Code, Wanted

Key = TypeVar("Key")
Record = TypeVar("Record")
CONNECTION = UUID(int=7)
MOST_PREPARATIONS = 3
"""How often a program changes preparation days; more would crowd out the rest."""

ANY = 6
WHICH = st.integers(0, ANY + 1)
"""Which of the records there are, counted from the newest and round again; mostly of those that fit."""
HOUSE = st.integers(0, len(ZONES) - 1)
DAY = st.integers(-1, 7)
"""Days from today by UTC to an arrival."""
NIGHTS = st.integers(1, 4)
SHIFT = st.integers(-2, 2)
LASTS = st.sampled_from([timedelta(hours=hours) for hours in (1, 7, 25)])
STATUS = st.sampled_from(["confirmed", "confirmed", "pending", "inquiry"])
IS_KEYED = st.booleans()
IS_FOREIGN = st.integers(0, 11).map(lambda number: number == 11)
"""Whether an agency asks that the record does not belong to."""


class LedgerMachine(ComparedMachine):
    """What anybody may do to the ledger. A record is chosen by `which`; `foreign` asks as another agency."""

    @rule(house=HOUSE, day=DAY, nights=NIGHTS, status=STATUS, keyed=IS_KEYED, foreign=IS_FOREIGN)
    def book(self, house: int, day: int, nights: int, status: str, keyed: bool, foreign: bool) -> None:
        wanted = Wanted(self.house_ids[house], *self._dates(day, nights), status)
        agency = self._agency(foreign)
        self._create(
            "book",
            [wanted.house],
            lambda key: reservations.book(self.scene.api, agency, self._draft(wanted), key),
            lambda world, made: world.book([wanted], made[:1], PENDING_TTL),
            keyed=keyed,
            foreign=foreign,
        )

    @precondition(lambda self: self.world.holds)
    @rule(which=WHICH, shift=SHIFT, other=st.integers(0, 5), status=STATUS, keyed=IS_KEYED, foreign=IS_FOREIGN)
    def book_a_hold(self, which: int, shift: int, other: int, status: str, keyed: bool, foreign: bool) -> None:
        hold_id = _pick(self.world.holds, which, lambda hold: hold.state == "active")
        hold = self.world.holds[hold_id]
        house = self.house_ids[other] if other < len(self.house_ids) and which == 0 else hold.house
        wanted = Wanted(house, hold.first, max(hold.last + timedelta(days=shift), _next(hold.first)), status, hold_id)
        agency = self._agency(foreign)
        self._create(
            "book_a_hold",
            [wanted.house],
            lambda key: groups.book_hold(self.scene.api, agency, self._draft(wanted), key),
            lambda world, made: world.book([wanted], made[:1], PENDING_TTL),
            keyed=keyed,
            foreign=foreign,
        )

    @rule(
        stays=st.lists(st.tuples(HOUSE, DAY, NIGHTS, st.booleans()), min_size=2, max_size=MOST_STAYS),
        status=STATUS,
        keyed=IS_KEYED,
        foreign=IS_FOREIGN,
    )
    def book_a_group(self, stays: list[tuple[int, int, int, bool]], status: str, keyed: bool, foreign: bool) -> None:
        wanted = [
            Wanted(self.house_ids[house], *self._dates(day, nights), status, self._hold_in(house, with_hold))
            for house, day, nights, with_hold in stays
        ]
        agency = self._agency(foreign)
        self._create(
            "book_a_group",
            {one.house for one in wanted},
            lambda key: groups.book_group(self.scene.api, agency, [self._draft(one) for one in wanted], key),
            lambda world, made: world.book(wanted, made[: len(wanted)], PENDING_TTL),
            keyed=keyed,
            foreign=foreign,
        )

    @precondition(lambda self: self.world.stays)
    @rule(which=WHICH, first=SHIFT, last=SHIFT, to=st.integers(0, 8), foreign=IS_FOREIGN)
    def modify(self, which: int, first: int, last: int, to: int, foreign: bool) -> None:
        stay_id = _pick(self.world.stays, which, lambda stay: stay.status in OCCUPYING)
        stay = self.world.stays[stay_id]
        check_in = stay.first + timedelta(days=first)
        check_out = max(stay.last + timedelta(days=last), _next(check_in))
        target = self.house_ids[to] if to < len(self.house_ids) else stay.house
        self._change(
            "move" if target != stay.house else "modify",
            {stay.house, target},
            modifying.modify(
                self.scene.api, self._agency(foreign), stay_id, Patch(check_in, check_out, property_id=target)
            ),
            lambda world, _: world.modify(stay_id, check_in, check_out, target),
            foreign=foreign,
        )

    @precondition(lambda self: self.world.stays)
    @rule(which=WHICH, action=st.sampled_from(["confirm", "decline", "cancel"]), foreign=IS_FOREIGN)
    def settle(self, which: int, action: str, foreign: bool) -> None:
        self._transit(which, action, foreign)

    @precondition(lambda self: self.world.stays)
    @rule(which=WHICH, action=st.sampled_from(["check_in", "check_out", "mark_no_show"]), foreign=IS_FOREIGN)
    def receive(self, which: int, action: str, foreign: bool) -> None:
        self._transit(which, action, foreign)

    def _transit(self, which: int, action: str, foreign: bool) -> None:
        stay_id = _pick(self.world.stays, which, lambda stay: stay.status in ALLOWED[action])
        deps, agency = self.scene.api, self._agency(foreign)
        function = getattr(transitions, action)
        has_reason = action in ("cancel", "decline", "mark_no_show")
        self._change(
            action,
            [self.world.stays[stay_id].house],
            function(deps, agency, stay_id, "why") if has_reason else function(deps, agency, stay_id),
            lambda world, _: world.transit(stay_id, action),
            foreign=foreign,
        )

    @rule(house=HOUSE, day=DAY, nights=NIGHTS, lasts=LASTS, keyed=IS_KEYED, foreign=IS_FOREIGN)
    def place_hold(self, house: int, day: int, nights: int, lasts: timedelta, keyed: bool, foreign: bool) -> None:
        where, (first, last), agency = self.house_ids[house], self._dates(day, nights), self._agency(foreign)
        self._create(
            "place_hold",
            [where],
            lambda key: holds.place(self.scene.api, Hold(uuid4(), agency, where, first, last, START), lasts, key),
            lambda world, made: world.place(made[0], where, first, last, lasts),
            keyed=keyed,
            foreign=foreign,
        )

    @precondition(lambda self: self.world.holds)
    @rule(which=WHICH, lasts=LASTS, foreign=IS_FOREIGN)
    def extend_hold(self, which: int, lasts: timedelta, foreign: bool) -> None:
        hold_id = _pick(self.world.holds, which, lambda hold: hold.state == "active")
        self._change(
            "extend_hold",
            [self.world.holds[hold_id].house],
            holds.extend(self.scene.api, self._agency(foreign), hold_id, lasts),
            lambda world, _: world.extend(hold_id, lasts),
            foreign=foreign,
        )

    @precondition(lambda self: self.world.holds)
    @rule(which=WHICH, foreign=IS_FOREIGN)
    def release_hold(self, which: int, foreign: bool) -> None:
        hold_id = _pick(self.world.holds, which, lambda hold: hold.state == "active")
        self._change(
            "release_hold",
            [self.world.holds[hold_id].house],
            holds.release(self.scene.api, self._agency(foreign), hold_id),
            lambda world, _: world.release(hold_id),
            foreign=foreign,
        )

    @rule(house=HOUSE, day=DAY, nights=NIGHTS, keyed=IS_KEYED, foreign=IS_FOREIGN)
    def block(self, house: int, day: int, nights: int, keyed: bool, foreign: bool) -> None:
        where, (first, last), agency = self.house_ids[house], self._dates(day, nights), self._agency(foreign)
        self._create(
            "block",
            [where],
            lambda key: blocks.create(
                self.scene.api, Block(uuid4(), agency, where, first, last, None, "manual", True), key
            ),
            lambda world, made: world.block(made[0], where, first, last),
            keyed=keyed,
            foreign=foreign,
        )

    @precondition(lambda self: self.world.blocks)
    @rule(which=WHICH, foreign=IS_FOREIGN)
    def unblock(self, which: int, foreign: bool) -> None:
        block_id = _pick(self.world.blocks, which, lambda block: block.active)
        self._change(
            "unblock",
            [self.world.blocks[block_id].house],
            blocks.delete(self.scene.api, self._agency(foreign), block_id),
            lambda world, _: world.unblock(block_id),
            foreign=foreign,
        )

    @rule(
        name=st.sampled_from("XYZ"),
        house=HOUSE,
        step=st.sampled_from([1, 1, 1, 2, 0, -1]),
        is_cancellation=st.integers(0, 3).map(lambda number: number == 3),
        day=DAY,
        nights=NIGHTS,
        foreign=IS_FOREIGN,
    )
    def revise(
        self, name: str, house: int, step: int, is_cancellation: bool, day: int, nights: int, foreign: bool
    ) -> None:
        """`step` counts from the newest revision there is of this code in this house."""
        code: Code = (name, self.house_ids[house])
        known = self.world.revisions.get(code, {})
        number = max(known, default=10) + step
        dates = None if is_cancellation else self._dates(day, nights)
        revision = _revision(self._agency(foreign), code, number, dates)
        at = {code[1]} | {self.world.stays[stay].house for _, stay in known.values() if stay is not None}

        async def apply() -> UUID | None:
            await channel.apply_revision(self.scene.system, revision)
            return None

        def predict(world: World, _: Any) -> None:
            made = self.scene.revision_made(CONNECTION, *code, number)
            world.revise(code, number, made, dates)

        kind = "cancelled" if is_cancellation else "told"
        kind = "superseded" if step < 0 and known else "duplicate" if number in known else kind
        self._change(f"revision {kind}", at, apply(), predict, foreign=foreign)

    @precondition(lambda self: self.world.conflicts)
    @rule(which=WHICH, who=st.integers(0, 3), foreign=IS_FOREIGN)
    def resolve_by_cancelling(self, which: int, who: int, foreign: bool) -> None:
        self._resolve(which, who, None, foreign)

    @precondition(lambda self: self.world.conflicts)
    @rule(which=WHICH, who=st.integers(0, 3), to=HOUSE, foreign=IS_FOREIGN)
    def resolve_by_moving(self, which: int, who: int, to: int, foreign: bool) -> None:
        self._resolve(which, who, self.house_ids[to], foreign)

    def _resolve(self, which: int, who: int, target: UUID | None, foreign: bool) -> None:
        agency = self._agency(foreign)
        index = _pick(dict(enumerate(self.world.conflicts)), which, lambda conflict: conflict.resolution is None)
        conflict = self.world.conflicts[index]
        competing = self.world.competing(conflict)
        stay_id = competing[who % len(competing)] if who < 3 else _pick(self.world.stays, which, lambda _: True)
        houses = {conflict.house, *((target,) if target else ())}
        if stay_id in self.world.stays:
            houses.add(self.world.stays[stay_id].house)

        async def resolve() -> None:
            listed = await channel.list_conflicts(self.scene.api, self.own_agency, Page(100), None)
            await channel.resolve(self.scene.api, agency, listed[index].id, stay_id, target)

        self._change(
            "resolve by moving" if target else "resolve by cancelling",
            houses,
            resolve(),
            lambda world, _: world.resolve(world.conflicts[index], stay_id, target),
            foreign=foreign,
        )

    @precondition(lambda self: self.prepared < MOST_PREPARATIONS)
    @rule(house=HOUSE, preparation_days=st.integers(0, 2), foreign=IS_FOREIGN)
    def prepare(self, house: int, preparation_days: int, foreign: bool) -> None:
        where = self.house_ids[house]
        self.prepared += 1
        self._change(
            "prepare",
            [where],
            selling.modify(self.scene.api, self._agency(foreign), where, {"preparation_days": preparation_days}),
            lambda world, _: world.prepare(where, preparation_days),
            foreign=foreign,
        )

    @rule(hours=st.sampled_from([6, 12, 24, 48]), with_worker=st.booleans())
    def wait(self, hours: int, with_worker: bool) -> None:
        """Time passes, and perhaps the worker comes round."""
        self.world = self.world.copy()
        self.world.now += timedelta(hours=hours)
        self.scene.set_now(self.world.now)
        self._count("wait", "done")
        self.candidates = [self.world]
        if with_worker:
            self._change("expire", self.house_ids, expiry.expire_overdue(self.scene.system), lambda world, _: None)

    @precondition(lambda self: self._may_ask_again())
    @rule(which=WHICH, is_another=st.booleans())
    def send_again(self, which: int, is_another: bool) -> None:
        """I7: the same request gets the same bytes, whatever happened since; another one with its key is refused."""
        asked = self._may_ask_again()[-1 - which % len(self._may_ask_again())]
        key = replace(asked.key, fingerprint="another") if is_another else asked.key
        result = self.scene.attempt(asked.again(key))
        if is_another:
            assert result.name == "IdempotencyMismatch", f"I7: another request under a used key: {result}"
        else:
            assert result.value == replace(asked.answer, replayed=True), (
                f"I7: {asked.answer} was not replayed: {result}"
            )
        self._count("send something else" if is_another else "send again", result.name)
        self.candidates = [self.world, self.world.touched(asked.houses)]


def _pick(records: Mapping[Key, Record], which: int, is_fit: Callable[[Record], bool]) -> Key:
    """One of the records, 0 the newest; `ANY` and more does not ask for fit ones."""
    fit = [key for key, record in records.items() if which >= ANY or is_fit(record)]
    keys = fit or list(records)
    return keys[-1 - which % len(keys)]


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _revision(agency_id: UUID, code: Code, number: int, dates: tuple[date, date] | None) -> Revision:
    name, house = code
    first, last = dates or (None, None)
    return Revision(
        agency_id=agency_id,
        property_id=house,
        channel=ChannelReference(CONNECTION, "ota", name),
        revision_id=f"{name}-{number}",
        revision_no=number,
        is_cancellation=dates is None,
        check_in=first,
        check_out=last,
        adults=2,
        children=0,
        infants=0,
        guest_name="Ana",
        guest_email=f"{name}@example.com",
        guest_phone=None,
        total_amount_minor=30000,
        currency="EUR",
    )
