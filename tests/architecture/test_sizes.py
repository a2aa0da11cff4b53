"""Size rules: nothing grows past what a reader can hold; and the counters count what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, SOURCES, code_lines, committed_files, functions_of, modules, short

MODULE_LINES = 400
FUNCTION_LINES = 70
RUNTIME_MODULE_LINES = 250
RUNTIME_CODE_LINES = 1300

PYTHON = [path for path in committed_files() if path.suffix == ".py"]


def test_no_module_is_over_400_lines() -> None:
    assert len(PYTHON) > 50
    assert set(modules()) <= set(PYTHON)
    over = {short(path): lines for path in PYTHON if (lines := len(path.read_text().splitlines())) > MODULE_LINES}
    assert over == {}


def test_no_function_is_over_70_lines() -> None:
    over = {
        f"{short(path)}:{name}": lines
        for path in PYTHON
        for name, lines in functions_of(path.read_text())
        if lines > FUNCTION_LINES
    }
    assert over == {}


def test_no_module_of_the_runtime_is_over_250_lines() -> None:
    counted = {short(path): len(path.read_text().splitlines()) for path in modules("runtime")}
    assert counted
    assert {path: lines for path, lines in counted.items() if lines > RUNTIME_MODULE_LINES} == {}


def test_the_runtime_has_at_most_about_1200_lines_of_code() -> None:
    counted = {short(path): code_lines(path.read_text()) for path in modules("runtime")}
    assert sum(counted.values()) <= RUNTIME_CODE_LINES, counted


def test_every_module_of_the_tree_begins_with_a_docstring_of_one_line_first() -> None:
    checked = [*modules(), *(ROOT / "deploy").rglob("*.py")]
    silent = []
    for path in checked:
        text = path.read_text()
        first = text.lstrip().splitlines()[0] if text.strip() else '"""empty."""'
        if not first.startswith('"""') or not first.rstrip('"').endswith((".", ":", "?")):
            silent.append(short(path))
    assert silent == []


SAMPLE = '''"""A docstring.

Of three lines."""

import os  # not counted: only the comment


# A comment alone.
LIMIT = 3
"""Documents LIMIT."""


class Thing:
    """Documents Thing."""

    def work(self) -> str:
        """Documents work,

        in three lines."""
        return """
        text that is code

        """

    @property
    @staticmethod
    def none() -> None: ...
'''


def test_code_lines_leave_out_blank_lines_comments_and_docstrings_only() -> None:
    counted = [
        "import os",
        "LIMIT = 3",
        "class Thing",
        "def work",
        'return """',
        "text that is code",
        '"""',
        "@property",
        "@staticmethod",
        "def none",
    ]
    assert code_lines(SAMPLE) == len(counted)


def test_functions_are_measured_without_their_decorators_and_with_their_docstrings() -> None:
    assert functions_of(SAMPLE) == [("work", 8), ("none", 1)]


@pytest.mark.parametrize(("lines", "is_over"), [(70, False), (71, True)])
def test_a_function_that_is_too_long_is_seen(lines: int, is_over: bool) -> None:
    source = "def long():\n" + "    pass\n" * (lines - 1)
    assert (functions_of(source)[0][1] > FUNCTION_LINES) is is_over


def test_the_packages_are_where_the_layout_says() -> None:
    assert all(path.is_dir() and (path / "__init__.py").is_file() for path in SOURCES.values())
    assert [Path(part).name for part in ("services/channel-sync/src/channel_sync",)] == [SOURCES["channel_sync"].name]
