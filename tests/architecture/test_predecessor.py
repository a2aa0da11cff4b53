"""The predecessor's page: every line names tests that exist, or says which later part of the suite brings it."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.architecture.tree import ROOT, modules, short

PAGE = ROOT / "docs" / "predecessor.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LATER = re.compile(r"not yet: (.+)")
PARTS = {"admin console", "channel-sync batches", "operations"}
AGE = re.compile(r"\d*\s*/+\s*365\b")


def rows() -> list[str]:
    """The lines of the page's tables, without their heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("|---", "| failure |", "| behaviour |"))]


@cache
def functions_in(path: str) -> frozenset[str]:
    """The test functions of a file; none when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    found = ast.walk(ast.parse(file.read_text()))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing(lines: list[str]) -> list[str]:
    """The tests that some lines name and that do not exist."""
    named = [found for line in lines for found in NAMED.findall(line)]
    return [f"{path}::{name}" for path, name in named if not name.startswith("test_") or name not in functions_in(path)]


def unproven(lines: list[str]) -> list[str]:
    """The lines that name neither a test nor a later part."""
    return [line for line in lines if not NAMED.search(line.rpartition(" | ")[2]) and not LATER.search(line)]


def test_every_named_test_exists() -> None:
    assert len(rows()) > 40
    assert missing(rows()) == []


def test_every_line_names_a_test_or_the_part_that_brings_it() -> None:
    assert unproven(rows()) == []
    later = {found.group(1).strip(" |") for line in rows() if (found := LATER.search(line))}
    assert later <= PARTS


def test_a_test_that_is_gone_and_a_line_without_one_are_seen() -> None:
    gone = "| Nights are sold once | `tests/booking/test_ledger.py::test_that_never_was` |"
    nowhere = "| Nights are sold once | `tests/booking/test_nothing.py::test_that_never_was` |"
    bare = "| Nights are sold once | everybody knows |"
    assert len(missing([gone, nowhere])) == 2
    assert unproven([gone, bare]) == [bare]


def test_nobody_computes_with_years_of_365_days() -> None:
    assert AGE.search("age = (today - born).days // 365")
    wrong = [short(path) for path in modules() if AGE.search(path.read_text())]
    assert wrong == []
