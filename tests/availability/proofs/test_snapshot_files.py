"""Proves on real processes that a start from a snapshot file, and one that refuses it, end with the ledger's state.

What may be wrong with the bytes is tried without processes in `tests/availability/test_saving.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from availability.snapshots.file import SnapshotReader
from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency
from deploy.local.supervisor import ProcessSpec
from tests.availability.booking_topics import expire
from tests.availability.proofs.agreement import require_answers, require_equal
from tests.availability.proofs.faults import CHANGES, PROPERTIES, make_anew
from tests.availability.proofs.stage import SCALE, Stage
from tests.availability.proofs.traffic import Traffic

READ, REFUSED = "the snapshot file is read", "the snapshot file is refused"
pytestmark = [pytest.mark.stack, pytest.mark.timeout(120 + 60 * SCALE)]


def truncated(whole: bytes, dice: random.Random) -> bytes:
    return whole[: dice.randrange(len(whole))]


def flipped(whole: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :]


async def test_a_start_with_a_good_a_damaged_and_an_outdated_file_ends_with_what_the_ledger_holds(
    stage: Stage, agency: Agency, report_counts: Callable[[str], None]
) -> None:
    dice, traffic = random.Random(6), Traffic(agency, seed=6)
    await traffic.add_places(PROPERTIES)
    await traffic.write(CHANGES)
    file = stage.supervisor.run_dir / "filed" / "cache.snapshot"
    spec = stage.spec("filed", SNAPSHOT_PATH=str(file))
    assert await _started(stage, agency, spec, traffic) == "nothing"
    whole = file.read_bytes()
    # What it does not have lies on the topics.
    await traffic.write(CHANGES)
    assert await _started(stage, agency, spec, traffic) == READ
    damages: list[Callable[[bytes, random.Random], bytes]] = [truncated, flipped]
    for damage in damages * SCALE:
        _replace(file, damage(whole, dice))
        assert await _started(stage, agency, spec, traffic) == REFUSED, damage.__name__
    await expire(stage.suite.kafka_bootstrap, BOOKING_RESERVATIONS, _reached(file))
    assert await _started(stage, agency, spec, traffic) == REFUSED
    _replace(file, whole)
    await make_anew(stage, BOOKING_RESERVATIONS.name)
    await traffic.write(CHANGES)
    assert await _started(stage, agency, spec, traffic) == REFUSED
    report_counts(f"1 file taken up, {len(damages) * SCALE + 2} refused; each replica equals the ledger")


async def _started(stage: Stage, agency: Agency, spec: ProcessSpec, traffic: Traffic) -> str:
    """Run it until it holds what the ledger holds; what it said of its file. At its end it writes one."""
    before = len(stage.log_of(spec.name)) if stage.supervisor.log_path(spec.name).exists() else 0
    async with stage.running(spec) as replica:
        await require_equal(stage, [replica])
        await require_answers(stage, agency, traffic.places, [replica])
    said = [line for line in (READ, REFUSED) if line in stage.log_of(spec.name)[before:]]
    assert len(said) < 2
    return said[0] if said else "nothing"


def _reached(file: Path) -> dict[int, int]:
    """The offset of each partition of the change log that is read next after a start from this file."""
    with file.open("rb") as opened:
        places = SnapshotReader(opened).head().places
    return {place.partition: place.offset for place in places if place.topic == BOOKING_RESERVATIONS.name}


def _replace(file: Path, content: bytes) -> None:
    assert file.read_bytes() != content
    file.write_bytes(content)
