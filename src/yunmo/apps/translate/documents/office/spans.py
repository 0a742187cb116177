"""XML with the places of its elements, so that a text is exchanged and every other byte stays as it was.

A parser that builds a tree and writes it again changes quotes, empty elements and declarations throughout; here the source is never written
again, only spliced.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat

from yunmo.apps.translate.documents.office.namespaces import short_name
from yunmo.core.errors import InvalidRequest

DEPTH_LIMIT = 200
ELEMENT_LIMIT = 3_000_000
"""Of one part; an element takes some 400 bytes of memory."""

_START_TAG = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(rb"\s([^\s=<>/\"']+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_DECLARATION = re.compile(r"^<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"^<\?xml[^>]*encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_TEXT_PARTS = re.compile(r"<!\[CDATA\[(?P<raw>.*?)\]\]>|<!--.*?-->|<\?.*?\?>|&(?P<entity>#?\w+);|\r\n?", re.DOTALL)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Span(NamedTuple):
    """A stretch of a source, in bytes."""

    start: int
    end: int


Piece = bytes | Span
"""What is written: bytes that are new, or a stretch of the source."""


class Splice(NamedTuple):
    """What stands in place of a stretch of the source. A stretch within `pieces` is spliced in its turn."""

    span: Span
    pieces: tuple[Piece, ...]


@dataclass(slots=True, eq=False)
class Element:
    """An element: `name` with its namespace's usual prefix, whatever the source calls it; places in bytes; `inner` is where its content is."""

    name: str
    attributes: dict[str, str]
    span: Span
    inner: Span
    parent: "Element | None"
    children: list["Element"] = field(default_factory=list)

    def child(self, name: str) -> "Element | None":
        """The first child of this name."""
        return next((child for child in self.children if child.name == name), None)

    def descendants(self) -> Iterator["Element"]:
        """Every element inside, in the order of the source."""
        pending = self.children[::-1]
        while pending:
            yield (element := pending.pop())
            pending.extend(element.children[::-1])

    def ancestors(self) -> Iterator["Element"]:
        """The elements around this one, from the nearest."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


class Text(NamedTuple):
    """A text between two elements, without its escapes."""

    text: str
    span: Span


class Source:
    """An XML document that was read; `name` is what its errors call it. What stands within `passed` is not looked at.

    Raises InvalidRequest where it is not well-formed, declares entities or uses such (of a document type nothing is loaded), or is nested
    deeper than `DEPTH_LIMIT` or has more than `ELEMENT_LIMIT` elements.
    """

    def __init__(self, data: bytes, name: str, passed: Span | None = None) -> None:
        self.name = name
        self.data = _utf8(data, name)
        is_whole = passed is None or self.data is not data
        self.root = _Parser(self.data if is_whole else _blanked(data, passed), name).root

    def raw(self, span: Span) -> bytes:
        return self.data[span.start : span.end]

    def start_tag(self, element: Element) -> bytes:
        """The element's first tag, as it is written."""
        return self.data[element.span.start : element.inner.start] if element.inner.start else self.raw(element.span)

    def prefix(self, element: Element) -> bytes:
        """How the source begins names of the element's namespace: `w:`, or nothing."""
        name = re.split(rb"[\s/>]", self.data[element.span.start + 1 : element.inner.start or element.span.end], maxsplit=1)[0]
        return name[: name.rfind(b":") + 1]

    def text(self, element: Element) -> str:
        """The element's own text, without that of elements inside."""
        return "".join(content.text for content in self.contents(element) if isinstance(content, Text))

    def contents(self, element: Element) -> Iterator[Element | Text]:
        """Texts and elements inside, in their order."""
        at = element.inner.start
        for child in element.children:
            if child.span.start > at:
                yield self._text(at, child.span.start)
            yield child
            at = child.span.end
        if element.inner.end > at:
            yield self._text(at, element.inner.end)

    def spliced(self, splices: Iterable[Splice]) -> bytes:
        """The document with these stretches exchanged. Two stretches lie apart, or one within a piece of the other."""
        ordered = sorted(splices, key=lambda splice: (splice.span.start, -splice.span.end))
        return _spliced(self.data, ordered, [splice.span.start for splice in ordered], Span(0, len(self.data)), 0)

    def _text(self, start: int, end: int) -> Text:
        return Text(_unescaped(self.data[start:end].decode("utf-8")), Span(start, end))


def escaped(text: str) -> bytes:
    """Text as XML writes it between tags; characters that XML has not are left out."""
    return _UNWRITABLE.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()


def attribute_span(start_tag: bytes, name: bytes) -> Span | None:
    """Where an attribute's value stands in a start tag, quotes and all; a name without a prefix is found behind any."""
    for found in _ATTRIBUTE.finditer(start_tag):
        if found[1] == name or found[1].rpartition(b":")[2] == name:
            return Span(*found.span(2))
    return None


