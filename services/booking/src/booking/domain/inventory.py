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
    stored = block_range(block, new_id())
    refuse_overlap(state, stored)
    return Change(state.property.id, "BlockCreated", occupied=(stored,), block=block)


def open_nights(state: LedgerState, block: Block, new_id: NewId) -> list[Change]:
    """A block gives its nights back at once; nothing changes when it is deleted already."""
    if not block.active:
        return []
    deleted = replace(block, active=False, waiting=False)
    change = Change(state.property.id, "BlockDeleted", state.ranges_of(block.id), block=deleted)
    changes = [change, *close_conflict(state, block.id, "deleted")]
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


def block_range(block: Block, range_id: UUID) -> StoredRange:
    """The range a block occupies: exactly its nights."""
    return StoredRange(range_id, "block", block.id, block.start_date, block.end_date, block.start_date, block.end_date)


def nights_wanted(owner: Property, wanted: Reservation | Block) -> tuple[date, date]:
    """The nights `[start, end)` a stay or block occupies once it has them."""
    if isinstance(wanted, Block):
        return wanted.start_date, wanted.end_date
    return wanted.check_in, owner.occupied_end(wanted.check_out)


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


def deal(owner: Property, others: Sequence[StoredRange], wanted: Reservation | Block) -> Deal:
    """What is left for a waiting stay once `others` have theirs.

    A deleted property gives nothing: the stay waits for somebody to move or cancel it, and nothing needs to be closed.
    """
    if owner.deleted_at is not None:
        return Deal(False, (), ())
    start, end = nights_wanted(owner, wanted)
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


def require_in_conflict(conflict: Conflict | None, source_id: UUID) -> None:
    """Raises `ConflictClosed` unless the conflict is open, and `NotFound` for a stay that has no part in it."""
    if conflict is None or conflict.state != "open":
        raise ConflictClosed(ConflictClosed.__doc__)
    if source_id not in (conflict.source_id, *conflict.competing_source_ids):
        raise NotFound("booking in this conflict")


def settle(
    state: LedgerState, new_id: NewId, fresh: WaitingStay | None = None, held_by_fresh: tuple[StoredRange, ...] = ()
) -> list[Change]:
    """Deal the free nights to the waiting stays, longest waiting first; conflict ranges are derived here alone.

    A stay that gets all its nights becomes confirmed, a block holds them, and the conflict closes in the history;
    unchanged deals change nothing. `fresh` was just found overbooked: it is dealt last, its changes come first, and it
    gives back `held_by_fresh`, which the state no longer contains.
    """
    others = [stored for stored in state.ranges if stored.kind != "conflict"]
    changes: list[Change] = []
    for stay in state.waiting:
        dealt, gained = _deal_again(state, stay, others, new_id)
        changes += dealt
        others.extend(gained)
    if fresh is None:
        return changes
    result = deal(state.property, others, fresh.wanted)
    pieces = conflict_ranges(fresh.wanted.id, result, new_id)
    conflict = replace(fresh.conflict, competing_source_ids=result.competing)
    return [
        _waits(fresh.wanted, held_by_fresh, pieces),
        Change(state.property.id, "ConflictOpened", conflict=conflict),
        *changes,
    ]


def _waits(wanted: Reservation | Block, released: tuple[StoredRange, ...], pieces: tuple[StoredRange, ...]) -> Change:
    if isinstance(wanted, Block):
        return Change(wanted.property_id, block_event(wanted), released, pieces, block=wanted)
    return Change(wanted.property_id, "ReservationOverbooked", released, pieces, reservation=wanted)


def block_event(block: Block) -> str:
    """What happens to a block when it is told: it is new, or covers other nights."""
    return "BlockCreated" if block.created_at is None else "BlockModified"


def _deal_again(
    state: LedgerState, stay: WaitingStay, others: Sequence[StoredRange], new_id: NewId
) -> tuple[list[Change], tuple[StoredRange, ...]]:
    result = deal(state.property, others, stay.wanted)
    held = state.ranges_of(stay.wanted.id)
    if result.wins:
        closed = replace(stay.conflict, state="closed", resolution="nights_came_free")
        won = _won(state.property, stay.wanted, held, new_id())
        return [won, Change(state.property.id, "ConflictClosed", conflict=closed)], won.occupied
    pieces = conflict_ranges(stay.wanted.id, result, new_id)
    if _spans(pieces) == _spans(held) and result.competing == stay.conflict.competing_source_ids:
        return [], held
    conflict = replace(stay.conflict, competing_source_ids=result.competing)
    return [Change(state.property.id, "ConflictChanged", held, pieces, conflict=conflict)], pieces


def _won(owner: Property, wanted: Reservation | Block, released: tuple[StoredRange, ...], range_id: UUID) -> Change:
    if isinstance(wanted, Block):
        closed = replace(wanted, waiting=False)
        return Change(owner.id, "BlockModified", released, (block_range(closed, range_id),), block=closed)
    won = replace(wanted, status=status_won(wanted))
    stored = reservation_range(owner, won, range_id)
    return Change(owner.id, "ReservationConfirmed", released, (stored,), reservation=won)


def conflict_ranges(source_id: UUID, result: Deal, new_id: NewId) -> tuple[StoredRange, ...]:
    """The still-free pieces of an overbooked stay as ranges of kind `conflict`: nothing more is sold into it."""
    return tuple(StoredRange(new_id(), "conflict", source_id, start, end, start, end) for start, end in result.pieces)


def close_conflict(state: LedgerState, source_id: UUID, resolution: str) -> list[Change]:
    """The open conflict of a stay or block, if any, ends without getting its nights."""
    return [
        Change(
            state.property.id,
            "ConflictClosed",
            conflict=replace(stay.conflict, state="closed", resolution=resolution),
        )
        for stay in state.waiting
        if stay.wanted.id == source_id
    ]


def opened_conflict(wanted: Reservation | Block, conflict_id: UUID) -> Conflict:
    """The conflict of what was just found overbooked."""
    if isinstance(wanted, Block):
        start, end = wanted.start_date, wanted.end_date
    else:
        start, end = wanted.check_in, wanted.check_out
    return Conflict(
        conflict_id,
        wanted.agency_id,
        wanted.property_id,
        wanted.id,
        "open",
        start,
        end,
        (),
        is_of_block=isinstance(wanted, Block),
    )


def _spans(ranges: Iterable[StoredRange]) -> set[tuple[date, date]]:
    return {(stored.occupied_start, stored.occupied_end) for stored in ranges}
