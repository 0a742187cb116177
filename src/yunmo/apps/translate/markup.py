"""Texts with XML or HTML tags in pieces. Nothing is lost: the pieces' texts, joined, are the text."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from yunmo.core.errors import InvalidRequest

Markup = Literal["xml", "html"]
PieceKind = Literal["text", "open", "close", "alone", "remark"]

_NAME = r"[A-Za-z_:][\w:.\-]*"
_OPEN = re.compile(rf"""<({_NAME})((?:[^<>"']|"[^"]*"|'[^']*')*+)>""")
_CLOSE = re.compile(rf"</({_NAME})\s*>")
_STRICT_ATTRIBUTES = re.compile(rf"""(\s+{_NAME}\s*=\s*("[^"<]*"|'[^'<]*'))*+\s*/?""")
REFERENCE = re.compile(rf"&(#[0-9]{{1,7}}|#x[0-9a-fA-F]{{1,6}}|{_NAME});")
"""A character or entity by its number or name."""

_NOT_TRANSLATED = re.compile(r"""\stranslate\s*=\s*["']?no\b|\sclass\s*=\s*(["'])(?:[^"']*\s)?notranslate(?:\s[^"']*)?\1""", re.IGNORECASE)
_BRACKETS = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">"))
_VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"])
_RAW = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}


@dataclass(slots=True)
class Piece:
    """A text or one tag, as it is written. `partner` is where its other tag is among the pieces.

    Remarks are comments, declarations and the like: what readers do not see. What is kept is a whole element that is not translated.
    """

    kind: PieceKind
    text: str
    name: str = ""
    partner: int | None = None
    is_kept: bool = False


class Malformed(InvalidRequest):
    """The tags do not make well-formed XML."""

    code = InvalidRequest.code

    def __init__(self, message: str = "Tag handling parsing failed, please check input.") -> None:
        super().__init__(message, param="text")


def pieces_of(text: str, markup: Markup, kept: Collection[str] = (), *, is_strict: bool = False) -> list[Piece]:
    """The text's pieces, its tags paired. An element that is not translated, for its name is `kept` or (in HTML) it says so itself, is one piece.

    What is not well-formed is text, or a tag without its partner; Malformed is raised for it if `is_strict`.
    """
    pieces = list(_Scanner(text, markup, is_strict=is_strict).pieces())
    _pair(pieces, is_strict=is_strict)
    return _join_kept(pieces, markup, kept)


class _Scanner:
    """Finds tags. Every end is looked for once: texts of unclosed comments cost no more than others."""

    def __init__(self, text: str, markup: Markup, *, is_strict: bool) -> None:
        self._text = text
        self._is_html = markup == "html"
        self._is_strict = is_strict
        self._absent: set[str] = set()

    def pieces(self) -> Iterator[Piece]:
        """Texts and tags in their order, not paired."""
        begin = at = 0
        while (at := self._text.find("<", at)) >= 0:
            piece = self._tag(at)
            if piece is None:
                if self._is_strict:
                    raise Malformed
                at += 1
                continue
            if begin < at:
                yield self._plain(begin, at)
            yield piece
            begin = at = at + len(piece.text)
        if begin < len(self._text):
            yield self._plain(begin, len(self._text))

    def _plain(self, begin: int, end: int) -> Piece:
        text = self._text[begin:end]
        if self._is_strict and "&" in REFERENCE.sub("", text):
            raise Malformed
        return Piece("text", text)

    def _tag(self, at: int) -> Piece | None:
        for opening, closing in _BRACKETS:
            if self._text.startswith(opening, at):
                end = self._find(closing, at + len(opening))
                return None if end is None else Piece("remark", self._text[at:end])
        if closes := _CLOSE.match(self._text, at):
            return Piece("close", closes[0], self._spelt(closes[1]))
        opens = _OPEN.match(self._text, at)
        if opens is None or (self._is_strict and not _STRICT_ATTRIBUTES.fullmatch(opens[2])):
            return None
        name = self._spelt(opens[1])
        if self._is_html and name in _RAW and (end := self._find_raw(name, opens.end())) is not None:
            return Piece("remark", self._text[at:end], name)
        is_alone = opens[2].endswith("/") or (self._is_html and name in _VOID)
        return Piece("alone" if is_alone else "open", opens[0], name)

    def _spelt(self, name: str) -> str:
        return name.lower() if self._is_html else name

    def _find(self, closing: str, begin: int) -> int | None:
        if closing in self._absent:
            return None
        end = self._text.find(closing, begin)
        if end < 0:
            self._absent.add(closing)
            return None
        return end + len(closing)

    def _find_raw(self, name: str, begin: int) -> int | None:
        if name in self._absent:
            return None
        found = _RAW[name].search(self._text, begin)
        if found is None:
            self._absent.add(name)
            return None
        return found.end()


def _pair(pieces: list[Piece], *, is_strict: bool) -> None:
    """Tell opening and closing tags of each other; those without a partner stand alone."""
    opened: list[int] = []
    names: Counter[str] = Counter()
    for index, piece in enumerate(pieces):
        if piece.kind == "open":
            opened.append(index)
            names[piece.name] += 1
        elif piece.kind == "close":
            if is_strict and (not opened or pieces[opened[-1]].name != piece.name):
                raise Malformed
            if not names[piece.name]:
                piece.kind = "alone"
                continue
            while pieces[opened[-1]].name != piece.name:
                unclosed = pieces[opened.pop()]
                names[unclosed.name] -= 1
                unclosed.kind = "alone"
            names[piece.name] -= 1
            piece.partner = opened.pop()
            pieces[piece.partner].partner = index
    if opened and is_strict:
        raise Malformed
    for index in opened:
        pieces[index].kind = "alone"


def _join_kept(pieces: list[Piece], markup: Markup, kept: Collection[str]) -> list[Piece]:
    """Elements that are not translated become one piece each; the partners of all others are counted anew."""
    joined: list[Piece] = []
    moved: dict[int, int] = {}
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        is_tag = piece.kind in {"open", "alone"}
        is_kept = is_tag and (piece.name in kept or (markup == "html" and _NOT_TRANSLATED.search(piece.text) is not None))
        if is_kept and piece.partner is not None:
            text = "".join(each.text for each in pieces[index : piece.partner + 1])
            joined.append(Piece("alone", text, piece.name, is_kept=True))
            index = piece.partner + 1
            continue
        if piece.kind == "close" and piece.partner is not None:
            before = moved[piece.partner]
            piece.partner, joined[before].partner = before, len(joined)
        moved[index] = len(joined)
        piece.is_kept = is_kept
        joined.append(piece)
        index += 1
    return joined
