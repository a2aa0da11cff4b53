"""The glossary points at what exists: each term names a file of the tree."""

from __future__ import annotations

import re

from tests.architecture.tree import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)\)")
TERMS = (
    "reservation, booking, stay, night, half-open, open night, occupied, preparation days, hold, block, conflict, "
    "overbooked, inventory version, commit version, rules version, outbox, relay, watermark, delta, snapshot, "
    "dead letter, park, revision, `revision_no`, listing, connection, dirty, push, inbox, lease, resync, digest"
)


def entries() -> list[str]:
    """Each bullet of the glossary with its continuation lines."""
    return re.findall(r"^- .+(?:\n  .+)*", GLOSSARY.read_text(), re.MULTILINE)


def test_every_link_of_the_glossary_leads_to_a_file() -> None:
    links = LINK.findall(GLOSSARY.read_text())
    assert len(links) > 50
    assert [link for link in links if not (GLOSSARY.parent / link).is_file()] == []


def test_every_term_links_to_the_file_where_it_lives() -> None:
    assert [entry for entry in entries() if not LINK.search(entry)] == []


def test_the_words_used_across_the_tree_are_explained() -> None:
    explained = {term.lower() for entry in entries() for term in re.findall(r"\*\*(.+?)\*\*", entry.split(":")[0])}
    assert [term for term in TERMS.split(", ") if term not in explained] == []
