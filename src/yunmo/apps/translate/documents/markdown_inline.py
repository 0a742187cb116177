"""The inside of a Markdown paragraph, with the place of everything that is no text.

markdown-it tells no places of inline tokens. Each of its rules is wrapped here, so that a token keeps the part of the text that the rule has read.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from yunmo.apps.translate.documents.inline import REFERENCE
from yunmo.apps.translate.documents.markup import VOID, Piece, PieceKind

_PLACE = "place"
_REFERRED = frozenset({"]", "][]"})  # how a link ends whose text is the name of its address
_HTML_NAME = re.compile(r"</?([A-Za-z][\w-]*)")
_FOOTNOTE_OR_MATH = re.compile(r"\[\^[^\[\]\s\0]{1,100}\]:?|\$\$[^$\0]+\$\$|\$(?![\s$])[^$\n\0]+(?<!\s)\$(?!\d)")
_PAIRED = frozenset({"em", "strong", "s", "link", REFERENCE})

_Rule = Callable[[StateInline, bool], bool]


@dataclass(frozen=True, slots=True)
class Inline:
    """A paragraph's pieces with their places in its content.

    `images` are the places of pictures' descriptions; `labels` the texts of links that name their address by that text, by where the link ends.
    """

    pieces: tuple[Piece, ...]
    images: tuple[tuple[int, int], ...]
    labels: Mapping[int, str]


def parser() -> MarkdownIt:
    """GitHub's Markdown, whose inline tokens know their places."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for rule in markdown.inline.ruler.__rules__:
        markdown.inline.ruler.at(rule.name, _placed(rule.name, rule.fn))
    return markdown


def inline(markdown: MarkdownIt, content: str, env: Any) -> Inline:
    """What a paragraph's content is made of. `env` has the addresses that the document's links refer to."""
    tokens = markdown.inline.parse(content, markdown, env, [])
    found = sorted(_markup(tokens), key=lambda piece: piece.start)
    blanked = list(content)
    for piece in found:
        if piece.name not in _PAIRED or piece.end - piece.start > 3:
            blanked[piece.start : piece.end] = "\0" * (piece.end - piece.start)
    matches = (match.span() for match in _FOOTNOTE_OR_MATH.finditer("".join(blanked)))
    kept = [Piece("raw", start, end, "kept") for start, end in matches if _is_balanced(found, start, end)]
    pieces, at = [], 0
    for piece in sorted([*found, *kept], key=lambda piece: (piece.start, -piece.end)):
        if piece.start < at:
            continue
        if piece.start > at:
            pieces.append(Piece("text", at, piece.start))
        pieces.append(piece)
        at = piece.end
    if at < len(content):
        pieces.append(Piece("text", at, len(content)))
    images = tuple(token.meta["label"] for token in tokens if token.type == "image" and "label" in token.meta)
    labels = {token.meta[_PLACE][1]: token.meta["label"] for token in tokens if token.type == "link_close" and "label" in token.meta}
    return Inline(tuple(pieces), images, labels)


def _is_balanced(found: list[Piece], start: int, end: int) -> bool:
    """Whether each format that begins in a part of the text ends in it."""
    opened: list[str] = []
    for piece in found[bisect_left(found, start, key=lambda piece: piece.start) : bisect_left(found, end, key=lambda piece: piece.start)]:
        if piece.kind == "open":
            opened.append(piece.name)
        elif piece.kind == "close" and (not opened or opened.pop() != piece.name):
            return False
    return not opened


def _markup(tokens: list[Token]) -> Iterator[Piece]:
    for token in tokens:
        if token.type == "text" or _PLACE not in token.meta:
            continue
        start, end = token.meta[_PLACE]
        name, _, side = token.type.rpartition("_")
        if token.type == "text_special":
            yield Piece("text", start, end, text=token.content)
        elif token.type == "softbreak":
            yield Piece("text", start, end, text="\n")
        elif token.type == "html_inline":
            yield _html(token.content, start, end)
        elif name in _PAIRED and token.markup != "autolink":
            is_double = name == "strong"  # of its two signs, the inner one became the token
            start, end = start - (is_double and side == "open"), end + (is_double and side == "close")
            yield Piece("open" if side == "open" else "close", start, end, REFERENCE if "label" in token.meta else name)
        else:
            is_word = token.type in {"code_inline", "link_open"}
            yield Piece("raw" if is_word else "alone", start, end, token.type)


def _html(written: str, start: int, end: int) -> Piece:
    name = _HTML_NAME.match(written)
    kind: PieceKind = "close" if written.startswith("</") else "open"
    if not name or written.endswith("/>") or name[1].lower() in VOID:
        kind = "alone"
    return Piece(kind, start, end, f"html {name[1].lower()}" if name else "html")


def _placed(name: str, rule: _Rule) -> _Rule:
    def run(state: StateInline, silent: bool) -> bool:
        start, count = state.pos, len(state.tokens)
        done = rule(state, silent)
        if done and not silent and len(state.tokens) > count:
            _locate(name, state, start, count)
        return done

    return run


def _locate(name: str, state: StateInline, start: int, count: int) -> None:
    """Give the tokens that a rule has made since `count` their places; a text before them is no work of it."""
    last = state.tokens[-1]
    if name == "newline":
        while start and state.src[start - 1] in " \t":
            start -= 1
    if name in {"emphasis", "strikethrough"}:
        _locate_delimiters(state, start, count)
    elif name == "link":
        opening = next(token for token in state.tokens[count:] if token.type == "link_open")
        label_end = state.md.helpers.parseLinkLabel(state, start, True)
        opening.meta[_PLACE], last.meta[_PLACE] = (start, start + 1), (label_end, state.pos)
        if state.src[label_end : state.pos] in _REFERRED:
            opening.meta["label"] = last.meta["label"] = state.src[start + 1 : label_end]
    elif name == "autolink":
        state.tokens[-3].meta[_PLACE] = (start, state.pos)
    elif last.type != "text":
        last.meta[_PLACE] = (start, state.pos)
        end = start + 2 + len(last.content)
        if name == "image" and state.src[end : state.pos] not in _REFERRED:
            last.meta["label"] = (start + 2, end)


def _locate_delimiters(state: StateInline, start: int, count: int) -> None:
    end = state.pos
    for token in reversed(state.tokens[count:]):
        if end <= start:
            break
        token.meta[_PLACE] = (end - len(token.content), end)
        end -= len(token.content)
