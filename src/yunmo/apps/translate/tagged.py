"""Texts with tags as segments: what is to be translated is taken out, and put back among tags that nobody has touched.

Elements split the text into segments where the outline says so: in HTML those that browsers put on lines of their own, in XML those among which
no text stands. Others stay in the segment, as its tags.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.markup import REFERENCE, Markup, Piece, pieces_of
from yunmo.apps.translate.segments import Segment, Tag, segment

_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "button",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "frame",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "head",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "noscript",
        "ol",
        "optgroup",
        "option",
        "p",
        "pre",
        "search",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "td",
        "template",
        "textarea",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
        "video",
        "audio",
        "canvas",
        "iframe",
        "object",
    ]
)
"""What browsers put on lines or in places of their own."""

_NO_BREAK = "\xa0"
_XML_NAMES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@dataclass(frozen=True, slots=True)
class TagRules:
    """How tags are handled. Names are as they are written in XML, in lower case for HTML.

    `splitting` ones always begin a segment, `non_splitting` ones never do; what is in `ignored` ones stays as it is. Without `finds_outline` only
    `splitting` ones split. `is_strict` refuses XML that is not well-formed; else its stray signs are text.
    """

    markup: Markup = "xml"
    is_strict: bool = False
    finds_outline: bool = True
    splitting: frozenset[str] = frozenset()
    non_splitting: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text that was read. `parts` are what stays, and the segments with how each was written; `is_escaped` is markup."""

    parts: tuple[str | tuple[Segment, str], ...]
    is_escaped: bool = True

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is to be translated, in its order."""
        return tuple(part[0] for part in self.parts if not isinstance(part, str))

    def write(self, translations: Sequence[Segment]) -> str:
        """The text with its segments' translations. A segment that is given back as it is stays as it was written, to the byte."""
        left = iter(translations)
        return "".join(part if isinstance(part, str) else self._written(next(left), *part) for part in self.parts)

    def _written(self, translation: Segment, source: Segment, raw: str) -> str:
        if translation.parts == source.parts:
            return raw
        if not self.is_escaped:
            return translation.source
        return "".join(part.text if isinstance(part, Tag) else html.escape(part, quote=False) for part in translation.parts)


def read_plain(text: str) -> Tagged:
    """A text without tags as one segment; the white space around it stays."""
    core = text.strip()
    if not any(sign.isalnum() for sign in core):
        return Tagged((text,), is_escaped=False)
    before, _, after = text.partition(core)
    return Tagged((before, (Segment((core,)), core), after), is_escaped=False)


def read_tagged(text: str, rules: TagRules) -> Tagged:
    """Find the segments of a text. Raises Malformed where the rules are strict and the XML is not well-formed."""
    pieces = pieces_of(text, rules.markup, rules.ignored, is_strict=rules.is_strict and rules.markup == "xml")
    splits = _splits_html(pieces, rules) if rules.markup == "html" else _splits_xml(pieces, rules)
    parts: list[str | tuple[Segment, str]] = []
    run: list[int] = []
    for index, piece in enumerate(pieces):
        if splits[index]:
            parts += _parts(pieces, run, rules.markup)
            parts.append(piece.text)
            run = []
        else:
            run.append(index)
    return Tagged((*parts, *_parts(pieces, run, rules.markup)))


def _splits_html(pieces: Sequence[Piece], rules: TagRules) -> list[bool]:
    """HTML leaves out closing tags, so that a name has to say it."""
    named = (_BLOCKS if rules.finds_outline else frozenset()) - rules.non_splitting | rules.splitting
    return [piece.kind in {"open", "close", "alone"} and not piece.is_kept and piece.name in named for piece in pieces]


