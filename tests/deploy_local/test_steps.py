"""Proves the record of a run's steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.local.steps import StepFailed, Steps


def test_each_step_is_printed_and_written_with_time_trace_and_detail(tmp_path: Path) -> None:
    said: list[str] = []
    steps = Steps(tmp_path / "journey.json", said.append)
    with steps.step("guest books") as step:
        step.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        step.detail = "201"
    written = json.loads((tmp_path / "journey.json").read_text())
    assert [set(entry) for entry in written] == [{"step", "ok", "ms", "trace_id", "detail"}]
    assert written[0]["ok"] is True
    assert written[0]["ms"] >= 0
    assert len(said) == 1
    assert all(part in said[0] for part in ("ok", "guest books", "ms", "4bf92f35", "201"))


def test_a_failed_step_is_written_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    steps = Steps(tmp_path / "journey.json", said.append)
    with steps.step("stack up"):
        pass
    with pytest.raises(StepFailed, match="step 'guest books' failed: 503 instead of 201"), steps.step("guest books"):
        raise ValueError("503 instead of 201")
    written = json.loads((tmp_path / "journey.json").read_text())
    assert [(entry["step"], entry["ok"]) for entry in written] == [("stack up", True), ("guest books", False)]
    assert said[1].startswith("FAIL")


def test_a_new_run_starts_an_empty_record(tmp_path: Path) -> None:
    with Steps(tmp_path / "journey.json", lambda _: None).step("stack up"):
        pass
    Steps(tmp_path / "journey.json")
    assert json.loads((tmp_path / "journey.json").read_text()) == []
