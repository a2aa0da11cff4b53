"""Owns what the proofs say of themselves: faults tried and hit, what was counted; a pytest plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

FAULT = "fault"
COUNTED = "counted"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of each fault how often it was tried and how often the test saw the state it claims to hit, and of each proof
    what it counted."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    said = {(name, text) for report in reports for name, text in getattr(report, "user_properties", [])}
    for wanted, title in ((FAULT, "faults: tried and hit"), (COUNTED, "proofs: what was counted")):
        if lines := sorted(text for name, text in said if name == wanted):
            terminalreporter.section(title)
            for line in lines:
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


@pytest.fixture
def report_counts(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str], None]:
    """Notes what a proof counted (operations, kills, steps) for the summary and for docs/proof.md."""

    def report(counted: str) -> None:
        record_property(COUNTED, f"{request.node.name}: {counted}")

    return report
