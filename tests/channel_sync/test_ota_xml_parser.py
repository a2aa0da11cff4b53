"""Proves that no document of a stranger makes the XML parser expand, fetch, read or swallow anything."""

from pathlib import Path
from time import process_time

import pytest
from lxml import etree

from channel_sync.adapters import ota_xml_parser
from channel_sync.adapters.ota_xml import OtaXml
from channel_sync.adapters.ota_xml_parser import MAX_DOCUMENT_BYTES, XmlRefused, root_of
from channel_sync.domain.errors import FeedUnreadable, UnparseableRevision
from channel_sync.domain.pushes import ChannelAnswer
from channel_sync.domain.revisions import MAX_REVISION_BYTES

ADAPTER = OtaXml()
DECLARATION = b'<?xml version="1.0"?>'
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 12))


def refusal_of(body: bytes) -> str:
    with pytest.raises(XmlRefused) as refusal:
        root_of(body)
    assert refusal.value.__context__ is None
    return refusal.value.code


@pytest.mark.parametrize(
    "before",
    [b"", DECLARATION, b"\xef\xbb\xbf", b" \r\n\t", b"<!-- x --><?y <!DOCTYPE ?>", DECLARATION + b"\n<!-- -- > -->\n"],
)
@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE r>",
        b'<!DOCTYPE r [<!ENTITY a "b">]>',
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">',
        b'<!DOCTYPE r [<!ENTITY l0 "ha">' + LAUGHS + b"]>",
    ],
)
def test_a_doctype_is_refused_wherever_it_can_stand(before: bytes, doctype: bytes) -> None:
    began = process_time()
    assert refusal_of(before + doctype + b"<r>&a;&l11;</r>") in ("doctype", "not_xml")
    assert process_time() - began < 1.0


def test_a_doctype_without_anything_before_it_is_named() -> None:
    assert refusal_of(b"<!DOCTYPE r><r/>") == "doctype"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "utf-32", "ebcdic-cp-be"])
def test_no_encoding_hides_a_doctype(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE r [<!ENTITY a "hidden">]><r>&a;</r>'
    assert refusal_of(text.encode(encoding)) in ("doctype", "not_xml")


def test_a_declared_encoding_does_not_change_how_the_document_is_read() -> None:
    hidden = b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE r [+ADwAIQ-ENTITY a "hidden"+AD4-]><r>&a;</r>'
    assert refusal_of(hidden) == "not_xml"
    assert root_of(b'<?xml version="1.0" encoding="UTF-7"?><r>+ADw-</r>').text == "+ADw-"


def test_no_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text("<secret>of this machine</secret>")
    uri = secret.as_uri()
    assert refusal_of(f'<!DOCTYPE r [<!ENTITY x SYSTEM "{uri}">]><r>&x;</r>'.encode()) == "doctype"
    included = f'<r xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{uri}"/></r>'.encode()
    assert "of this machine" not in "".join(str(text) for text in root_of(included).itertext())


def test_a_document_with_a_doctype_never_meets_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("the parser was asked for")

    monkeypatch.setattr(ota_xml_parser, "_parser", never)
    assert refusal_of(DECLARATION + b"<!-- x --><!DOCTYPE r><r/>") == "doctype"


def test_the_parser_on_its_own_expands_no_entity_and_reads_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    for value in ('"of this machine"', f'SYSTEM "{secret.as_uri()}"'):
        body = f"<!DOCTYPE r [<!ENTITY x {value}>]><r>&x;</r>".encode()
        root = etree.fromstring(body, ota_xml_parser._parser())
        assert (root.text, [child.text for child in root]) == (None, ["&x;"])


def test_the_word_doctype_in_a_remark_is_text() -> None:
    assert root_of(b"<r><![CDATA[<!DOCTYPE r>]]></r>").text == "<!DOCTYPE r>"
    assert root_of(b"<r><!-- <!DOCTYPE r> -->x</r>").text == "x"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<r>",
        b"<r/><r/>",
        b"<r>&unknown;</r>",
        b"<r>\xff</r>",
        b"<r>\x00</r>",
        b"<!--",
        b"<?x",
        b"<r>" * 100_000,
        b"<r>" * 5_000 + b"</r>" * 5_000,
        b"<r " + b"".join(b'a%d="" ' % (n % 7) for n in range(1000)) + b"/>",
    ],
)
def test_what_is_not_well_formed_is_refused_and_has_nothing_to_strip(body: bytes) -> None:
    assert refusal_of(body) == "not_xml"
    assert ADAPTER.without_guest(body) == b""
    with pytest.raises(UnparseableRevision) as refusal:
        ADAPTER.parse(body)
    assert (refusal.value.field, refusal.value.__context__) == ("body", None)
    with pytest.raises(FeedUnreadable):
        ADAPTER.feed_page(ChannelAnswer(200, {}, body))


def test_size_is_bounded_before_anything_is_parsed() -> None:
    assert refusal_of(b"<r>" + b" " * MAX_DOCUMENT_BYTES + b"</r>") == "too_large"
    with pytest.raises(UnparseableRevision) as refusal:
        ADAPTER.parse(b"<r>" + b" " * MAX_REVISION_BYTES + b"</r>")
    assert refusal.value.code == "too_large"


@pytest.mark.parametrize("filler", [b" ", b"<!---->", b"<?x?>", b"<r/>"])
def test_the_largest_document_is_read_in_little_time(filler: bytes) -> None:
    body = b"<r>" + filler * ((4 * 2**20) // len(filler)) + b"</r>"
    began = process_time()
    assert root_of(body).tag == "r"
    assert process_time() - began < 5.0
