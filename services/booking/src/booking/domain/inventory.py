"""Decides how the ledger of one property changes; called by service under the property's lock, applied by repository.

Every function takes the state and returns the changes in order. The steps of every writer: overdue pendings expire
first (`expire_overdue`), the writer's own change is decided against what is left, and whoever gives nights back ends
with dealing them to the waiting overbooked stays (`settle`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from booking.domain.errors import Competitor, ConflictClosed, DatesUnavailable, NotFound
from booking.domain.model import Block, Change, Conflict, LedgerState, Property, Reservation, WaitingStay
from rules.calendar import StoredRange

NewId = Callable[[], UUID]


def after(state: LedgerState, changes: Iterable[Change]) -> LedgerState:
    """The state once the changes are applied, as far as ranges and waiting stays go."""
    ranges = {stored.range_id: stored for stored in state.ranges}
    waiting = {stay.conflict.id: stay for stay in state.waiting}
    for change in changes:
        for stored in change.released:
            ranges.pop(stored.range_id, None)
        for stored in change.occupied:
            ranges[stored.range_id] = stored
        if change.conflict is not None and change.conflict.state == "closed":
            waiting.pop(change.conflict.id, None)
        elif change.conflict is not None and change.conflict.id in waiting:
            waiting[change.conflict.id] = replace(waiting[change.conflict.id], conflict=change.conflict)
    return replace(state, ranges=tuple(ranges.values()), waiting=tuple(waiting.values()), overdue=(), overdue_holds=())


def expire_overdue(state: LedgerState, new_id: NewId) -> list[Change]:
    """Holds and pendings whose time is over at the state's instant lose their nights, which are dealt on."""
    holds = [
        Change(state.property.id, "HoldExpired", state.ranges_of(hold.id), hold=replace(hold, state="expired"))
        for hold in state.overdue_holds
    ]
    pendings = [
        Change(
            state.property.id,
            "ReservationExpired",
            released=state.ranges_of(reservation.id),
            reservation=replace(reservation, status="expired"),
        )
        for reservation in state.overdue
    ]
    expired = [*holds, *pendings]
    return [*expired, *settle(after(state, expired), new_id)] if expired else []


def take_nights(state: LedgerState, reservation: Reservation, event: str, new_id: NewId) -> Change:
    """A reservation takes its nights; raises `DatesUnavailable` naming what holds them."""
    stored = reservation_range(state.property, reservation, new_id())
    refuse_overlap(state, stored)
    return Change(state.property.id, event, occupied=(stored,), reservation=reservation)


def close_nights(state: LedgerState, block: Block, new_id: NewId) -> Change:
    """A block closes its nights; it needs no preparation. Raises `DatesUnavailable` naming what holds them."""
    stored = StoredRange(
        new_id(), "block", block.id, block.start_date, block.end_date, block.start_date, block.end_date
    )
    refuse_overlap(state, stored)
    return Change(state.property.id, "BlockCreated", occupied=(stored,), block=block)


def open_nights(state: LedgerState, block: Block, new_id: NewId) -> list[Change]:
    """A block gives its nights back at once; nothing changes when it is deleted already."""
    if not block.active:
        return []
    deleted = replace(block, active=False)
    changes = [Change(state.property.id, "BlockDeleted", state.ranges_of(block.id), block=deleted)]
    return [*changes, *settle(after(state, changes), new_id)]


def reservation_range(owner: Property, reservation: Reservation, range_id: UUID) -> StoredRange:
    """The range a reservation occupies: its stay plus the property's preparation days of today."""
    return StoredRange(
        range_id,
        "reservation",
        reservation.id,
        reservation.check_in,
        reservation.check_out,
        reservation.check_in,
        owner.occupied_end(reservation.check_out),
        reservation.hold_expires_at if reservation.status == "pending" else None,
    )


def refuse_overlap(state: LedgerState, wanted: StoredRange) -> None:
    """Raise `DatesUnavailable` for the first active range that meets the wanted one.

    Raises `NotFound` when the property is deleted: its nights are not there any more.
    """
    refuse_deleted(state.property)
    taken = overlapping(state.ranges, wanted.occupied_start, wanted.occupied_end)
    if taken:
        raise DatesUnavailable(Competitor(taken[0].kind, taken[0].stay_start, taken[0].stay_end))


def refuse_deleted(owner: Property) -> None:
    """Raise `NotFound` for a property nothing is sold of any more."""
    if owner.deleted_at is not None:
        raise NotFound("property")


def overlapping(ranges: Iterable[StoredRange], start: date, end: date) -> list[StoredRange]:
    """The ranges whose `occupied` meets `[start, end)`, earliest first."""
    met = [stored for stored in ranges if stored.occupied_start < end and start < stored.occupied_end]
    return sorted(met, key=lambda stored: stored.occupied_start)


@dataclass(frozen=True, slots=True)
class Deal:
    """What a waiting stay gets: all its nights (`wins`), or the pieces nobody else holds."""

    wins: bool
    pieces: tuple[tuple[date, date], ...]
    competing: tuple[UUID, ...]


