"""Proves that the checks of the cache proofs can fail: each planted lie is found and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from deploy.local.journey_client import Agency
from deploy.local.ports import HOST, free_port
from tests.availability.proofs.agreement import Disagreement, differences, require_answers, require_equal
from tests.availability.proofs.stage import Stage
from tests.availability.proofs.traffic import FIRST_NIGHT, WINDOW, Place, Taken, Traffic
from tests.availability.proofs.watch import Seen, violations

NIGHT, NEXT_NIGHT = (FIRST_NIGHT + timedelta(days=number) for number in (3, 4))
PLACE = "a property"

_MOVE = """
UPDATE inventory_ranges SET stay = daterange(lower(stay) + $2::integer, upper(stay) + $2::integer),
    occupied = daterange(lower(occupied) + $2::integer, upper(occupied) + $2::integer)
WHERE property_id = $1::text::uuid AND state = 'active'"""


def place() -> Place:
    """Free at version 1, a night is taken at version 2 and free again at 3; then a restore let the version jump."""
    known = Place(PLACE)
    known.note(1)
    known.taken = [Taken("book", "a booking", (NIGHT, NEXT_NIGHT))]
    known.note(2)
    known.taken = []
    known.note(3)
    known.note(1_000)
    return known


def seen(version: int, *closed: date, min_version: int = 1, is_check: bool = False) -> Seen:
    """An answer about the whole window, or about the stay of one night at `NIGHT`."""
    asked = (NIGHT, NEXT_NIGHT) if is_check else WINDOW
    return Seen(0, "GET /availability", PLACE, min_version, version, "cache", asked, frozenset(closed), is_check)


TRUE = [seen(1), seen(2, NIGHT, min_version=2), seen(2, NIGHT, is_check=True), seen(3), seen(500), seen(1_000)]


def found(*answers: Seen) -> list[str]:
    return [line.partition(":")[0].partition(",")[0] for line in violations(answers, {PLACE: place()})]


def test_true_answers_are_no_violation() -> None:
    assert found(*TRUE) == []


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ([seen(1, min_version=2)], "older than it was asked for"),
        ([seen(2, NIGHT), seen(1)], "older than the same reader's answer before"),
        ([seen(2)], "not what the property was at that version"),
        ([seen(2, is_check=True)], "not what the property was at that version"),
        ([seen(3, NIGHT)], "not what the property was at that version"),
        ([seen(2, NEXT_NIGHT)], "not what the property was at that version"),
        ([seen(2, NIGHT, NEXT_NIGHT)], "not what the property was at that version"),
        ([seen(0, min_version=0)], "a version before the first"),
    ],
)
def test_a_lie_is_named(answers: list[Seen], named: str) -> None:
    assert found(*answers) == [named]


def test_readers_are_judged_one_by_one() -> None:
    assert found(seen(2, NIGHT), replace(seen(1), reader=1)) == []


def test_a_property_that_one_side_lacks_or_holds_otherwise_is_a_difference() -> None:
    ledger = {"a": (1, "x"), "b": (2, "y")}
    assert differences(ledger, {"cache": dict(ledger)}) == []
    assert len(differences(ledger, {"cache": {"a": (1, "x")}})) == 1
    assert len(differences({"a": (1, "x")}, {"cache": ledger})) == 1
    assert len(differences(ledger, {"cache": {**ledger, "b": (2, "z")}})) == 1
    assert len(differences(ledger, {"cache": {**ledger, "b": (3, "y")}, "other": {}})) == 3


@pytest.mark.stack
async def test_the_end_check_sees_a_range_that_moved_by_a_day_without_a_version(stage: Stage, agency: Agency) -> None:
    traffic = Traffic(agency, seed=1)
    await traffic.add_places(3)
    await traffic.write(12)
    moved = next(place for place in traffic.places if place.closed[-1])
    # Nobody repairs this one: its booking is away.
    async with stage.replica("unrepaired", BOOKING_URL=f"http://{HOST}:{free_port()}") as unrepaired:
        await require_equal(stage, [unrepaired])
        await stage.ledger.execute(_MOVE, moved.property_id, 1)
        try:
            with pytest.raises(Disagreement, match=moved.property_id):
                await require_equal(stage, [unrepaired], patience_s=0.5)
        finally:
            await stage.ledger.execute(_MOVE, moved.property_id, -1)
        await require_equal(stage, [unrepaired])


@pytest.mark.stack
async def test_the_end_check_sees_an_answer_that_is_not_what_the_writers_know(stage: Stage, agency: Agency) -> None:
    traffic = Traffic(agency, seed=2)
    (lied_about,) = await traffic.add_places(1)
    await traffic.write(3)
    await require_equal(stage, stage.replicas)
    await require_answers(stage, agency, traffic.places, stage.replicas)
    lied_about.closed[-1] ^= {NIGHT}
    with pytest.raises(Disagreement, match=lied_about.property_id):
        await require_answers(stage, agency, traffic.places, stage.replicas)
