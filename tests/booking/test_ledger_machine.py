"""Proves the ledger by random programs on a real PostgreSQL, compared step by step with a model of disjoint intervals.

A failure prints the shortest program found. Round 0 is the same in every run, the rounds of `make prove` differ.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from booking.domain import inventory
from booking.service import writing
from tests.booking.ledger_machine import LedgerMachine
from tests.booking.ledger_machine_scene import Scene, open_scene
from tests.conftest import REPEAT, Provisioned

pytestmark = pytest.mark.stack

LEAST_STEPS = 2000
MOST_BATCHES = 10
PROGRAM = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NOT_FOUND = "NotFound"
TAKEN = "DatesUnavailable"
REACHED = {
    "book": {"done", TAKEN, "StayRulesViolated", NOT_FOUND},
    "book_a_group": {"done", TAKEN, "StayRulesViolated", NOT_FOUND, "HoldNotActive"},
    "book_a_hold": {"done", "HoldNotActive", NOT_FOUND},
    "modify": {"done", TAKEN, "IllegalTransition", "StayRulesViolated", NOT_FOUND},
    "move": {"done", TAKEN, "IllegalTransition"},
    "confirm": {"done", "IllegalTransition"},
    "decline": {"done", "IllegalTransition"},
    "cancel": {"done", "IllegalTransition"},
    "check_in": {"done", "IllegalTransition"},
    "check_out": {"done", "IllegalTransition"},
    "mark_no_show": {"done", "IllegalTransition"},
    "place_hold": {"done", TAKEN, NOT_FOUND},
    "extend_hold": {"done", "HoldNotActive", NOT_FOUND},
    "release_hold": {"done", NOT_FOUND},
    "block": {"done", TAKEN, NOT_FOUND},
    "unblock": {"done", NOT_FOUND},
    "revision told": {"done", NOT_FOUND},
    "revision cancelled": {"done"},
    "revision duplicate": {"done"},
    "revision superseded": {"done"},
    "overbooked": {"waits", "nights_came_free", "cancelled", "moved", "modified_by_channel"},
    "resolve by cancelling": {"done", "ConflictClosed"},
    "resolve by moving": {"done", "ConflictClosed"},
    "prepare": {"done"},
    "expire": {"done"},
    "wait": {"done"},
    "send again": {"done"},
    "send something else": {"IdempotencyMismatch"},
}


@pytest.fixture(scope="module")
def scene(provisioned: Provisioned) -> Iterator[Scene]:
    with open_scene(provisioned) as opened:
        yield opened


def run(scene: Scene, how: settings, number: int) -> None:
    """Run a batch of random programs; each number has its own."""

    def machine() -> LedgerMachine:
        return LedgerMachine(scene)

    run_state_machine_as_test(seed(number)(machine), settings=how)  # type: ignore[arg-type]


def missing(scene: Scene) -> set[tuple[str, str]]:
    """The outcomes that should have occurred and did not yet."""
    return {(name, outcome) for name, wanted in REACHED.items() for outcome in wanted - scene.reached(name)}


@pytest.mark.timeout(900)  # a failure takes its time to find the shortest program
@pytest.mark.parametrize("round_number", range(REPEAT))
def test_no_program_makes_the_ledger_differ_from_disjoint_intervals(
    scene: Scene, round_number: int, record_property: Callable[[str, object], None]
) -> None:
    scene.steps = 0
    scene.outcomes.clear()
    first = secrets.randbits(32) if round_number else 0
    print(f"batches of programs from seed {first}")
    for number in range(first, first + MOST_BATCHES):
        run(scene, PROGRAM, number)
        if scene.steps >= LEAST_STEPS and not missing(scene):
            break
    record_property("steps", scene.steps)
    assert scene.steps >= LEAST_STEPS
    assert not missing(scene), sorted(scene.outcomes.items())


Plant = Callable[[Scene, pytest.MonkeyPatch], AbstractContextManager[None]]


@contextmanager
def nights_sold_twice(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody sees what is taken, and the database does not care."""
    monkeypatch.setattr(inventory, "overlapping", lambda ranges, start, end: [])
    definition = scene.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'inventory_ranges_no_overlap'"
    )
    scene.execute("ALTER TABLE inventory_ranges DROP CONSTRAINT inventory_ranges_no_overlap")
    try:
        yield
    finally:
        scene.begin()
        scene.execute(f"ALTER TABLE inventory_ranges ADD CONSTRAINT inventory_ranges_no_overlap {definition}")


@contextmanager
def nothing_runs_out(_: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Overdue holds and pendings keep their nights."""
    monkeypatch.setattr(writing, "expire_overdue", lambda state, new_id: [])
    yield


def altered(table: str, statement: str) -> Plant:
    """The database alters what is written to a table."""

    @contextmanager
    def plant(scene: Scene, _: pytest.MonkeyPatch) -> Iterator[None]:
        scene.execute(
            f"CREATE FUNCTION plant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN NEW; END $$",
            f"CREATE TRIGGER plant BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION plant()",
        )
        try:
            yield
        finally:
            scene.execute("DROP FUNCTION plant() CASCADE")

    return plant


LOSES_AN_EVENT = altered("outbox", "IF NEW.type = 'BlockDeleted' THEN RETURN NULL; END IF;")
ALTERS_A_REPLAY = altered("idempotency_keys", "NEW.body := NEW.body || ' ';")
KEEPS_HOLDS = altered("inventory_ranges", "IF NEW.kind = 'hold' THEN NEW.expires_at := NULL; END IF;")


@pytest.mark.parametrize(
    ("plant", "complaint"),
    [
        pytest.param(nights_sold_twice, "I1: ranges", id="nights sold twice"),
        pytest.param(nothing_runs_out, "I5: |changed without a version", id="nothing runs out"),
        pytest.param(LOSES_AN_EVENT, "I10: ", id="an event is lost"),
        pytest.param(ALTERS_A_REPLAY, "I7: ", id="a replay differs by a byte"),
        pytest.param(KEEPS_HOLDS, "I4: ranges", id="a hold never ends"),
    ],
)
def test_the_machine_finds_a_planted_fault_within_500_steps(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, plant: Plant, complaint: str
) -> None:
    without_shrinking = settings(PROGRAM, max_examples=10, phases=[Phase.generate])
    with plant(scene, monkeypatch), pytest.raises(AssertionError, match=complaint):
        run(scene, without_shrinking, 0)