def _splits_xml(pieces: Sequence[Piece], rules: TagRules) -> list[bool]:
    """XML's names say nothing: elements split where no text stands beside them, nor beside any that they are in."""
    has_text = _holders_of_text(pieces)
    splits = [False] * len(pieces)
    around: list[int] = []
    for index, piece in enumerate(pieces):
        if piece.kind == "close" and piece.partner is not None:
            around.pop()
            splits[index] = splits[piece.partner]
            continue
        if piece.kind not in {"open", "alone"} or piece.is_kept:
            continue
        holder = around[-1] if around else None
        is_outline = rules.finds_outline and holder not in has_text and (holder is None or splits[holder])
        splits[index] = piece.name in rules.splitting or (is_outline and piece.name not in rules.non_splitting)
        if piece.kind == "open":
            around.append(index)
    return splits


def _holders_of_text(pieces: Sequence[Piece]) -> set[int | None]:
    """The elements (None is the whole) in which text, or what stands for it, is directly."""
    holders: set[int | None] = set()
    around: list[int] = []
    for index, piece in enumerate(pieces):
        if piece.kind == "open":
            around.append(index)
        elif piece.kind == "close":
            around.pop()
        elif piece.is_kept or (piece.kind == "text" and piece.text.strip()):
            holders.add(around[-1] if around else None)
    return holders


def _parts(pieces: Sequence[Piece], run: Sequence[int], markup: Markup) -> list[str | tuple[Segment, str]]:
    """A run without a split as what stands before its segment, the segment, and what stands behind it."""
    begin, end = 0, len(run)
    while begin < end and _is_edge(pieces[run[begin]]):
        begin += 1
    while begin < end and _is_edge(pieces[run[end - 1]]):
        end -= 1
    while end - begin > 2 and pieces[run[begin]].partner == run[end - 1]:  # a pair around all of it
        begin, end = begin + 1, end - 1
    before, after = _joined(pieces, run[:begin]), _joined(pieces, run[end:])
    inner, raw = _segment(pieces, run[begin:end], markup), _joined(pieces, run[begin:end])
    if inner is None:
        return [before + raw + after] if run else []
    text = raw.lstrip() if pieces[run[begin]].kind == "text" else raw
    before += raw[: len(raw) - len(text)]
    core = text.rstrip() if pieces[run[end - 1]].kind == "text" else text
    return [before, (inner, core), text[len(core) :] + after]


def _is_edge(piece: Piece) -> bool:
    return piece.kind == "remark" or (piece.kind == "text" and not piece.text.strip())


def _joined(pieces: Sequence[Piece], indices: Sequence[int]) -> str:
    return "".join(pieces[index].text for index in indices)


def _segment(pieces: Sequence[Piece], run: Sequence[int], markup: Markup) -> Segment | None:
    """The run as a segment; None if there is no word in it."""
    parts: list[str | Tag] = []
    inside = set(run)
    ids: dict[int, int] = {}
    for at, index in enumerate(run):
        piece = pieces[index]
        if piece.kind == "text":
            text = piece.text.lstrip() if at == 0 else piece.text
            parts += _decoded(text.rstrip() if at == len(run) - 1 else text, markup, parts)
        elif piece.kind == "open" and piece.partner in inside:
            ids[index] = len(parts)
            parts.append(Tag(len(parts), "open", piece.text))
        elif piece.kind == "close" and piece.partner in ids:
            parts.append(Tag(ids[piece.partner], "close", piece.text))
        else:
            parts.append(Tag(len(parts), "alone", piece.text))
    has_word = any(isinstance(part, str) and any(sign.isalnum() for sign in part) for part in parts)
    return segment(parts) if has_word else None


def _decoded(text: str, markup: Markup, before: Sequence[str | Tag]) -> list[str | Tag]:
    """The text with its characters in place of their references; those that are not known are tags."""
    parts: list[str | Tag] = []
    at = 0
    for found in REFERENCE.finditer(text):
        sign = html.unescape(found[0]) if markup == "html" or found[1].startswith("#") else _XML_NAMES.get(found[1], found[0])
        if sign == found[0] or not (sign.isprintable() or sign == _NO_BREAK):
            parts += [text[at : found.start()], Tag(len(before) + len(parts) + 1, "alone", found[0])]
        else:
            parts += [text[at : found.start()], sign]
        at = found.end()
    return [*parts, text[at:]]
