"""HTML and XHTML: paragraphs with their inline tags, the attributes that people read, all else as it was."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from yunmo.apps.translate.documents.direction import is_right_to_left
from yunmo.apps.translate.documents.encoding import EncodedText, declared_encoding, read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import Write, collapsed, markup_writer, place
from yunmo.apps.translate.documents.markup import Attribute, Piece, escaped, pieces
from yunmo.apps.translate.documents.splicing import Edit, Place, SplicedDocument, has_words, in_order, numbered
from yunmo.apps.translate.segments import Segment, segment

# fmt: off
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "br", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "input", "ins", "kbd",
    "map", "mark", "math", "nobr", "output", "picture", "q", "rb", "rp", "rt", "ruby", "s", "samp", "small", "source", "span", "strike", "strong",
    "sub", "sup", "svg", "time", "tt", "u", "var", "wbr", "object", "audio", "video", "canvas", "meter", "progress", "noscript", "slot",
})
_KEPT = frozenset({
    "script", "style", "pre", "code", "kbd", "samp", "var", "tt", "math", "svg", "object", "iframe", "xmp", "noembed", "noframes", "plaintext",
    "textarea", "canvas",
})
_FOREIGN = frozenset({"svg", "math", "object", "canvas"})
_READ_BY_PEOPLE = frozenset({
    "alt", "title", "placeholder", "summary", "label", "aria-label", "aria-description", "aria-placeholder", "aria-roledescription", "aria-valuetext",
})
_READ_META = frozenset({
    "description", "keywords", "twitter:title", "twitter:description", "og:title", "og:description", "og:site_name", "og:image:alt", "apple-mobile-web-app-title",
})
# fmt: on
_BUTTONS = frozenset({"button", "submit", "reset"})
_LABELLED = frozenset({"track", "option", "optgroup"})
_RUN_PIECES = 20_000  # a paragraph with more is made to fill the memory, and is cut
_NO_TRANSLATION = re.compile(r"(?:^|\s)notranslate(?:\s|$)")


class HtmlFormat:
    """HTML as it is found, tolerant of what browsers tolerate; and XHTML."""

    name = "html"
    extensions = (".html", ".htm", ".xhtml", ".xht")
    media_types = ("text/html", "application/xhtml+xml")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The page's paragraphs and attributes in reading order."""
        del options
        source = read_text(path)
        is_xml = source.text[:200].lstrip().startswith("<?xml")
        if not is_xml and source.text.isascii() and not source.mark and not declared_encoding(source.text[:2048].encode()):
            source = replace(source, encoding="ascii")  # browsers would not read it as UTF-8
        return html_document(source, is_xml=is_xml)


def html_document(source: EncodedText, *, is_xml: bool, prefix: str = "", names_language: bool = False) -> SplicedDocument:
    """A page that was read; `prefix` begins its units' keys. Where it says nothing of its language, its translation does so with `names_language`."""
    places = numbered(html_places(source.text, is_xml=is_xml), prefix)
    root = next((piece for piece in pieces(source.text, is_xml=is_xml) if piece.kind == "open"), None)
    missing = ("lang", "xml:lang") if names_language else ()
    return SplicedDocument(source, places, lambda target: _language_edits(root, target, missing), "xmlcharrefreplace")


def html_places(text: str, start: int = 0, end: int | None = None, *, is_xml: bool = False) -> Iterator[Place]:
    """The places of what is translated in a piece of HTML, without keys."""
    yield from _Reader(text, start, len(text) if end is None else end, is_xml).places()


def _language_edits(root: Piece | None, target: str, missing: tuple[str, ...]) -> Iterator[Edit]:
    """What the root element says of its language, and where the target needs it of its direction."""
    if root is None or root.name != "html":
        return
    added = ""
    for name in ("lang", "xml:lang"):
        if attribute := root.attribute(name):
            yield _valued(attribute, target)
        elif name in missing:
            added += f' {name}="{target}"'
    direction = "rtl" if is_right_to_left(target) else "ltr"
    if attribute := root.attribute("dir"):
        yield _valued(attribute, direction)
    elif direction == "rtl":
        added += ' dir="rtl"'
    if added:
        at = root.start + len("<html")
        yield Edit(at, at, added)


