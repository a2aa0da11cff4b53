"""Proves what a skipped test means, by running pytest on planted ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.skip_rules import allowed_skips

SKIPPED = "import pytest\n@pytest.mark.skip(reason='start Docker first')\ndef test_a(): ...\ndef test_b(): ...\n"
SKIPPED_WHOLE = "import pytest\npytest.skip('needs chromium', allow_module_level=True)\n"
REPOSITORY = Path(__file__).resolve().parents[2]


def run_pytest(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_planted.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.skip_rules", "-c", os.devnull, f"--rootdir={folder}", folder],
        # Without the installed plugins: they take most of the time of a start.
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skipped_test_fails_the_run_in_ci(tmp_path: Path) -> None:
    for source in (SKIPPED, SKIPPED_WHOLE + SKIPPED):
        run = run_pytest(tmp_path, source, "true")
        assert run.returncode != 0, run.stdout
        assert "was skipped, which is a failure with CI=true" in run.stdout


def test_a_run_outside_ci_passes_and_names_what_was_not_run_and_how_to_run_it(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, SKIPPED, "")
    assert run.returncode == 0, run.stdout
    assert "test_planted.py::test_a: Skipped: start Docker first" in run.stdout


def test_only_tests_that_need_a_container_engine_may_be_skipped() -> None:
    assert allowed_skips(), "the list must be readable"
    for test_id in allowed_skips():
        file = REPOSITORY / test_id.partition("::")[0]
        assert "pytest.mark.containers" in file.read_text()
        assert f"def {test_id.rpartition('::')[2]}(" in file.read_text()
