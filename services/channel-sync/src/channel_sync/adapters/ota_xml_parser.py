"""Owns how XML of strangers is parsed, and found one's way in; called by the modules of the adapter `ota-xml` alone.

libxml2 expands entities, reads DTDs and follows references when it is let. Nothing of that is: a document with a
DOCTYPE is refused before the parser sees it, and the parser is told to do none of it all the same.
"""

import re
from collections.abc import Iterator, Mapping

from lxml import etree

NAMESPACE = "http://www.opentravel.org/OTA/2003/05"
MAX_DOCUMENT_BYTES = 16 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANKS = re.compile(rb"[ \t\r\n]*")
Element = etree._Element


class XmlRefused(Exception):
    """The document is none we read. `code` is a stable word for it, `reason` names nothing of what it holds."""

    def __init__(self, code: str, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


def root_of(body: bytes, limit: int = MAX_DOCUMENT_BYTES) -> Element:
    """The root of a UTF-8 document of at most `limit` bytes without a DOCTYPE; raises `XmlRefused`."""
    if len(body) > limit:
        raise XmlRefused("too_large", f"is larger than {limit} bytes")
    if _has_doctype(body):
        raise XmlRefused("doctype", "must not have a DOCTYPE")
    refused = False
    try:
        root = etree.fromstring(body, _parser())
    except (etree.XMLSyntaxError, ValueError):
        refused = True
    # Raised here, so that the parser's error, which quotes the document, is not in the context.
    if refused:
        raise XmlRefused("not_xml", "is not well-formed XML in UTF-8")
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlRefused("doctype", "must not have a DOCTYPE")
    return root


def name_of(element: Element) -> str:
    """The element's name without its namespace."""
    return etree.QName(element).localname


def children(element: Element, name: str) -> list[Element]:
    """Children of a name, in OpenTravel's namespace or, as some examples of channels are written, in none."""
    return [child for child in element if _is(child, name)]


def descend(element: Element | None, path: str) -> Iterator[Element]:
    """The elements a path of names ("A/B") leads to, in document order."""
    found = [] if element is None else [element]
    for name in path.split("/"):
        found = [child for parent in found for child in children(parent, name)]
    yield from found


def first(element: Element | None, path: str) -> Element | None:
    """The first element at a path; None when there is none."""
    return next(descend(element, path), None)


def attribute(element: Element | None, name: str) -> str | None:
    """An attribute's text without blanks around it; None when it is absent or empty."""
    text = None if element is None else element.get(name)
    return (text or "").strip() or None


def text_of(element: Element | None) -> str:
    """An element's own text without blanks around it."""
    return "" if element is None else (element.text or "").strip()


def kept(element: Element, names: Mapping[str, tuple[str, ...]], texts: frozenset[str] = frozenset()) -> Element:
    """A copy with those elements, attributes and texts alone that are named; in OpenTravel's namespace."""
    name = name_of(element)
    copy = etree.Element(etree.QName(NAMESPACE, name), nsmap={None: NAMESPACE})
    for allowed in names[name]:
        value = element.get(allowed)
        if value is not None:
            copy.set(allowed, value)
    if name in texts:
        copy.text = element.text
    copy.extend(kept(child, names, texts) for child in element if _in_ours(child) and name_of(child) in names)
    return copy


def written(root: Element) -> bytes:
    """The document's bytes."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _parser() -> etree.XMLParser:
    """A new one each time: lxml's parsers are not to be shared by threads. `encoding` overrides what the document
    declares, so that the search for a DOCTYPE and the parser read the same text."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )


def _has_doctype(body: bytes) -> bool:
    """Whether a DOCTYPE comes before the root: only there it is one, in a guest's remark it is text."""
    position = len(BYTE_ORDER_MARK) if body.startswith(BYTE_ORDER_MARK) else 0
    while True:
        position = BLANKS.match(body, position).end()  # type: ignore[union-attr]
        for start, end in ((b"<?", b"?>"), (b"<!--", b"-->")):
            if body.startswith(start, position):
                closed = body.find(end, position + len(start))
                if closed < 0:
                    return False
                position = closed + len(end)
                break
        else:
            return body.startswith(b"<!DOCTYPE", position)


def _in_ours(child: Element) -> bool:
    return isinstance(child.tag, str) and etree.QName(child).namespace in (NAMESPACE, None)


def _is(child: Element, name: str) -> bool:
    return _in_ours(child) and name_of(child) == name
