"""What imports cannot show: no clock, no chance and no waiting in the rules; no business word in the runtime."""

from __future__ import annotations

import ast
import re

import pytest

from contracts.topics import TOPICS
from tests.architecture.tree import SOURCES, modules, short

PURE = [
    path
    for path in modules("rules", "booking", "availability", "channel_sync")
    if path.is_relative_to(SOURCES["rules"]) or "domain" in path.relative_to(SOURCES["rules"].parents[2]).parts
]
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid7", "open", "print", "input", "monotonic", "sleep"}
# "hold" and "stay" are left out: they are everyday verbs of any prose.
BUSINESS_WORDS = [
    *("property", "properties", "reservation", "reservations", "booking", "bookings", "booked", "overbooked"),
    *("guest", "guests", "night", "nights", "listing", "listings", "channel", "channels", "ota"),
    *("calendar", "inventory", "availability", "occupancy", "amenity", "amenities", "check_in", "check_out"),
]


def impure(source: str) -> list[str]:
    """What a pure module may not do, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in IMPURE_CALLS:
                found.append(f"{node.lineno}: {name}()")
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{node.lineno}: asynchronous")
        if isinstance(node, ast.Global | ast.Nonlocal):
            found.append(f"{node.lineno}: shared state")
    return found


def business_words(text: str) -> list[str]:
    """The words of the field in a text, also inside names; Python's own `@property` is none."""
    plain = re.sub(r"@property\b", "", text)
    parts = re.sub(r"([a-z])([A-Z])", r"\1_\2", plain).lower()
    return [word for word in BUSINESS_WORDS if re.search(rf"(?<![a-z]){word}(?![a-z])", parts)]


def test_domain_and_rules_have_no_clock_no_chance_and_do_not_wait() -> None:
    assert {path.name for path in PURE} >= {"calendar.py", "stay_rules.py"}
    found = {short(path): impure(path.read_text()) for path in PURE}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "line",
    [
        "datetime.now(UTC)",
        "date.today()",
        "uuid4()",
        "uuid.uuid4()",
        "open('x')",
        "async def f(): ...",
        "time.monotonic()",
        "def f():\n    global x",
    ],
)
def test_an_impure_line_is_seen(line: str) -> None:
    assert impure(line)


def test_the_runtime_holds_no_business_word() -> None:
    found = {short(path): business_words(path.read_text()) for path in modules("runtime")}
    assert found
    assert {path: words for path, words in found.items() if words} == {}


def test_the_runtime_names_no_topic() -> None:
    for path in modules("runtime"):
        text = path.read_text()
        assert not [topic.name for topic in TOPICS if topic.name in text], short(path)


@pytest.mark.parametrize(
    "text", ["booking_url", "ReservationConfirmed", "# one night", "GUEST", "aPropertyOf", "x.check_in"]
)
def test_a_business_word_is_seen_inside_a_name_too(text: str) -> None:
    assert business_words(text)


def test_words_that_only_look_like_one_are_left_alone() -> None:
    assert business_words("@property\ndef total(self): return 'guesthouse overnight quota'") == []
