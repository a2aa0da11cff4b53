"""Use cases of what comes from channels: apply an OTA revision; read and list conflicts."""

from uuid import UUID

from booking.domain.errors import GuestAppeared, NotFound
from booking.domain.model import Conflict, LedgerState, Page, normalise_email
from booking.domain.revisions import Known, Revision, decide
from booking.repository import lists, reads
from booking.repository.writes import Written
from booking.service.writing import Decision, Deps, new_id, under_lock
from runtime.postgres import Connection, transaction

GUEST_ATTEMPTS = 3


async def apply_revision(deps: Deps, revision: Revision) -> None:
    """Apply one OTA revision; safe to repeat: a revision decided before gets its stored outcome told again.

    Raises `NotFound` when the agency has no such property: the record then belongs to the dead letters.
    """

    async def decide_revision(connection: Connection, state: LedgerState) -> Decision:
        return Decision(decide(state, revision, await _known(connection, revision), new_id))

    async def done(_: Connection, __: Written) -> None:
        return None

    for _ in range(GUEST_ATTEMPTS):
        try:
            await under_lock(
                deps.by(f"channel:{revision.channel.connection_id}"),
                revision.agency_id,
                revision.property_id,
                decide_revision,
                done,
            )
            return
        except GuestAppeared:
            continue
    raise GuestAppeared(GuestAppeared.__doc__)


async def _known(connection: Connection, revision: Revision) -> Known:
    origin = revision.channel
    where = (origin.connection_id, origin.ota_reservation_code, revision.property_id)
    return Known(
        reservation=await reads.select_ota_reservation(connection, *where),
        latest=await reads.select_latest_decision(connection, *where),
        same=await reads.select_decision(connection, *where, revision.revision_no),
        guest_id=await reads.select_guest_id(connection, revision.agency_id, normalise_email(revision.guest_email)),
    )


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
