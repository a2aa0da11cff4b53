"""Owns what a skipped test means: with CI=true a failure, else named at the end with how to run it; a pytest plugin.

`allowed_skips.txt` beside this file lists the only tests that may be skipped in CI, one test id a line.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> set[str]:
    """The test ids that may be skipped in CI."""
    lines = (line.strip() for line in ALLOWED.read_text().splitlines())
    return {line for line in lines if line and not line.startswith("#")}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test that was skipped."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a module that skipped itself."""
    report = yield
    _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI") != "true":
        return
    if report.nodeid not in allowed_skips():
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which is a failure with CI=true: {_reason(report)}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # pytest's form of a skip: (file, line, "Skipped: why")
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not run. Each skip's reason says how to run it."""
    skipped = terminalreporter.getreports("skipped")
    if skipped:
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.write_line(f"{report.nodeid}: {_reason(report)}")
