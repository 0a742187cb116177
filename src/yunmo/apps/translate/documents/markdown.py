"""Markdown: paragraphs, headings, items, cells and the HTML between them; code, front matter and addresses stay."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yunmo.apps.translate.documents.encoding import read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.html import html_places
from yunmo.apps.translate.documents.inline import collapsed, place
from yunmo.apps.translate.documents.markdown_text import MarkdownText, flat
from yunmo.apps.translate.documents.splicing import Place, SplicedDocument, has_words, in_order, numbered
from yunmo.apps.translate.segments import Tag, TagKind, segment
from yunmo.core.errors import InvalidRequest

MARKDOWN_BYTES, MARKDOWN_LINES = 4 << 20, 100_000
_FRONT_MATTER = re.compile(
    r"(?:---[ \t]*(?:\r\n|\r|\n)(?:.*?(?:\r\n|\r|\n))??(?:---|\.\.\.)|\+\+\+[ \t]*(?:\r\n|\r|\n)(?:.*?(?:\r\n|\r|\n))??\+\+\+)[ \t]*(?:\r\n|\r|\n|\Z)",
    re.DOTALL,
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_PREFIX = re.compile(r"\[[ xX]\][ \t]+|\[\^[^\]\s]+\]:[ \t]+|:::+[^\n]*\n|\[![A-Z]+\][ \t]*\n")
_DIVIDER = re.compile(r"(?<!\\)\|")
_HTML: dict[str, dict[TagKind, str]] = {
    "em": {"open": "<em>", "close": "</em>"},
    "strong": {"open": "<strong>", "close": "</strong>"},
    "s": {"open": "<del>", "close": "</del>"},
}
_SIGNS = re.compile(r"[\\`*_\[\]<>&~$|#!^]")


class MarkdownFormat:
    """CommonMark with GitHub's tables, strikethrough and task lists, footnotes, and TeX between dollars."""

    name = "markdown"
    extensions = (".md", ".markdown", ".mdown", ".mkd")
    media_types = ("text/markdown", "text/x-markdown")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The document's blocks in reading order, inline formats as tags."""
        del options
        source = read_text(path, limit=MARKDOWN_BYTES)
        if len(_LINE_END.findall(source.text)) > MARKDOWN_LINES:
            raise InvalidRequest(f"The file has more than the {MARKDOWN_LINES:,} lines that are read of Markdown: split it.")
        return SplicedDocument(source, numbered(_Reader(source.text).places()))


