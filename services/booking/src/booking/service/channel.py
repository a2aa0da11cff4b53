"""Use cases of what comes from channels: apply an OTA revision; read and list conflicts."""

from collections.abc import Mapping
from uuid import UUID

from booking.domain.errors import DatesUnavailable, GuestAppeared, NotFound, RangeMoved
from booking.domain.inventory import require_in_conflict
from booking.domain.model import Block, Conflict, LedgerState, Page, Reservation, RevisionDecision, normalise_email
from booking.domain.revisions import Known, Revision, decide
from booking.repository import lists, reads
from booking.repository.writes import Written
from booking.service import blocks, modifying, transitions
from booking.service.modifying import Patch
from booking.service.writing import Decision, Deps, new_id, under_locks
from runtime.postgres import Connection, transaction

ATTEMPTS = 3


async def apply_revision(deps: Deps, revision: Revision) -> None:
    """Apply one OTA revision; safe to repeat: a revision decided before gets its stored outcome told again.

    Raises `NotFound` when the agency has no such property: the record then belongs to the dead letters; `RangeMoved` or
    `GuestAppeared` when its stay or guest moved again and again while it was decided.
    """

    async def decide_revision(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        known = await _known(connection, revision)
        if known.reservation is not None and known.reservation.property_id not in states:
            raise RangeMoved(RangeMoved.__doc__)
        where = revision.property_id if known.reservation is None else known.reservation.property_id
        return Decision(decide(states[where], revision, known, new_id))

    async def done(_: Connection, __: Written) -> None:
        return None

    as_channel = deps.by(f"channel:{revision.channel.connection_id}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            properties = await _properties_of(deps, revision)
            await under_locks(as_channel, revision.agency_id, properties, decide_revision, done)
            return
        except (DatesUnavailable, GuestAppeared, RangeMoved):  # nights taken past the lock: it is overbooked then
            if attempt == ATTEMPTS:
                raise


async def _properties_of(deps: Deps, revision: Revision) -> list[UUID]:
    """The listing's property and the one the reservation was moved to, if it was."""
    async with transaction(deps.pool, revision.agency_id) as connection:
        reservation = await _reservation_of(connection, revision, await _latest(connection, revision))
    moved_to = {reservation.property_id} if reservation is not None else set()
    return sorted({revision.property_id, *moved_to})


async def _known(connection: Connection, revision: Revision) -> Known:
    latest = await _latest(connection, revision)
    return Known(
        reservation=await _reservation_of(connection, revision, latest),
        latest=latest,
        same=await reads.select_decision(connection, *_key_of(revision), revision.revision_no),
        guest_id=await reads.select_guest_id(connection, revision.agency_id, normalise_email(revision.guest_email)),
        block=await _block_of(connection, revision, latest),
    )


def _key_of(revision: Revision) -> tuple[UUID, str, UUID]:
    return revision.channel.connection_id, revision.channel.ota_reservation_code, revision.property_id


async def _latest(connection: Connection, revision: Revision) -> RevisionDecision | None:
    return await reads.select_latest_decision(connection, *_key_of(revision))


async def _reservation_of(
    connection: Connection, revision: Revision, latest: RevisionDecision | None
) -> Reservation | None:
    """The reservation the channel's code stands for, wherever it is now."""
    if latest is None or latest.reservation_id is None:
        return None
    return await reads.select_reservation(connection, revision.agency_id, latest.reservation_id)


async def _block_of(connection: Connection, revision: Revision, latest: RevisionDecision | None) -> Block | None:
    if latest is None or latest.block_id is None:
        return None
    return await reads.select_block(connection, revision.agency_id, latest.block_id)


async def resolve(
    deps: Deps, agency_id: UUID, conflict_id: UUID, reservation_id: UUID | None, target_id: UUID | None
) -> Conflict:
    """Settle an open conflict by hand, in one transaction: cancel a stay, or move it to another property (`target_id`).

    The stay is the overbooked one unless another that competes with it is named; an imported block that waits is
    deleted, as it cannot be moved. Raises `NotFound`, `ConflictClosed`, `DatesUnavailable`.
    """
    conflict = await get_conflict(deps, agency_id, conflict_id)
    stay_id = reservation_id or conflict.source_id
    require_in_conflict(conflict, stay_id)

    def require(state: LedgerState) -> None:
        # Looked at again under the lock: it may have closed by itself, or be about others now.
        waiting = [stay.conflict for stay in state.waiting if stay.conflict.id == conflict_id]
        require_in_conflict(waiting[0] if waiting else None, stay_id)

    if target_id is None and conflict.is_of_block and stay_id == conflict.source_id:
        await blocks.delete(deps, agency_id, stay_id, require)
    elif target_id is None:
        await transitions.cancel(deps, agency_id, stay_id, "conflict resolved", require)
    else:
        await modifying.modify(deps, agency_id, stay_id, Patch(property_id=target_id), require)
    return await get_conflict(deps, agency_id, conflict_id)


async def get_conflict(deps: Deps, agency_id: UUID, conflict_id: UUID) -> Conflict:
    """One conflict of the agency, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        conflict = await reads.select_conflict(connection, agency_id, conflict_id)
    if conflict is None:
        raise NotFound("conflict")
    return conflict


async def list_conflicts(deps: Deps, agency_id: UUID, page: Page, state: str | None) -> list[Conflict]:
    """A page of the agency's conflicts, longest waiting first."""
    async with transaction(deps.pool, agency_id) as connection:
        return await lists.select_conflicts(connection, agency_id, page, state)
