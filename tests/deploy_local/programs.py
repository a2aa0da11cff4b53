"""Owns small programs that the supervision tests run as processes; called by the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.supervisor import ProcessSpec

SLEEP = "import time; time.sleep(60)"


def program(name: str, source: str, *arguments: object, **options: object) -> ProcessSpec:
    """A process that runs this Python source."""
    return ProcessSpec(name, (sys.executable, "-u", "-c", source, *map(str, arguments)), **options)  # type: ignore[arg-type]


def wait_for_file(path: Path) -> bool:
    """Whether the program has written its file: a readiness check."""
    return path.exists()
