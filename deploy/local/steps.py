"""Owns the record of a run's steps, on the terminal and in `journey.json`; called by the run and the guided journey."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.process_state import write_json


class StepFailed(Exception):
    """A step of the run failed; the text names it and says why."""


@dataclass
class Step:
    """One step. The body of the `with` may set `trace_id`, `detail`, and `ms` when it measured better."""

    step: str
    ok: bool = False
    ms: float | None = None
    trace_id: str | None = None
    detail: str = ""


class Steps:
    """The steps of one run, in order. The file is rewritten after each: `[{step, ok, ms, trace_id, detail}]`.

    `folder` is the run folder.
    """

    def __init__(self, file: Path, echo: Callable[[str], None] = print) -> None:
        self._file = file
        self.folder = file.parent
        self._echo = echo
        self.taken: list[Step] = []
        write_json(file, [])

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time the body and record it. An exception is recorded and goes on as `StepFailed`; interruptions pass."""
        step = Step(name)
        began = time.monotonic()
        try:
            yield step
            step.ok = True
        except Exception as error:
            step.detail = f"{error}" or type(error).__name__
            raise StepFailed(f"step '{name}' failed: {step.detail}") from error
        finally:
            if step.ms is None:
                step.ms = round((time.monotonic() - began) * 1000, 1)
            self.taken.append(step)
            write_json(self._file, [asdict(taken) for taken in self.taken])
            self._echo(_line(step))


def _line(step: Step) -> str:
    """Columns of equal width first: outcome, time, trace id; then the step in words, and what it saw."""
    words = f"{step.step}  ({step.detail.splitlines()[0]})" if step.detail else step.step
    return f"{'ok  ' if step.ok else 'FAIL'} {step.ms:>9.1f} ms  {step.trace_id or '':<32}  {words}"
