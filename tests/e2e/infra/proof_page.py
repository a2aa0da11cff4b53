"""Owns docs/proof.md, what the last `make prove` showed; which runs `python -m tests.e2e.infra.proof_page RESULTS...`.

Reads the results pytest wrote (--junitxml): what `tests/fault_report.py` noted there is all that is known of a proof.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import psutil

from deploy.local.places import REPOSITORY
from tests.fault_report import COUNTED, FAULT

PAGE = REPOSITORY / "docs/proof.md"
_FAULT = re.compile(r"(?P<name>\w+)(\[.*\])?: tried (?P<tried>\d+), hit (?P<hit>\d+)")
_COUNTED = re.compile(r"(?P<name>\w+)(\[.*\])?: (?P<text>.*)", re.DOTALL)
_HEAD = """# Proofs

Written by `make prove`, which alone writes this page; the same tests run shorter in `make test`. The sizes are options
of `make prove`: `HISTORY_SECONDS` (60), `COMMIT_HITS` (300), `CACHE_SCALE` (10 times what `make test` does to caches),
`REPEAT` (20: how often each other end-to-end test runs).
"""
_WORDS = """
*Tried* is how often a fault was made, *hit* how often the test saw the state it claims to prove something about: a
request unanswered when its process was killed, a transaction that had written everything and was still open. For the
kills at the commit both are requests, of which one kill hits several; the counts below say how many.
"""


@dataclass
class Results:
    """What some runs noted: tests passed by part, per fault (runs, tried, hit), and what proofs counted."""

    parts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    faults: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    counted: list[tuple[str, str]] = field(default_factory=list)


def read(files: Iterable[Path]) -> Results:
    """The results in files of pytest's JUnit form; skipped tests are left out."""
    results = Results()
    for file in files:
        results.parts.setdefault(file.stem, 0)
        for case in ElementTree.parse(file).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                results.failed.append(str(case.get("name")))
            elif case.find("skipped") is None:
                results.parts[file.stem] += 1
            for noted in case.iter("property"):
                _take(results, str(noted.get("name")), str(noted.get("value")))
    return results


def _take(results: Results, name: str, value: str) -> None:
    if name == FAULT and (fault := _FAULT.fullmatch(value)):
        runs, tried, hit = results.faults.get(fault["name"], (0, 0, 0))
        results.faults[fault["name"]] = (runs + 1, tried + int(fault["tried"]), hit + int(fault["hit"]))
    if name == COUNTED and (counted := _COUNTED.fullmatch(value)):
        results.counted.append((counted["name"], counted["text"]))


def page(results: Results, circumstances: str) -> str:
    """The page; `circumstances` are date, commit and machine."""
    faults = [
        f"| {_sentence(name)} | {runs} | {tried:,} | {hit:,} |"
        for name, (runs, tried, hit) in sorted(results.faults.items())
    ]
    counted = [f"- {_sentence(name)}: {text}" for name, text in sorted(results.counted)]
    table = ["| fault | runs | tried | hit |", "| --- | --- | --- | --- |", *faults]
    passed = ", ".join(f"{count:,} {part}" for part, count in sorted(results.parts.items()))
    last = f"Last run: {circumstances}. Tests passed, none failed: {passed}."
    parts = [_HEAD, last, "", "## Faults", _WORDS, *table, "", "## Counts", "", *counted]
    return "\n".join(parts) + "\n"


def _sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _circumstances() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    memory = psutil.virtual_memory().total / 2**30
    changed = " with uncommitted changes" if git("status", "--porcelain", "--", ".", ":!docs") else ""
    commit = (git("rev-parse", "--short", "HEAD") or "unknown") + changed
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when}, commit {commit}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB RAM"


def main(arguments: Sequence[str]) -> None:
    """Write the page from these files; exits with an error when a test failed, and leaves the old page then."""
    results = read(Path(argument) for argument in arguments)
    if results.failed or not any(results.parts.values()):
        sys.exit(f"no page: {results.parts} passed, failed: {', '.join(results.failed)}")
    PAGE.write_text(page(results, _circumstances()))


if __name__ == "__main__":
    main(sys.argv[1:])