def _valued(attribute: Attribute, value: str) -> Edit:
    return Edit(attribute.start, attribute.end, value if attribute.quote else f'"{value}"')


class _Reader:
    """One pass over the pieces: inline ones gather in a run, any other ends it."""

    def __init__(self, text: str, start: int, end: int, is_xml: bool) -> None:
        self._text, self._is_xml = text, is_xml
        self._pieces = pieces(text, start, end, is_xml=is_xml)
        self._ahead: Piece | None = None
        self._run: list[Piece] = []

    def places(self) -> Iterator[Place]:
        while piece := self._next():
            name = piece.name.lower()
            if piece.kind == "open" and _is_kept(piece):
                yield from self._kept(piece, name)
                continue
            if piece.kind in {"open", "alone"}:
                yield from self._attributes(piece, name)
            if piece.kind == "raw":
                yield from self._title(piece)
            elif piece.kind == "declaration" or (piece.kind in {"open", "close", "alone"} and name not in _INLINE):
                yield from self._finish()
            else:
                self._run.append(piece)
                if len(self._run) >= _RUN_PIECES or (name == "br" and self._is_second_break()):
                    yield from self._finish()
        yield from self._finish()

    def _writer(self, written: str) -> Write:
        return markup_writer(written, is_xml=self._is_xml)

    def _next(self) -> Piece | None:
        piece, self._ahead = self._ahead, None
        return piece or next(self._pieces, None)

    def _finish(self) -> Iterator[Place]:
        if self._run:
            found = place(self._text, self._run, self._writer)
            self._run = []
            if found:
                yield found

    def _is_second_break(self) -> bool:
        before = [piece for piece in self._run[-3:-1] if piece.kind != "text" or self._text[piece.start : piece.end].strip()]
        return bool(before) and before[-1].name.lower() == "br" and before[-1].kind != "close"

    def _kept(self, first: Piece, name: str) -> Iterator[Place]:
        """An element that stays as it is: a part of the sentence where it is inline."""
        is_inline = name in _INLINE
        if not is_inline:
            yield from self._finish()
        depth, last = 1, first
        while depth and (piece := self._next()):
            if is_inline and name not in _FOREIGN and piece.kind in {"open", "close"} and piece.name.lower() not in _INLINE | _KEPT:
                self._ahead = piece  # its end is missing
                break
            if piece.name == first.name:
                depth += (piece.kind == "open") - (piece.kind == "close")
            last = piece
        if is_inline:
            self._run.append(Piece("raw", first.start, last.end, first.name))

    def _title(self, piece: Piece) -> Iterator[Place]:
        """The text of a `title`, in which there are no tags; other raw elements are kept."""
        text = Piece("text", piece.start, piece.end)
        if piece.name == "title" and (found := place(self._text, [text], self._writer, unit=Unit("", Segment(()), "title"))):
            yield found

    def _attributes(self, piece: Piece, name: str) -> Iterator[Place]:
        for attribute in piece.attributes:
            if _is_read(piece, name, attribute) and has_words(attribute.value):
                yield _attribute_place(attribute, f"{name} {attribute.name}", is_xml=self._is_xml)


def _attribute_place(attribute: Attribute, note: str, *, is_xml: bool) -> Place:
    quote, around = attribute.quote or '"', "" if attribute.quote else '"'
    value = in_order(lambda text: escaped(text, quote, is_xml=is_xml))
    unit = Unit("", segment([collapsed(attribute.value)]), note)
    return Place(unit, attribute.start, attribute.end, lambda translation, tag_text: around + value(translation, tag_text) + around)


def _is_kept(piece: Piece) -> bool:
    if piece.value("translate").lower() == "no" or _NO_TRANSLATION.search(piece.value("class")):
        return True
    return piece.name.lower() in _KEPT


def _is_read(piece: Piece, name: str, attribute: Attribute) -> bool:
    """Whether people read this attribute."""
    if name == "meta":
        return attribute.name == "content" and (piece.value("name") or piece.value("property")).lower() in _READ_META
    if attribute.name == "value":
        return name == "input" and piece.value("type").lower() in _BUTTONS
    if attribute.name == "label":
        return name in _LABELLED
    return attribute.name in _READ_BY_PEOPLE and piece.value("translate").lower() != "no"
