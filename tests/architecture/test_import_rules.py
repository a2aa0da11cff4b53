"""The import rules hold, and each has been seen to fail: a guard nobody has seen fail is decoration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.tree import ROOT, SOURCES

PYPROJECT = ROOT / "pyproject.toml"
CONTRACTS = [
    str(contract["name"]) for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
]


@dataclass(frozen=True)
class Plant:
    """One violation: a line added to a file of the copy; `also` names contracts that cannot but break with it."""

    contract: str
    file: str
    line: str
    also: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        return f"{self.file}: {self.line}"


APART = "services never import each other"
ORDER = "services > runtime > contracts, and rules stands alone"
SHAPE = "one shape inside a service"
STORE = "searches know the store, never the other way"
GATEWAY = "the gateway's shape"
INCOMING = "what comes in calls use cases"
PURE = "domain and rules do no I/O"
DATA = "contracts is data"
SQL = "only repositories import asyncpg"
FRAMEWORKS = "use cases know neither HTTP nor Kafka frameworks"
KAFKA = "the gateway has no Kafka"

PLANTS = [
    Plant(APART, "booking/main.py", "import availability.domain"),
    Plant(APART, "channel_sync/clients/booking.py", "import booking.domain"),
    Plant(APART, "gateway/clients.py", "import channel_sync.domain"),
    Plant(ORDER, "runtime/settings.py", "import availability.domain", also=frozenset({APART})),
    Plant(ORDER, "runtime/settings.py", "import rules.calendar"),
    Plant(ORDER, "contracts/values.py", "import rules.calendar"),
    Plant(SHAPE, "booking/service/__init__.py", "import booking.settings"),
    Plant(SHAPE, "booking/consumers.py", "import booking.api"),
    Plant(SHAPE, "booking/events.py", "import booking.repository"),
    Plant(SHAPE, "availability/snapshots/states.py", "import availability.service"),
    Plant(SHAPE, "availability/domain/__init__.py", "import availability.settings", also=frozenset({PURE})),
    Plant(SHAPE, "channel_sync/adapters/generic_json.py", "import channel_sync.clients"),
    Plant(SHAPE, "channel_sync/api.py", "import channel_sync.main"),
    Plant(SHAPE, "booking/helpers.py", '"""A module whose name means nothing."""'),
    Plant(STORE, "availability/domain/store/night_matrix.py", "import availability.domain.search.search"),
    Plant(STORE, "availability/domain/selling/packed_terms.py", "import availability.domain.store.night_matrix"),
    Plant(STORE, "availability/domain/arrays/columns.py", "import availability.domain.selling.packed_terms"),
    Plant(GATEWAY, "gateway/clients.py", "import gateway.settings"),
    Plant(GATEWAY, "gateway/auth.py", "import gateway.clients"),
    Plant(GATEWAY, "gateway/commands.py", "import gateway.api"),
    Plant(GATEWAY, "gateway/helpers.py", '"""A module whose name means nothing."""'),
    Plant(INCOMING, "booking/consumers.py", "import booking.repository"),
    Plant(INCOMING, "booking/commands/ledger.py", "import booking.repository.audits"),
    Plant(INCOMING, "availability/api.py", "import availability.snapshots"),
    Plant(INCOMING, "channel_sync/workers.py", "import channel_sync.adapters"),
    Plant(PURE, "booking/domain/__init__.py", "import contracts.values"),
    Plant(PURE, "availability/domain/__init__.py", "import asyncio"),
    Plant(PURE, "channel_sync/domain/__init__.py", "import runtime.pages"),
    Plant(PURE, "rules/calendar.py", "import time"),
    Plant(PURE, "rules/stay_rules.py", "import pydantic"),
    Plant(DATA, "contracts/values.py", "import os"),
    Plant(DATA, "contracts/topics.py", "import aiokafka"),
    Plant(SQL, "booking/service/__init__.py", "import asyncpg"),
    Plant(SQL, "availability/snapshots/states.py", "import asyncpg"),
    Plant(SQL, "channel_sync/events.py", "import asyncpg"),
    Plant(SQL, "gateway/clients.py", "import asyncpg"),
    Plant(FRAMEWORKS, "booking/service/__init__.py", "import fastapi"),
    Plant(FRAMEWORKS, "channel_sync/repository/__init__.py", "import aiohttp"),
    Plant(FRAMEWORKS, "availability/service/__init__.py", "import aiokafka"),
    Plant(KAFKA, "gateway/main.py", "import faststream"),
    Plant(KAFKA, "gateway/api/forward.py", "import aiokafka"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What import-linter says of a copy of the packages: clean (""), and with each violation planted alone."""
    copy = tmp_path_factory.mktemp("planted")
    for package, source in SOURCES.items():
        shutil.copytree(source, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.sql"))
    shutil.copy(PYPROJECT, copy / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("lint_plants.py"))],
        cwd=copy,
        input=json.dumps({plant.name: {"file": plant.file, "line": plant.line} for plant in PLANTS}),
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def broken(result: dict[str, Any]) -> set[str]:
    return {name for name, verdict in result["verdicts"].items() if verdict == "BROKEN"}


def test_the_tree_keeps_every_rule(verdicts: dict[str, dict[str, Any]]) -> None:
    clean = verdicts[""]
    assert clean["code"] == 0, clean["printed"]
    assert set(clean["verdicts"]) == set(CONTRACTS)
    assert broken(clean) == set()


def test_every_rule_has_a_violation_planted() -> None:
    assert {plant.contract for plant in PLANTS} == set(CONTRACTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_violation_breaks_its_rule_and_no_other(plant: Plant, verdicts: dict[str, dict[str, Any]]) -> None:
    result = verdicts[plant.name]
    assert result["code"] == 1
    before = broken(verdicts[""])
    assert plant.contract not in before, "the rule is broken without the plant"
    assert broken(result) - before == {plant.contract, *plant.also}, result["printed"]
    assert plant.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") in result["printed"]
