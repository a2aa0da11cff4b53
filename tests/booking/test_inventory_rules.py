"""The pure decisions on one property's ledger: expiry, conflicts and their dealing, revisions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booking.domain import inventory, reservations, revisions
from booking.domain.errors import DatesUnavailable, IllegalTransition
from booking.domain.model import (
    Block,
    Change,
    ChannelReference,
    Conflict,
    LedgerState,
    Reservation,
    RevisionDecision,
    WaitingStay,
)
from booking.domain.revisions import Known, Revision
from rules.calendar import StoredRange
from tests.booking.conftest import make_property, night

AGENCY = uuid4()
CONNECTION = uuid4()
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def _state(preparation_days: int = 0) -> LedgerState:
    return LedgerState(make_property(AGENCY, preparation_days), NOW, (), (), ())


def _reservation(state: LedgerState, first: int, last: int, status: str = "confirmed") -> Reservation:
    return Reservation(
        uuid4(), AGENCY, state.property.id, None, night(first), night(last), status, "direct", 2, 0, 0, "EUR"
    )


def _revision(
    state: LedgerState, code: str, number: int, first: int, last: int, *, is_cancellation: bool = False
) -> Revision:
    return Revision(
        AGENCY,
        state.property.id,
        ChannelReference(CONNECTION, "ota", code),
        f"{code}-{number}",
        number,
        is_cancellation,
        night(first),
        night(last),
        2,
        0,
        0,
        "Ana",
        None,
        None,
        None,
        None,
    )


class World:
    """A property whose changes are applied to the state, to the reservations and to the decisions."""

    def __init__(self, preparation_days: int = 0) -> None:
        self.state = _state(preparation_days)
        self.reservations: dict[UUID, Reservation] = {}
        self.blocks: dict[UUID, Block] = {}
        self.decisions: dict[str, list[RevisionDecision]] = {}
        self.events: list[str] = []

    def apply(self, changes: list[Change]) -> list[Change]:
        """Apply changes and check that the ledger stays exclusive after each."""
        for change in changes:
            self.events.append(change.event)
            if change.reservation is not None:
                self.reservations[change.reservation.id] = change.reservation
            if change.block is not None:
                self.blocks[change.block.id] = replace(change.block, created_at=NOW)
            if change.revision is not None:
                self.decisions.setdefault(change.revision.channel.ota_reservation_code, []).append(change.revision)
        opened = [change.conflict for change in changes if change.event == "ConflictOpened" and change.conflict]
        self.state = inventory.after(self.state, changes)
        waiting = list(self.state.waiting)
        wanted: dict[UUID, Reservation | Block] = {**self.reservations, **self.blocks}
        waiting += [WaitingStay(conflict, wanted[conflict.source_id]) for conflict in opened]
        self.state = replace(self.state, waiting=tuple(waiting))
        _assert_exclusive(self.state.ranges)
        return changes

    def receive(self, revision: Revision) -> list[Change]:
        """Decide and apply a revision as the service does."""
        code = revision.channel.ota_reservation_code
        decided = self.decisions.get(code, [])
        mine = [r for r in self.reservations.values() if r.channel and r.channel.ota_reservation_code == code]
        known = Known(
            mine[0] if mine else None,
            max(decided, key=lambda d: d.revision_no, default=None),
            next((d for d in decided if d.revision_no == revision.revision_no), None),
            None,
            next((b for b in self.blocks.values() if b.channel and b.channel.ota_reservation_code == code), None),
        )
        return self.apply(revisions.decide(self.state, revision, known, uuid4))

    def status_of(self, code: str) -> str:
        """The status of an OTA reservation."""
        return next(
            r.status for r in self.reservations.values() if r.channel and r.channel.ota_reservation_code == code
        )


def _assert_exclusive(ranges: tuple[StoredRange, ...]) -> None:
    ordered = sorted(ranges, key=lambda stored: stored.occupied_start)
    for before, behind in pairwise(ordered):
        assert before.occupied_end <= behind.occupied_start, (before, behind)


def test_a_stay_occupies_its_nights_and_the_preparation_after_them() -> None:
    state = _state(preparation_days=2)
    change = inventory.take_nights(state, _reservation(state, 0, 3), "ReservationConfirmed", uuid4)
    assert (change.occupied[0].occupied_start, change.occupied[0].occupied_end) == (night(0), night(5))
    taken = inventory.after(state, [change])
    with pytest.raises(DatesUnavailable) as refusal:
        inventory.take_nights(taken, _reservation(taken, 4, 6), "ReservationConfirmed", uuid4)
    assert (refusal.value.competitor.start_date, refusal.value.competitor.end_date) == (night(0), night(3))
    inventory.take_nights(taken, _reservation(taken, 5, 6), "ReservationConfirmed", uuid4)


def test_an_overbooked_stay_holds_what_is_free_and_gets_its_nights_when_they_come_free() -> None:
    world = World()
    first = world.apply(reservations.create(world.state, _reservation(world.state, 10, 12), uuid4))[0].reservation
    assert first is not None
    world.receive(_revision(world.state, "A", 1, 11, 15))
    assert world.status_of("A") == "overbooked"
    conflict = [stored for stored in world.state.ranges if stored.kind == "conflict"]
    assert [(stored.stay_start, stored.stay_end) for stored in conflict] == [(night(12), night(15))]
    with pytest.raises(DatesUnavailable):
        reservations.create(world.state, _reservation(world.state, 12, 14), uuid4)
    changes = world.apply(reservations.cancel(world.state, first, None, uuid4))
    assert [change.event for change in changes] == ["ReservationCancelled", "ReservationConfirmed", "ConflictClosed"]
    assert world.status_of("A") == "confirmed"
    assert [(stored.kind, stored.stay_start) for stored in world.state.ranges] == [("reservation", night(11))]


def test_the_confirmation_releases_the_conflict_ranges_in_the_same_event() -> None:
    world = World()
    first = world.apply(reservations.create(world.state, _reservation(world.state, 0, 2), uuid4))[0].reservation
    assert first is not None
    world.receive(_revision(world.state, "A", 1, 1, 4))
    confirmed = world.apply(reservations.cancel(world.state, first, None, uuid4))[1]
    assert {stored.kind for stored in confirmed.released} == {"conflict"}
    assert {stored.kind for stored in confirmed.occupied} == {"reservation"}


def test_of_two_waiting_stays_the_longer_waiting_one_gets_the_nights() -> None:
    world = World()
    first = world.apply(reservations.create(world.state, _reservation(world.state, 0, 4), uuid4))[0].reservation
    assert first is not None
    world.receive(_revision(world.state, "A", 1, 3, 6))
    world.receive(_revision(world.state, "B", 1, 2, 8))
    world.apply(reservations.cancel(world.state, first, None, uuid4))
    assert (world.status_of("A"), world.status_of("B")) == ("confirmed", "overbooked")


def test_a_modification_into_taken_nights_overbooks_and_gives_the_old_nights_back() -> None:
    world = World()
    world.apply(reservations.create(world.state, _reservation(world.state, 10, 12), uuid4))
    world.receive(_revision(world.state, "A", 1, 0, 3))
    changes = world.receive(_revision(world.state, "A", 2, 11, 14))
    assert changes[0].event == "ReservationOverbooked"
    assert [stored.stay_start for stored in changes[0].released] == [night(0)]
    reservations.create(world.state, _reservation(world.state, 0, 3), uuid4)
    world.receive(_revision(world.state, "A", 3, 20, 22))
    assert world.status_of("A") == "confirmed"
    assert not world.state.waiting


def test_revisions_are_ordered_by_their_number_alone() -> None:
    world = World()
    world.receive(_revision(world.state, "A", 5, 0, 3, is_cancellation=True))
    world.receive(_revision(world.state, "A", 4, 0, 3))
    assert not world.state.ranges
    assert [d.outcome for d in world.decisions["A"]] == ["applied", "superseded"]
    world.receive(_revision(world.state, "A", 4, 0, 3))
    assert [d.outcome for d in world.decisions["A"]] == ["applied", "superseded", "superseded"]
    assert world.events == ["ChannelRevisionApplied"] * 3


def test_a_repeated_revision_changes_nothing_and_tells_its_outcome_again() -> None:
    world = World()
    world.receive(_revision(world.state, "A", 1, 0, 3))
    before = world.state.ranges
    changes = world.receive(_revision(world.state, "A", 1, 0, 3))
    assert [change.event for change in changes] == ["ChannelRevisionApplied"]
    assert changes[0].revision is not None
    assert changes[0].revision.outcome == "applied"
    assert world.state.ranges == before


def test_an_illegal_transition_names_the_allowed_ones() -> None:
    state = _state()
    with pytest.raises(IllegalTransition) as refusal:
        reservations.confirm(state, _reservation(state, 0, 1, status="confirmed"), uuid4)
    assert refusal.value.allowed == ("cancel", "check-in", "no-show")


def test_an_overdue_pending_gives_its_nights_to_the_waiting_stay() -> None:
    world = World()
    pending = replace(_reservation(world.state, 0, 3, status="pending"), hold_expires_at=NOW + timedelta(minutes=1))
    world.apply(reservations.create(world.state, pending, uuid4))
    world.receive(_revision(world.state, "A", 1, 2, 5))
    later = replace(world.state, now=NOW + timedelta(minutes=2), overdue=(pending,))
    world.state = later
    changes = world.apply(inventory.expire_overdue(later, uuid4))
    assert [change.event for change in changes] == ["ReservationExpired", "ReservationConfirmed", "ConflictClosed"]


def _wanted_nights(world: World, conflict: Conflict) -> set[int]:
    return set(range((conflict.check_in - night(0)).days, (conflict.check_out - night(0)).days))


def _steps() -> st.SearchStrategy[list[tuple[str, int, int, int]]]:
    kinds = st.sampled_from(["book", "cancel", "revise", "cancel_ota", "import", "cancel_import", "open"])
    step = st.tuples(kinds, st.integers(0, 20), st.integers(1, 6), st.integers(0, 3))
    return st.lists(step, max_size=40)


@settings(max_examples=300, deadline=None)
@given(_steps())
def test_any_sequence_keeps_nights_exclusive_and_conflicts_derived(steps: list[tuple[str, int, int, int]]) -> None:
    world = World()
    numbers: Iterator[int] = iter(range(1, 1000))
    for kind, first, length, which in steps:
        _do(world, kind, first, first + length, which, next(numbers))
        held = {}
        for stored in world.state.ranges:
            for offset in range((stored.stay_start - night(0)).days, (stored.stay_end - night(0)).days):
                held[offset] = stored
        for stay in world.state.waiting:
            wanted = _wanted_nights(world, stay.conflict)
            # Every wanted night is held by somebody, and not all of them by the stay itself.
            assert wanted <= set(held)
            assert any(held[offset].source_id != stay.wanted.id for offset in wanted)
        waiting_blocks = {stay.wanted.id for stay in world.state.waiting if isinstance(stay.wanted, Block)}
        assert {block.id for block in world.blocks.values() if block.waiting} == waiting_blocks
        for block in world.blocks.values():
            own = world.state.ranges_of(block.id)
            if not block.active:
                assert not own
            elif not block.waiting:
                spans = [(kept.kind, kept.stay_start, kept.stay_end) for kept in own]
                assert spans == [("block", block.start_date, block.end_date)]


def _do(world: World, kind: str, first: int, last: int, which: int, number: int) -> None:
    if kind == "book":
        try:
            world.apply(reservations.create(world.state, _reservation(world.state, first, last), uuid4))
        except DatesUnavailable:
            nights = set(range(first, last))
            taken = {
                offset
                for stored in world.state.ranges
                for offset in range((stored.stay_start - night(0)).days, (stored.stay_end - night(0)).days)
            }
            assert nights & taken, "a refusal must be justified"
    elif kind == "cancel":
        live = [r for r in world.reservations.values() if r.source == "direct" and r.status == "confirmed"]
        if live:
            world.apply(reservations.cancel(world.state, live[which % len(live)], None, uuid4))
    elif kind in ("import", "cancel_import"):
        told = _revision(world.state, f"ICAL{which}", number, first, last, is_cancellation=kind == "cancel_import")
        world.receive(replace(told, is_block=True))
    elif kind == "open":
        for block in list(world.blocks.values())[which : which + 1]:
            world.apply(inventory.open_nights(world.state, block, uuid4))
    else:
        is_cancellation = kind == "cancel_ota"
        world.receive(_revision(world.state, f"OTA{which}", number, first, last, is_cancellation=is_cancellation))
