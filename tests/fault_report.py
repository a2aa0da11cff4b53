"""Owns what the tests say of the faults they make: how often tried, how often hit; a pytest plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

FAULT = "fault"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of each fault how often it was tried and how often the test saw the state it claims to hit."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = {text for report in reports for name, text in getattr(report, "user_properties", []) if name == FAULT}
    if lines:
        terminalreporter.section("faults: tried and hit")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture
def report_hits(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[int, int], None]:
    """Notes `(tried, hit)` of the test's fault for the summary; a fault that was never hit proves nothing and fails."""

    def report(tried: int, hit: int) -> None:
        record_property(FAULT, f"{request.node.name}: tried {tried}, hit {hit}")
        assert hit > 0, f"the fault was tried {tried} times and never hit"

    return report