@dataclass(frozen=True, slots=True)
class _Block:
    """A block's content as Markdown reads it, and where each of its characters stands in the source, with one place more for its end."""

    content: str
    offsets: Sequence[int]
    kind: str

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the source of a part of the content."""
        if start == end:
            return self.offsets[start], self.offsets[start]
        return self.offsets[start], self.offsets[end] if self.content[end - 1] == "\n" else self.offsets[end - 1] + 1


class _Reader:
    def __init__(self, text: str) -> None:
        from yunmo.apps.translate.documents.markdown_inline import parser

        front = _FRONT_MATTER.match(text)
        self._text, self._body = text, front.end() if front else 0
        self._starts = [self._body, *(found.end() for found in _LINE_END.finditer(text, self._body)), len(text)]
        self._last = (-1, "")  # a table's row is asked for once for each of its cells
        self._markdown, self._env = parser(), dict[str, Any]()
        self._markdown.core.ruler.enableOnly(["normalize", "block"])
        self._tokens = self._markdown.parse(text[self._body :], self._env)

    def places(self) -> Iterator[Place]:
        row: dict[int, int] = {}
        for index, token in enumerate(self._tokens):
            if token.type == "html_block" and token.level == 0 and token.map:
                yield from html_places(self._text, self._starts[token.map[0]], self._starts[token.map[1]])
            if token.type != "inline" or not token.map or not token.content:
                continue
            kind = self._tokens[index - 1].type.removesuffix("_open")
            if kind in {"th", "td"}:
                block = self._cell(token.map[0], token.content, row)
            else:
                block = self._block(token.map[0], token.content, kind, self._tokens[index - 1].markup)
            if block:
                yield from self._block_places(block)

    def _line(self, number: int) -> tuple[int, str]:
        if self._last[0] != number:
            self._last = (number, self._text[self._starts[number] : self._starts[number + 1]].rstrip("\r\n"))
        return self._starts[number], self._last[1]

    def _block(self, first: int, content: str, kind: str, markup: str) -> _Block | None:
        """A paragraph's or heading's lines are the ends of its source's lines, behind what quotes and lists begin them with."""
        offsets: list[int] = []
        for number, line in enumerate(content.split("\n"), first):
            start, written = self._line(number)
            words, trailing = line.strip(), len(line) - len(line.rstrip())
            at = written.rfind(words) if "#" in markup else len(written.rstrip()) - len(words)
            if at < 0 or written[at : at + len(words)] != words:
                return None
            leading = len(line) - trailing - len(words)
            offsets += [start + at] * leading + list(range(start + at, start + at + len(words) + trailing)) + [start + len(written)]
        offsets[-1] = offsets[-2] + 1
        return _Block(content, offsets, "atx" if "#" in markup else kind)

    def _cell(self, number: int, content: str, row: dict[int, int]) -> _Block | None:
        """The next cell of a row that holds this content; `row` has where the row's last one ended."""
        start, written = self._line(number)
        while (begin := row.get(number, 0)) < len(written):
            end = next((found.start() for found in _DIVIDER.finditer(written, begin)), len(written))
            row[number] = end + 1
            offsets = [start + at for at in range(begin, end) if not written.startswith("\\|", at)]
            text = "".join(self._text[at] for at in offsets).rstrip()
            if text.strip() == content or (begin == 0 and text.endswith(content)):
                offsets = offsets[len(text) - len(content) : len(text)]
                return _Block(content, [*offsets, offsets[-1] + 1], "cell")
        return None

    def _block_places(self, block: _Block) -> Iterator[Place]:
        from yunmo.apps.translate.documents.markdown_inline import inline

        content, made = block.content, inline(self._markdown, block.content, self._env)
        prefix = _PREFIX.match(content)
        first = prefix.end() if prefix else 0
        run = [replace(piece, start=max(first, piece.start)) if piece.text is None else piece for piece in made.pieces if piece.end > first]
        for start, end in made.images:
            if has_words(content[start:end]) and not _SIGNS.search(content[start:end]):
                unit = Unit("", segment([collapsed(content[start:end])]), "image description")
                yield Place(unit, *block.span(start, end), in_order(lambda text: _SIGNS.sub(r"\\\g<0>", collapsed(text))))
        found = place(content, run, lambda _: in_order(str), read=str)
        if found is None:
            return
        labels = {key: f"][{made.labels[end]}]" for key, (_, end) in found.spans.items() if key[1] == "close" and end in made.labels}
        names = {piece.start: piece.name for piece in run}
        read = {key: content[start:end] for key, (start, end) in found.spans.items()} | labels
        as_html = {
            key: _HTML[names[start]][key[1]] for key, (start, _) in found.spans.items() if names[start] in _HTML and key[1] in _HTML["em"]
        }
        written = MarkdownText(
            before=content[: found.start],
            behind=content[found.end :],
            is_cell=block.kind == "cell",
            is_heading=block.kind == "atx",
            tags=read,
            labels=labels,
            as_html=as_html,
            pieces_of=self._pieces_of,
        )
        spans = {key: block.span(*span) for key, span in found.spans.items()}
        start, end = block.span(found.start, found.end)
        yield replace(found, unit=self._as_in_source(found.unit, spans), start=start, end=end, spans=spans, write=written.write)

    def _as_in_source(self, unit: Unit, spans: Mapping[tuple[int, TagKind], tuple[int, int]]) -> Unit:
        tags = {key: Tag(*key, self._text[start:end]) for key, (start, end) in spans.items()}
        return replace(unit, segment=segment(part if isinstance(part, str) else tags[part.id, part.kind] for part in unit.segment.parts))

    def _pieces_of(self, content: str) -> list[str]:
        from yunmo.apps.translate.documents.markdown_inline import inline

        made = inline(self._markdown, content, self._env)
        return flat([(piece.text or content[piece.start : piece.end], piece.kind == "text") for piece in made.pieces])
