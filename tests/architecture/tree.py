"""The tree as the architecture tests see it: its packages, its modules, its committed files."""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {
    "contracts": ROOT / "contracts/src/contracts",
    "rules": ROOT / "rules/src/rules",
    "runtime": ROOT / "runtime/src/runtime",
    "booking": ROOT / "services/booking/src/booking",
    "availability": ROOT / "services/availability/src/availability",
    "channel_sync": ROOT / "services/channel-sync/src/channel_sync",
    "gateway": ROOT / "services/gateway/src/gateway",
}
_INVISIBLE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def modules(*packages: str) -> list[Path]:
    """The Python files of some packages, or of all."""
    return sorted(path for package in packages or SOURCES for path in SOURCES[package].rglob("*.py"))


@cache
def committed_files() -> tuple[Path, ...]:
    """Every file that is committed or would be: the ignored ones are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def short(path: Path) -> str:
    """A path as it is written in messages."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def functions_of(source: str) -> list[tuple[str, int]]:
    """Name and length in lines of every function, without its decorators."""
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def code_lines(source: str) -> int:
    """Lines of code: without blank lines, comments and docstrings. A text of several lines counts each line of it."""
    lines = source.splitlines()
    counted: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _INVISIBLE:
            counted.update(range(token.start[0], token.end[0] + 1))
    return len({number for number in counted - _docstring_lines(source) if lines[number - 1].strip()})


def _docstring_lines(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        # A text after an assignment documents it, as one at the top documents its owner.
        texts = node.body if isinstance(node, ast.Module | ast.ClassDef) else [first]
        for statement in texts:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return found
