"""Owns what the benchmarks share: one stack of their own, and the report at the end. They run only when asked for.

`make bench` names this folder; a run of all tests passes it by.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.places import remove_run_dir
from deploy.local.secrets_file import load_secrets
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import Supervisor
from tests.bench.report import Report
from tests.bench.stage import Stage
from tests.conftest import new_run_dir

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out of a run whose arguments do not name this folder or a file in it."""
    named = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    asked_for = any(path == HERE or HERE in path.parents for path in named)
    return None if asked_for or collection_path == HERE else True


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The stack the benchmarks run on, with its databases seeded; always the embedded one, whose settings are known."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    try:
        stack = EmbeddedStack(supervisor, load_secrets(supervisor.run_dir).postgres_password)
        stack.start()
        yield Stage(supervisor, stack)
    finally:
        supervisor.close()
        remove_run_dir(supervisor.run_dir)


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Collects the tables; shows them at the end and, but for a smoke test, writes them to docs/benchmarks.md."""
    collected = Report()
    yield collected
    collected.publish()
