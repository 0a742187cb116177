"""Pieces of markup inside a paragraph, made into a segment."""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.markup import Piece, escaped
from yunmo.apps.translate.documents.splicing import Place, has_words, in_order
from yunmo.apps.translate.segments import Tag, TagKind, segment

_WHITE = " \t\r\n\f"
_WHITES = re.compile(rf"[{_WHITE}]+")
_BREAK_IN_CJK = re.compile(
    rf"(?<=([\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]))[{_WHITE}]*[\r\n][{_WHITE}]*(?=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef])"
)


def collapsed(text: str) -> str:
    """Each run of white space as one space; none where a line breaks between two East Asian characters, whose words know no spaces."""
    return _WHITES.sub(" ", _BREAK_IN_CJK.sub(_joined, text))


def place(text: str, run: Sequence[Piece], *, is_xml: bool = False, note: str = "") -> Place | None:
    """The unit that a run of text and inline tags is, without the space, the pictures and the pairs of tags around it; None where it has no words."""
    kinds = _pairs(run)
    low, high = _bounds(text, run, kinds)
    parts: list[str | Tag] = []
    spans: dict[tuple[int, TagKind], tuple[int, int]] = {}
    start, end = (run[low].start, run[high - 1].end) if low < high else (0, 0)
    for index in range(low, high):
        piece = run[index]
        written = text[piece.start : piece.end]
        if piece.kind != "text":
            tag_id, kind = kinds[index]
            parts.append(Tag(tag_id, kind, written))
            spans[tag_id, kind] = (piece.start, piece.end)
            continue
        if index == low:
            start += len(written) - len(written.lstrip(_WHITE))
            written = written.lstrip(_WHITE)
        if index == high - 1:
            end -= len(written) - len(written.rstrip(_WHITE))
            written = written.rstrip(_WHITE)
        parts.append(html.unescape(collapsed(written)))
    made = segment(parts)
    if not has_words(made.text):
        return None
    return Place(Unit("", made, note), start, end, in_order(_escape(text[start:end], is_xml=is_xml)), spans)


def _joined(found: re.Match[str]) -> str:
    """Hangul has spaces between words, so a break behind it is one."""
    return " " if "HANGUL" in unicodedata.name(found[1], "") else ""


def _escape(written: str, *, is_xml: bool) -> Callable[[str], str]:
    keeps_nbsp = "&nbsp;" in written
    return lambda text: escaped(text, is_xml=is_xml, keeps_nbsp=keeps_nbsp)


def _pairs(run: Sequence[Piece]) -> dict[int, tuple[int, TagKind]]:
    """Each tag's id and kind, by its index in the run; a tag without its other half stands alone."""
    kinds: dict[int, tuple[int, TagKind]] = {}
    opened: list[int] = []
    depths: dict[str, list[int]] = {}
    for index, piece in enumerate(run):
        if piece.kind == "text":
            continue
        kinds[index] = (index, "alone")
        if piece.kind == "open":
            depths.setdefault(piece.name, []).append(len(opened))
            opened.append(index)
        elif piece.kind == "close" and depths.get(piece.name):
            depth = depths[piece.name][-1]
            kinds[opened[depth]], kinds[index] = (opened[depth], "open"), (opened[depth], "close")
            for crossed in opened[depth:]:
                depths[run[crossed].name].pop()
            del opened[depth:]
    order: dict[int, int] = {}
    return {index: (order.setdefault(number, len(order) + 1), kind) for index, (number, kind) in kinds.items()}


def _bounds(text: str, run: Sequence[Piece], kinds: dict[int, tuple[int, TagKind]]) -> tuple[int, int]:
    """The part of the run that is left without what stands around its words."""
    partner = _partners(kinds)
    low, high = 0, len(run)
    while low < high:
        first, last = run[low], run[high - 1]
        if _is_around(text, first, low, kinds):
            low += 1
        elif _is_around(text, last, high - 1, kinds):
            high -= 1
        elif partner.get(low) == high - 1:
            low, high = low + 1, high - 1
        elif low in partner and _is_empty(text, run, low, partner[low]):
            low = partner[low] + 1
        elif high - 1 in partner and _is_empty(text, run, partner[high - 1], high - 1):
            high = partner[high - 1]
        else:
            break
    return low, high


def _partners(kinds: dict[int, tuple[int, TagKind]]) -> dict[int, int]:
    opened = {number: index for index, (number, kind) in kinds.items() if kind == "open"}
    pairs = {opened[number]: index for index, (number, kind) in kinds.items() if kind == "close"}
    return pairs | {close: first for first, close in pairs.items()}


def _is_around(text: str, piece: Piece, index: int, kinds: dict[int, tuple[int, TagKind]]) -> bool:
    """White space, a comment, a picture, a line break, half a tag; what is kept from translation is a part of its sentence."""
    if piece.kind == "text":
        return not text[piece.start : piece.end].strip(_WHITE)
    return kinds[index][1] == "alone" and piece.kind != "raw"


def _is_empty(text: str, run: Sequence[Piece], low: int, high: int) -> bool:
    return 0 < high - low <= 2 and all(
        piece.kind == "text" and not text[piece.start : piece.end].strip(_WHITE) for piece in run[low + 1 : high]
    )