def deal(owner: Property, others: Sequence[StoredRange], reservation: Reservation) -> Deal:
    """What is left for a stay of `[check_in, occupied_end)` once `others` have theirs.

    A deleted property gives nothing: the stay waits for somebody to move or cancel it, and nothing needs to be closed.
    """
    if owner.deleted_at is not None:
        return Deal(False, (), ())
    start, end = reservation.check_in, owner.occupied_end(reservation.check_out)
    taken = overlapping(others, start, end)
    pieces = []
    position = start
    for stored in taken:
        if stored.occupied_start > position:
            pieces.append((position, stored.occupied_start))
        position = max(position, stored.occupied_end)
    if position < end:
        pieces.append((position, end))
    return Deal(not taken, tuple(pieces), tuple(sorted({stored.source_id for stored in taken})))


def status_won(reservation: Reservation) -> str:
    """The status of an overbooked stay that gets its nights: a guest who is in the house stays there."""
    return "confirmed" if reservation.checked_in_at is None else "checked_in"


def require_in_conflict(conflict: Conflict | None, reservation_id: UUID) -> None:
    """Raises `ConflictClosed` unless the conflict is open, and `NotFound` for a stay that has no part in it."""
    if conflict is None or conflict.state != "open":
        raise ConflictClosed(ConflictClosed.__doc__)
    if reservation_id not in (conflict.reservation_id, *conflict.competing_source_ids):
        raise NotFound("booking in this conflict")


def settle(
    state: LedgerState, new_id: NewId, fresh: WaitingStay | None = None, held_by_fresh: tuple[StoredRange, ...] = ()
) -> list[Change]:
    """Deal the free nights to the waiting stays, longest waiting first; conflict ranges are derived here alone.

    A stay that gets all its nights becomes confirmed, and its conflict closes in the history; unchanged deals change
    nothing. `fresh` is a stay just found overbooked: it is dealt last, its changes come first, and it gives back
    `held_by_fresh`, which the state no longer contains.
    """
    others = [stored for stored in state.ranges if stored.kind != "conflict"]
    changes: list[Change] = []
    for stay in state.waiting:
        dealt, gained = _deal_again(state, stay, others, new_id)
        changes += dealt
        others.extend(gained)
    if fresh is None:
        return changes
    result = deal(state.property, others, fresh.reservation)
    pieces = conflict_ranges(fresh.reservation.id, result, new_id)
    conflict = replace(fresh.conflict, competing_source_ids=result.competing)
    return [
        Change(state.property.id, "ReservationOverbooked", held_by_fresh, pieces, reservation=fresh.reservation),
        Change(state.property.id, "ConflictOpened", conflict=conflict),
        *changes,
    ]


def _deal_again(
    state: LedgerState, stay: WaitingStay, others: Sequence[StoredRange], new_id: NewId
) -> tuple[list[Change], tuple[StoredRange, ...]]:
    result = deal(state.property, others, stay.reservation)
    held = state.ranges_of(stay.reservation.id)
    if result.wins:
        won = replace(stay.reservation, status=status_won(stay.reservation))
        stored = reservation_range(state.property, won, new_id())
        closed = replace(stay.conflict, state="closed", resolution="nights_came_free")
        confirmed = Change(state.property.id, "ReservationConfirmed", held, (stored,), reservation=won)
        return [confirmed, Change(state.property.id, "ConflictClosed", conflict=closed)], (stored,)
    pieces = conflict_ranges(stay.reservation.id, result, new_id)
    if _spans(pieces) == _spans(held) and result.competing == stay.conflict.competing_source_ids:
        return [], held
    conflict = replace(stay.conflict, competing_source_ids=result.competing)
    return [Change(state.property.id, "ConflictChanged", held, pieces, conflict=conflict)], pieces


def conflict_ranges(source_id: UUID, result: Deal, new_id: NewId) -> tuple[StoredRange, ...]:
    """The still-free pieces of an overbooked stay as ranges of kind `conflict`: nothing more is sold into it."""
    return tuple(StoredRange(new_id(), "conflict", source_id, start, end, start, end) for start, end in result.pieces)


def close_conflict(state: LedgerState, reservation_id: UUID, resolution: str) -> list[Change]:
    """The open conflict of a reservation, if any, ends without getting its nights."""
    return [
        Change(
            state.property.id,
            "ConflictClosed",
            conflict=replace(stay.conflict, state="closed", resolution=resolution),
        )
        for stay in state.waiting
        if stay.reservation.id == reservation_id
    ]


def opened_conflict(reservation: Reservation, conflict_id: UUID) -> Conflict:
    """The conflict of a stay that was just found overbooked."""
    return Conflict(
        conflict_id,
        reservation.agency_id,
        reservation.property_id,
        reservation.id,
        "open",
        reservation.check_in,
        reservation.check_out,
        (),
    )


def _spans(ranges: Iterable[StoredRange]) -> set[tuple[date, date]]:
    return {(stored.occupied_start, stored.occupied_end) for stored in ranges}
