"""Owns what a benchmark says: medians and ranges, ratios that count, aims met or missed, tables; used by every test."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local.places import REPOSITORY
from tests.bench.effort import QUICK, command

DOCUMENT = REPOSITORY / "docs/benchmarks.md"
COLUMNS = ("what", "median", "range", "unit", "note")
# What changes the programs or what is measured; a benchmark of other changes is still one of the commit.
MEASURED = ("services", "runtime", "rules", "contracts", "deploy", "tests/bench", "requirements.lock")


@dataclass(frozen=True)
class Series:
    """One measured thing over the rounds."""

    name: str
    values: tuple[float, ...]
    unit: str
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    def overlaps(self, other: Series) -> bool:
        """Whether the ranges meet: then a ratio of the two says nothing."""
        return min(self.values) <= max(other.values) and min(other.values) <= max(self.values)


@dataclass
class Section:
    """The table of one benchmark and the lines below it."""

    name: str
    title: str
    series: list[Series] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, values: Sequence[float], unit: str, note: str = "") -> Series:
        """A row of the table."""
        made = Series(name, tuple(values), unit, note)
        self.series.append(made)
        return made

    def say(self, line: str) -> None:
        """A line below the table."""
        self.lines.append(line)

    def aim(self, name: str, of: Series, to: Series, at_least: float) -> None:
        """A ratio that is aimed at. It counts only when the two ranges do not overlap."""
        ratio = of.median / to.median
        verdict = "met" if ratio >= at_least else "missed"
        if of.overlaps(to):
            verdict += ", but the ranges overlap: the ratio does not count"
        elif len(of.values) < 2:
            verdict += ", by a single round"
        self.say(f"{name}: {ratio:.2f}, aim >= {at_least:g}: {verdict}")

    def limit(self, name: str, of: Series, at_most: float) -> None:
        """A value that must stay below a limit, in the median of the rounds."""
        verdict = "met" if of.median <= at_most else "missed"
        self.say(f"{name}: {of.median:.1f} {of.unit}, aim <= {at_most:g} {of.unit}: {verdict}")

    def rows(self) -> list[tuple[str, ...]]:
        """The table's cells."""
        return [
            (
                each.name,
                _number(each.median),
                f"{_number(min(each.values))} to {_number(max(each.values))}",
                each.unit,
                each.note,
            )
            for each in self.series
        ]


class Report:
    """The sections of one run, in the order they were opened."""

    def __init__(self) -> None:
        self._sections: list[Section] = []

    def section(self, name: str, title: str) -> Section:
        """Open the section of one benchmark; `name` is its marker in the document."""
        made = Section(name, title)
        self._sections.append(made)
        return made

    def publish(self) -> None:
        """Show the tables and, unless this is a smoke test, put them into the document."""
        console = Console(width=170)
        finished = [section for section in self._sections if section.lines or section.series]
        for section in finished:
            table = Table(*COLUMNS, title=section.title, title_justify="left")
            for row in section.rows():
                table.add_row(*row)
            console.print()
            console.print(table)
            for line in section.lines:
                console.print(f"- {line}", highlight=False, markup=False)
        console.print(f"\n{circumstances()}", highlight=False, markup=False)
        if not QUICK:
            text = DOCUMENT.read_text()
            for section in finished:
                text = _replaced(text, section)
            DOCUMENT.write_text(text)


def circumstances() -> str:
    """Command, date, commit and machine, in one line."""
    memory = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0))
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"`{command()}`, {when}, commit {_commit()}, {cores} cores, {memory:.0f} GB RAM"


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", *MEASURED)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _replaced(text: str, section: Section) -> str:
    begin, end = f"<!-- {section.name} -->", f"<!-- /{section.name} -->"
    table = [f"| {' | '.join(row)} |" for row in (COLUMNS, ("---",) * len(COLUMNS), *section.rows())]
    lines = [f"- {line}" for line in section.lines]
    body = "\n".join([begin, circumstances(), "", *table, "", *lines, end])
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(text) is None:
        raise LookupError(f"{Path(DOCUMENT).name} has no markers {begin} and {end}")
    return found.sub(lambda _: body, text)
