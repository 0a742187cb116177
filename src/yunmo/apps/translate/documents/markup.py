"""HTML and XML read as pieces with their places, so that a document can be changed without being rendered anew."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

PieceKind = Literal["text", "open", "close", "alone", "comment", "declaration", "instruction", "cdata", "raw"]

_HTML_NAME = re.compile(r"[A-Za-z][^\s/>]*")
_XML_NAME = re.compile(r"[A-Za-z_:\u0080-\U0010ffff][^\s/>]*")
_ATTRIBUTE = re.compile(r"""[\s/]*(?:([^\s/>=][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*))?)?)""")
_TAG_END = re.compile(r"[\s/]*>")
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext", "title", "textarea"})
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"})
_ATTRIBUTES = 1000
_SUBSET = 16_384  # as far as the end of a DOCTYPE's own declarations is looked for
_UNFIT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute and the place of its value, without quotes; `quote` is empty where the source has none."""

    name: str
    value: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of markup from `start` to `end`.

    `name` is a tag's; `raw` is the text of an element such as `script`, in which no tag counts. `text` is what a text stands for, where reading what
    is written does not tell.
    """

    kind: PieceKind
    start: int
    end: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()
    text: str | None = None

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of this name, if the tag has it."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)

    def value(self, name: str) -> str:
        """The value of an attribute, empty where the tag has none."""
        found = self.attribute(name)
        return found.value if found else ""


def pieces(text: str, start: int = 0, end: int | None = None, *, is_xml: bool = False) -> Iterator[Piece]:
    """The pieces of the text in their order; together they are the text, whatever it holds. In XML, names keep their case and no element is raw or void."""
    at, end = start, len(text) if end is None else end
    while at < end:
        if text[at] != "<":
            stop = _find(text, "<", at, end)
            yield Piece("text", at, stop)
            at = stop
            continue
        piece = _piece(text, at, end, is_xml)
        yield piece
        at = piece.end
        if piece.kind == "open" and not is_xml and piece.name in _RAW:
            closing = re.compile(rf"</{piece.name}(?=[\s/>])", re.IGNORECASE).search(text, at, end)
            stop = closing.start() if closing and piece.name != "plaintext" else end
            if stop > at:
                yield Piece("raw", at, stop, piece.name)
            at = stop


def escaped(text: str, quote: str = "", *, is_xml: bool = False, keeps_nbsp: bool = False) -> str:
    """Text as markup: in an attribute's value between `quote`, or between tags. Characters that XML cannot hold are left out."""
    text = _UNFIT.sub("", text) if is_xml else text.replace("\0", "")
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = text.replace(quote, "&quot;" if quote == '"' else "&#39;") if quote else text.replace(">", "&gt;")
    return text.replace("\u00a0", "&nbsp;") if keeps_nbsp else text


def _find(text: str, what: str, at: int, end: int) -> int:
    found = text.find(what, at, end)
    return end if found < 0 else found


def _piece(text: str, at: int, end: int, is_xml: bool) -> Piece:
    if text.startswith("<!--", at):
        return Piece("comment", at, min(end, _find(text, "-->", at + 4, end) + 3))
    if text.startswith("<![CDATA[", at):
        return Piece("cdata", at, min(end, _find(text, "]]>", at + 9, end) + 3))
    if text.startswith("<!", at):
        return Piece("declaration", at, _declaration_end(text, at, end))
    if text.startswith("<?", at):
        closing = "?>" if is_xml or text.startswith("<?xml", at) or text.startswith("<?php", at) else ">"
        return Piece("instruction", at, min(end, _find(text, closing, at + 2, end) + len(closing)))
    is_closing = text.startswith("</", at)
    name = (_XML_NAME if is_xml else _HTML_NAME).match(text, at + 1 + is_closing, end)
    if not name:
        return Piece("text", at, max(_find(text, "<", at + 1, end), at + 1))
    return _tag(text, at, end, name, "close" if is_closing else "open", is_xml)


def _declaration_end(text: str, at: int, end: int) -> int:
    """Behind the `>` of a declaration, of which a DOCTYPE's own declarations are a part."""
    closing = _find(text, ">", at, end)
    if (bracket := text.find("[", at, closing)) >= 0 and (inner := text.find("]", bracket, min(end, bracket + _SUBSET))) >= 0:
        closing = _find(text, ">", inner, end)
    return min(end, closing + 1)


def _tag(text: str, at: int, end: int, name: re.Match[str], kind: PieceKind, is_xml: bool) -> Piece:
    attributes: list[Attribute] = []
    stop = name.end()
    while not (closing := _TAG_END.match(text, stop, end)):
        found = _ATTRIBUTE.match(text, stop, end)
        if not found or found.end() == stop:
            if stop >= end or text[stop:end].strip() == "":
                return Piece("text", at, end)  # a tag that nothing closes
            stop += 1
            continue
        if len(attributes) < _ATTRIBUTES:
            attributes.append(_attribute(found, is_xml))
        stop = found.end()
    tag = name[0] if is_xml else name[0].lower()
    is_alone = kind == "open" and ("/" in closing[0] if is_xml else tag in VOID)
    return Piece("alone" if is_alone else kind, at, closing.end(), tag, tuple(attributes))


def _attribute(found: re.Match[str], is_xml: bool) -> Attribute:
    group = next((number for number in (2, 3, 4) if found[number] is not None), None)
    name = found[1] if is_xml else found[1].lower()
    if group is None:
        return Attribute(name, "", found.end(), found.end(), "")
    return Attribute(name, html.unescape(found[group]), found.start(group), found.end(group), {2: '"', 3: "'", 4: ""}[group])
