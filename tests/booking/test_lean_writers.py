"""Proves what writers leave out: terms nobody judges by are not read, figures that stay as they are are not written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from asyncpg.connection import LoggedQuery

from booking.domain.errors import RangeMoved
from booking.domain.revisions import Revision
from booking.service import channel, modifying, reservations, transitions
from booking.service.modifying import Patch
from booking.service.terms import TermsCache
from booking.service.writing import Deps
from runtime.postgres import create_pool
from tests.booking.checks import revision_of
from tests.booking.conftest import Ledger, night
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

TERMS = "property_terms"


@dataclass
class Watched:
    """Dependencies whose statements are seen; the terms of nothing are known yet."""

    ledger: Ledger
    deps: Deps
    queries: list[str]

    async def statements(self, use_case: Callable[[Deps], Awaitable[object]]) -> list[str]:
        """Every statement of one use case, with nothing cached."""
        self.queries.clear()
        await use_case(replace(self.deps, terms=TermsCache()))
        return list(self.queries)

    async def reads_terms(self, use_case: Callable[[Deps], Awaitable[object]]) -> bool:
        """Whether the use case reads what the property is sold by."""
        statements = await self.statements(use_case)
        assert any("write_requests" in statement for statement in statements)
        return any(TERMS in statement for statement in statements)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Watched]:
    pool = await create_pool(provisioned.databases.booking.app, size=1, application_name="test-watched")
    queries: list[str] = []

    def note(query: LoggedQuery) -> None:
        queries.append(query.query)

    async with pool.acquire() as connection:
        connection.add_query_logger(note)
    yield Watched(ledger, replace(ledger.api, pool=pool), queries)
    await pool.close()


async def booked(ledger: Ledger, agency: UUID, house: UUID, first: int, last: int, status: str = "confirmed") -> UUID:
    return UUID(json.loads((await ledger.book(agency, house, first, last, status=status)).body)["id"])


async def test_only_the_confirmation_of_an_inquiry_reads_what_the_property_is_sold_by(
    watched: Watched, ledger: Ledger
) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    asked, pending, first = [
        await booked(ledger, agency, house, 3 * number, 3 * number + 3, status)
        for number, status in enumerate(("inquiry", "pending", "confirmed"))
    ]
    refused = await booked(ledger, agency, house, 20, 22, "pending")
    absent = await booked(ledger, agency, house, 30, 32)
    given_up = await booked(ledger, agency, house, 40, 42)
    read = {
        "confirm an inquiry": await watched.reads_terms(lambda deps: transitions.confirm(deps, agency, asked)),
        "confirm a pending": await watched.reads_terms(lambda deps: transitions.confirm(deps, agency, pending)),
        "check in": await watched.reads_terms(lambda deps: transitions.check_in(deps, agency, first)),
        "check out": await watched.reads_terms(lambda deps: transitions.check_out(deps, agency, first)),
        "rate": await watched.reads_terms(lambda deps: transitions.rate(deps, agency, first, 4)),
        "decline": await watched.reads_terms(lambda deps: transitions.decline(deps, agency, refused, None)),
        "no show": await watched.reads_terms(lambda deps: transitions.mark_no_show(deps, agency, absent, None)),
        "cancel": await watched.reads_terms(lambda deps: transitions.cancel(deps, agency, given_up, None)),
    }
    assert [action for action, reads in read.items() if reads] == ["confirm an inquiry"]


async def test_a_change_reads_what_the_property_is_sold_by_only_when_it_is_judged(
    watched: Watched, ledger: Ledger
) -> None:
    agency = uuid4()
    house, other = [await ledger.new_property(agency) for _ in range(2)]
    own = await booked(ledger, agency, house, 0, 3)
    await channel.apply_revision(ledger.system, revision_of(agency, house, "OTA", 1, 10, 13))
    found = await ledger.system.pool.fetchval(
        "SELECT id FROM reservations WHERE property_id = $1 AND source = 'ota'", house
    )
    patches = {
        "notes": (own, Patch(notes="late", sets_notes=True)),
        "infants": (own, Patch(infants=1)),
        "guests": (own, Patch(adults=3)),
        "dates": (own, Patch(check_out=night(4))),
        "property": (own, Patch(property_id=other)),
        "dates of an OTA": (found, Patch(check_out=night(14))),
    }
    read = []
    for name, (stay, patch) in patches.items():
        change = partial(modifying.modify, agency_id=agency, reservation_id=stay, patch=patch)
        if await watched.reads_terms(change):
            read.append(name)
    assert read == ["guests", "dates", "property"]


@pytest.mark.parametrize(
    "patch",
    [Patch(notes="late", sets_notes=True), Patch(infants=1), Patch(check_out=night(5))],
    ids=["notes", "infants", "dates of an unpriced stay"],
)
async def test_a_change_that_counts_for_nobody_leaves_the_guests_row_alone(ledger: Ledger, patch: Patch) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    own = await booked(ledger, agency, house, 0, 3)
    row = "SELECT xmin::text, ctid::text, updated_at FROM guests WHERE agency_id = $1"
    before = await ledger.system.pool.fetchrow(row, agency)
    await modifying.modify(ledger.api, agency, own, patch)
    assert await ledger.system.pool.fetchrow(row, agency) == before
    await transitions.cancel(ledger.api, agency, own, None)
    assert await ledger.system.pool.fetchrow(row, agency) != before


async def test_a_revision_whose_stay_always_moves_says_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told that a guest had appeared. The next delivery finds the stay where it is."""
    agency = uuid4()
    house, other = [await ledger.new_property(agency) for _ in range(2)]
    await channel.apply_revision(ledger.system, revision_of(agency, house, "RUNS", 1, 0, 3))
    stay = await ledger.system.pool.fetchval("SELECT id FROM reservations WHERE property_id = $1", house)
    later = revision_of(agency, house, "RUNS", 2, 0, 4)
    look = channel._properties_of

    async def look_and_move(deps: Deps, revision: Revision) -> list[UUID]:
        seen = await look(deps, revision)
        await modifying.modify(ledger.api, agency, stay, Patch(property_id=other))
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(channel, "ATTEMPTS", 1)
        patched.setattr(channel, "_properties_of", look_and_move)
        with pytest.raises(RangeMoved):
            await channel.apply_revision(ledger.system, later)
    await channel.apply_revision(ledger.system, later)
    found = await reservations.get(ledger.api, agency, stay)
    assert (found.property_id, found.check_out) == (other, night(4))


async def test_first_stays_of_one_new_guest_at_once_are_all_kept(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(6)]
    revisions = [
        replace(revision_of(agency, house, f"G{number}", 1, 0, 3), guest_email="same@example.com")
        for number, house in enumerate(houses)
    ]
    await asyncio.gather(*(channel.apply_revision(ledger.system, revision) for revision in revisions))
    assert await ledger.system.pool.fetchval("SELECT count(*) FROM guests WHERE agency_id = $1", agency) == 1
    stays = "SELECT count(*) FROM reservations WHERE agency_id = $1 AND guest_id IS NOT NULL"
    assert await ledger.system.pool.fetchval(stays, agency) == len(houses)
