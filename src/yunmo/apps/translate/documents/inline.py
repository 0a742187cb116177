"""Pieces of markup inside a paragraph, made into a segment."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.markup import VOID, Piece, PieceKind, escaped
from yunmo.apps.translate.documents.splicing import Place, has_words, in_order
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment

_WHITE = " \t\r\n\f"
_TAG_OR_BREAK = re.compile(r"\r\n|\r|\n|<(/?)([A-Za-z][\w:-]*)(?:\s[^<>]*|/)?>")
REFERENCE = "reference"  # a link whose text is also the name of its address: without its tags the text could not be translated
_NO_UNIT = Unit("", Segment(()))
_WHITES = re.compile(rf"[{_WHITE}]+")
_EAST_ASIAN = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")  # without Hangul, whose words have spaces between them

Write = Callable[[Segment, Callable[[Tag], str]], str]


def collapsed(text: str) -> str:
    """Each run of white space as one space; none where a line breaks between two East Asian characters, whose words know no spaces."""
    return _WHITES.sub(_space, text)


def markup_writer(written: str, *, is_xml: bool) -> Write:
    """Writes a translation as HTML or XML, with the entity for spaces that do not break where the source has written it so."""
    keeps_nbsp = "&nbsp;" in written
    return in_order(lambda text: escaped(text, is_xml=is_xml, keeps_nbsp=keeps_nbsp))


def place(
    text: str, run: Sequence[Piece], writer: Callable[[str], Write], *, read: Callable[[str], str] = html.unescape, unit: Unit = _NO_UNIT
) -> Place | None:
    """The unit that a run of text and inline tags is, without the space, the pictures and the pairs of tags around it; None where it has no words.

    `read` makes characters of the source's text; `writer` is told the source of the whole unit, and gives what writes its translation.
    """
    kinds = paired(run)
    low, high = _bounds(text, run, kinds)
    parts: list[str | Tag] = []
    ids: dict[int, int] = {}
    spans: dict[tuple[int, TagKind], tuple[int, int]] = {}
    start, end = (run[low].start, run[high - 1].end) if low < high else (0, 0)
    for index in range(low, high):
        piece = run[index]
        written = text[piece.start : piece.end]
        if piece.kind != "text":
            number, kind = kinds[index]
            tag_id = ids.setdefault(number, len(ids) + 1)
            parts.append(Tag(tag_id, kind, written))
            spans[tag_id, kind] = (piece.start, piece.end)
            continue
        if piece.text is not None:
            parts.append(piece.text)
            continue
        if index == low:
            start += len(written) - len(written.lstrip(_WHITE))
            written = written.lstrip(_WHITE)
        if index == high - 1:
            end -= len(written) - len(written.rstrip(_WHITE))
            written = written.rstrip(_WHITE)
        parts.append(read(written))
    made = segment(collapsed(part) if isinstance(part, str) else part for part in segment(parts).parts)
    if not has_words(made.text):
        return None
    return Place(replace(unit, segment=made), start, end, writer(text[start:end]), spans)


def tagged(value: str, escape: Callable[[str], str] = str) -> Segment:
    """A string of a file that has no markup of its own: its line breaks, and what looks like HTML in it, are tags, written as `escape` writes them."""
    run, at = [], 0
    for found in _TAG_OR_BREAK.finditer(value):
        if found.start() > at:
            run.append(Piece("text", at, found.start()))
        kind: PieceKind = (
            "alone" if not found[2] or found[0].endswith("/>") or found[2].lower() in VOID else "close" if found[1] else "open"
        )
        run.append(Piece(kind, found.start(), found.end(), (found[2] or "").lower()))
        at = found.end()
    run.append(Piece("text", at, len(value)))
    kinds = paired(run)
    pieces = ((index, value[piece.start : piece.end]) for index, piece in enumerate(run))
    return segment(Tag(*kinds[index], escape(text)) if index in kinds else text for index, text in pieces)


def _space(found: re.Match[str]) -> str:
    whole, first, last = found.string, found.start(), found.end()
    is_break = "\n" in found[0] or "\r" in found[0]
    if is_break and first > 0 and last < len(whole) and _EAST_ASIAN.match(whole[first - 1]) and _EAST_ASIAN.match(whole[last]):
        return ""
    return " "


def paired(run: Sequence[Piece]) -> dict[int, tuple[int, TagKind]]:
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
        elif partner.get(low) == high - 1 and first.name != REFERENCE:
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
        return not _written(text, piece).strip(_WHITE)
    return kinds[index][1] == "alone" and piece.kind != "raw"


def _is_empty(text: str, run: Sequence[Piece], low: int, high: int) -> bool:
    return 0 < high - low <= 2 and all(
        piece.kind == "text" and not text[piece.start : piece.end].strip(_WHITE) for piece in run[low + 1 : high]
    )


def _written(text: str, piece: Piece) -> str:
    return text[piece.start : piece.end] if piece.text is None else piece.text
