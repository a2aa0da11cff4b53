"""Plants violations of the import rules one after the other and prints what import-linter says of each, as JSON.

A program of its own, run by `test_import_rules`: import-linter must find the copied packages, so none of the real ones
may be imported in this process. Reads from standard input `{"plants": {name: {"file": ..., "line": ...}}}` with files
relative to the working directory, which holds the copies and a `pyproject.toml`.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path

from importlinter import cli

VERDICT = re.compile(r"^(.+) (KEPT|BROKEN)(?: \(.+\))?$", re.MULTILINE)


def lint() -> dict[str, object]:
    """Exit code, verdict of each contract, and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = cli.lint_imports(config_filename="pyproject.toml", cache_dir=None, no_cache=True, no_logo=True)
    verdicts = dict(VERDICT.findall(printed.getvalue()))
    return {"code": code, "verdicts": verdicts, "printed": printed.getvalue()}


def with_planted(file: Path, line: str) -> dict[str, object]:
    """The verdicts with one line added to a file, which is restored afterwards."""
    before = file.read_text() if file.exists() else None
    file.write_text(f"{before or ''}\n{line}\n")
    try:
        return lint()
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)


if __name__ == "__main__":
    plants = json.load(sys.stdin)
    results = {"": lint()}
    for name, plant in plants.items():
        results[name] = with_planted(Path(plant["file"]), plant["line"])
    json.dump(results, sys.stdout)
