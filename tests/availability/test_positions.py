"""Proves where a cold start begins to read changes, and when it must say that some are lost."""

from __future__ import annotations

import pytest

from availability.domain.positions import LOOK_BACK, FirstDelta, first_delta


@pytest.mark.parametrize(
    ("mark", "log_start", "log_end", "expected"),
    [
        pytest.param(None, 0, 90, FirstDelta(0, True), id="no mark, whole log"),
        pytest.param(None, 7, 90, FirstDelta(7, False), id="no mark, log has expired"),
        pytest.param(80, 0, 90, FirstDelta(80 - LOOK_BACK, True), id="mark in the log"),
        pytest.param(10, 0, 90, FirstDelta(0, True), id="mark near the beginning"),
        pytest.param(60, 55, 90, FirstDelta(55, True), id="mark near the log's start"),
        pytest.param(55, 55, 55, FirstDelta(55, True), id="nothing after the mark"),
        pytest.param(54, 55, 90, FirstDelta(55, False), id="mark has expired"),
        pytest.param(91, 0, 90, FirstDelta(0, False), id="mark of another log"),
    ],
)
def test_the_first_change_to_read(mark: int | None, log_start: int, log_end: int, expected: FirstDelta) -> None:
    assert first_delta(mark, log_start, log_end) == expected
