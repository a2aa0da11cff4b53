"""Use cases of blocks: close nights by hand, open them again, read, list."""

from uuid import UUID

from booking.domain.errors import DatesUnavailable, NotFound
from booking.domain.inventory import close_nights, open_nights
from booking.domain.model import Block, LedgerState, Page
from booking.events import bodies
from booking.repository import lists, reads
from booking.repository.writes import AnswerDraft, Written
from booking.service.refusals import log_refusal
from booking.service.writing import Decision, Deps, Require, new_id, only_answer, replaying, under_lock
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.postgres import Connection, transaction


async def create(deps: Deps, block: Block, key: IdempotencyKey | None) -> StoredAnswer:
    """Close nights: 201 body, `DatesUnavailable` or `NotFound`."""

    async def decide(_: Connection, state: LedgerState) -> Decision:
        try:
            change = close_nights(state, block, new_id)
        except DatesUnavailable as refusal:
            log_refusal(block.property_id, block.start_date, block.end_date, "block", refusal.competitor)
            raise
        return Decision([change], AnswerDraft(block.property_id, 201, bodies.block_body(block)))

    return await replaying(
        deps, key, lambda: under_lock(deps, block.agency_id, block.property_id, decide, only_answer, key)
    )


async def delete(deps: Deps, agency_id: UUID, block_id: UUID, require: Require | None = None) -> Block:
    """Open the nights of a block again; deleting twice answers the same.

    `require` looks at the property's state under the lock, and raises what speaks against it.
    """
    property_id = (await get(deps, agency_id, block_id)).property_id

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        if require is not None:
            require(state)
        return Decision(open_nights(state, await _existing(connection, agency_id, block_id), new_id))

    async def finish(connection: Connection, _: Written) -> Block:
        return await _existing(connection, agency_id, block_id)

    return await under_lock(deps, agency_id, property_id, decide, finish)


async def get(deps: Deps, agency_id: UUID, block_id: UUID) -> Block:
    """One block of the agency, deleted ones too, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await _existing(connection, agency_id, block_id)


async def list_page(deps: Deps, agency_id: UUID, page: Page, property_id: UUID | None) -> list[Block]:
    """A page of the agency's active blocks, newest first."""
    async with transaction(deps.pool, agency_id) as connection:
        return await lists.select_blocks(connection, agency_id, page, property_id)


async def _existing(connection: Connection, agency_id: UUID, block_id: UUID) -> Block:
    block = await reads.select_block(connection, agency_id, block_id)
    if block is None:
        raise NotFound("block")
    return block
