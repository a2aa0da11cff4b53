"""Use cases of time running out: holds and pendings that are overdue lose their nights; called by workers and book."""

from uuid import UUID

from booking.domain.model import LedgerState
from booking.repository import reads
from booking.repository.writes import Written
from booking.service.writing import Decision, Deps, under_lock
from runtime.postgres import Connection, transaction


async def expire(deps: Deps, agency_id: UUID, property_id: UUID) -> None:
    """Expire what is overdue in one property, by database time."""

    async def nothing_more(_: Connection, __: LedgerState) -> Decision:
        return Decision([])

    async def done(_: Connection, __: Written) -> None:
        return None

    await under_lock(deps, agency_id, property_id, nothing_more, done)


async def expire_overdue(deps: Deps, limit: int = 100) -> int:
    """Expire what is overdue in every agency; how many properties were visited. For the worker's system role."""
    async with transaction(deps.pool, None) as connection:
        overdue = await reads.select_overdue_properties(connection, limit)
    for agency_id, property_id in overdue:
        await expire(deps, agency_id, property_id)
    return len(overdue)
