"""Proves that docs/proof.md says what the runs noted: counts summed over repetitions, nothing of a failed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.infra import proof_page
from tests.e2e.infra.proof_page import Results, main, page, read
from tests.fault_report import COUNTED, FAULT

KILL = "test_a_kill_loses_nothing"


def noted(name: str, value: str) -> str:
    return f'<properties><property name="{name}" value="{value}"/></properties>'


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cases = [
        f'<testcase name="{KILL}[0]">{noted(FAULT, f"{KILL}[0]: tried 3, hit 2")}</testcase>',
        f'<testcase name="{KILL}[1]">{noted(FAULT, f"{KILL}[1]: tried 3, hit 3")}</testcase>',
        f'<testcase name="test_h">{noted(COUNTED, "test_h: 1,000 operations in 60 s: none lost")}</testcase>',
        '<testcase name="test_plain"/>',
        '<testcase name="test_skipped"><skipped/></testcase>',
    ]
    file = tmp_path / "results.xml"
    file.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return file


def test_the_results_of_several_runs_are_summed(results: Path) -> None:
    found = read([results, results])
    assert found.faults == {KILL: (4, 12, 10)}
    assert found.parts == {"results": 8}
    assert set(found.counted) == {("test_h", "1,000 operations in 60 s: none lost")}


def test_the_page_names_date_commit_and_counts() -> None:
    text = page(Results({"proofs": 4}, [], {KILL: (2, 6, 5)}, [("test_h", "1,000 operations")]), "today, commit abc")
    assert "Last run: today, commit abc. Tests passed, none failed: 4 proofs." in text
    assert "| a kill loses nothing | 2 | 6 | 5 |" in text
    assert "- h: 1,000 operations" in text


def test_the_page_is_written_only_when_every_test_passed(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "proof.md"
    monkeypatch.setattr(proof_page, "PAGE", written)
    failed = tmp_path / "failed.xml"
    failed.write_text('<testsuites><testcase name="test_broken"><failure/></testcase></testsuites>')
    with pytest.raises(SystemExit, match="test_broken"):
        main([str(results), str(failed)])
    assert not written.exists()
    main([str(results)])
    assert "a kill loses nothing" in written.read_text()