def with_attribute(start_tag: bytes, name: bytes, value: str | None) -> bytes:
    """A start tag whose attribute `name` is `value`, put at its end where it had none; None takes it away."""
    written = b"" if value is None else b" " + name + b"=" + quoted(value)
    found = next((found for found in _ATTRIBUTE.finditer(start_tag) if found[1] == name), None)
    if found:
        return start_tag[: found.start()] + written + start_tag[found.end() :]
    end = -2 if start_tag.endswith(b"/>") else -1
    return start_tag[:end].rstrip() + written + start_tag[end:]


def quoted(value: str) -> bytes:
    """An attribute's value as XML writes it, quotes and all."""
    return b'"' + escaped(value).replace(b'"', b"&quot;").replace(b"\n", b"&#10;").replace(b"\t", b"&#9;") + b'"'


class _Parser:
    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name
        self._open: list[Element] = []
        self._root: Element | None = None
        self._count = 0
        self._expat = expat.ParserCreate("utf-8", " ")
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.EntityDeclHandler = self._refuse_entity
        self._expat.SkippedEntityHandler = self._refuse_entity
        try:
            self._expat.Parse(data, True)
        except expat.ExpatError as error:
            raise InvalidRequest(
                f"{name} is not well-formed XML ({error}): open the document in its own program and save it again."
            ) from error

    @property
    def root(self) -> Element:
        assert self._root is not None
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        start = self._expat.CurrentByteIndex
        tag = _START_TAG.match(self._data, start)
        if tag is None or len(self._open) >= DEPTH_LIMIT:
            raise InvalidRequest(
                f"{self._name} is nested deeper than {DEPTH_LIMIT} elements: open the document in its own program and save it again."
            )
        self._count += 1
        if self._count > ELEMENT_LIMIT:
            raise InvalidRequest(f"{self._name} has more than {ELEMENT_LIMIT:,} elements: split the document.")
        is_empty = tag.group().endswith(b"/>")
        parent = self._open[-1] if self._open else None
        inner = Span(0, 0) if is_empty else Span(tag.end(), tag.end())
        element = Element(
            short_name(name), {short_name(key): value for key, value in attributes.items()}, Span(start, tag.end()), inner, parent
        )
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if element.inner.start:
            at = self._expat.CurrentByteIndex
            element.inner = Span(element.inner.start, at)
            element.span = Span(element.span.start, self._data.index(b">", at) + 1)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise InvalidRequest(
            f"{self._name} has the entity {name!r} of its own, which is not read: open the document in its own program and save it again."
        )


def _spliced(data: bytes, ordered: list[Splice], starts: list[int], span: Span, first: int) -> bytes:
    """The stretch `span` with those splices exchanged that are in it and not before the `first`; the outer of two comes first."""
    written = []
    at, index = span.start, bisect_left(starts, span.start, first)
    while index < len(ordered) and ordered[index].span.start < span.end:
        replaced, pieces = ordered[index]
        written.append(data[at : replaced.start])
        written.extend(piece if isinstance(piece, bytes) else _spliced(data, ordered, starts, piece, index + 1) for piece in pieces)
        at = replaced.end
        index = bisect_left(starts, at, index + 1)
    written.append(data[at : span.end])
    return b"".join(written)


def _blanked(data: bytes, passed: Span | None) -> bytes:
    """The document with spaces there, so that places stay."""
    start, end = passed or (0, 0)
    return data[:start] + b" " * (end - start) + data[end:]


def _utf8(data: bytes, name: str) -> bytes:
    """The document in UTF-8, in which places are counted; one that is written so already stays as it is."""
    declared = _ENCODING.match(data)
    encoding = declared.group(1).decode().lower() if declared else "utf-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    if encoding in {"utf-8", "utf8", "us-ascii", "ascii"}:
        return data
    try:
        return _DECLARATION.sub('<?xml version="1.0" encoding="UTF-8"?>', data.decode(encoding)).encode()
    except (LookupError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{name} is not in the encoding {encoding} that it names: open the document in its own program and save it again."
        ) from error


def _unescaped(text: str) -> str:
    if "&" not in text and "<" not in text and "\r" not in text:
        return text
    return _TEXT_PARTS.sub(_plain, text)


def _plain(found: re.Match[str]) -> str:
    if (raw := found["raw"]) is not None:
        return raw
    entity = found["entity"]
    if entity is None:
        return "\n" if found.group().startswith("\r") else ""
    if entity.startswith("#x"):
        return chr(int("0" + entity[1:], base=0))
    return chr(int(entity[1:].lstrip("0"))) if entity.startswith("#") else _ENTITIES[entity]
