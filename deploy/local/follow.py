"""Owns showing the processes' logs, their last lines and what is added; called by the CLI."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.3
FIRST_LINES = 20


def follow(folder: Path, name: str | None, *, forever: bool) -> Iterator[str]:
    """Lines of every log in `folder` (or of one), prefixed with its name: the last ones, then new ones as they come."""
    positions: dict[Path, int] = {}
    while True:
        for log in sorted(folder.glob(f"{name or '*'}.log")):
            with log.open(errors="replace") as handle:
                first = log not in positions
                # A rotated or recreated log is shorter than what was read of it.
                handle.seek(0 if first or log.stat().st_size < positions[log] else positions[log])
                lines = handle.readlines()
                positions[log] = handle.tell()
            for line in lines[-FIRST_LINES:] if first else lines:
                yield f"{log.stem:<14} | {line.rstrip()}"
        if not forever:
            return
        time.sleep(POLL_S)
