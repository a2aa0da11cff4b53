"""What no committed file may hold: the address of a package registry, or a path of the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, committed_files, short

# Put together here, so that this file does not hold what it looks for.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pypi", "python", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo", "maven"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("registry-1", "docker", "io"),
    )
]
# A checkout directly below / (a container's /app) is no path of a machine.
MACHINE_PATHS = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 2]


def texts() -> dict[str, str]:
    """Every committed text file."""
    found = {}
    for path in committed_files():
        try:
            found[short(path)] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def holding(needles: list[str], found: dict[str, str]) -> list[str]:
    """The files that hold one of the texts, as a whole word."""
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(needle)}(?![\w-])" for needle in needles))
    return [name for name, text in found.items() if pattern.search(text)]


def test_no_file_names_the_address_of_a_package_registry() -> None:
    found = texts()
    assert len(found) > 100
    assert holding(REGISTRIES, found) == []


def test_no_file_names_an_absolute_path_of_this_machine() -> None:
    if not MACHINE_PATHS:
        return
    assert holding(MACHINE_PATHS, texts()) == []


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_registry_s_address_is_seen(registry: str) -> None:
    assert holding(REGISTRIES, {"x": f"index = https://{registry}/simple"}) == ["x"]


def test_a_path_of_the_machine_is_seen() -> None:
    assert holding([str(ROOT)], {"x": f"cd {ROOT}/services", "y": "cd services"}) == ["x"]
