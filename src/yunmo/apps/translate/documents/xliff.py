"""XLIFF 1.2 and 2: targets are filled beside their sources; what has a target stays."""

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yunmo.apps.translate.documents.encoding import read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import collapsed, paired
from yunmo.apps.translate.documents.markup import Piece, escaped, pieces
from yunmo.apps.translate.documents.splicing import Edit, Place, SplicedDocument, has_words, in_order, numbered
from yunmo.apps.translate.documents.xml import parse_xml
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment
from yunmo.core.errors import InvalidRequest

_NOTE_CHARACTERS = 500
_UNITS = frozenset({"trans-unit", "segment"})
_WHOLE = frozenset({"bpt", "ept", "ph", "it", "ut"})
_UNTRANSLATED_STATES = frozenset({"new", "needs-translation"})


class XliffFormat:
    """`.xlf` files of versions 1.2, 2.0 and 2.1."""

    name = "xliff"
    extensions = (".xlf", ".xliff", ".sdlxliff", ".mqxliff")
    media_types = ("application/xliff+xml", "application/x-xliff+xml")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The sources that have no target yet; their inline codes are tags."""
        del options
        source = read_text(path)
        root = parse_xml(path.read_bytes(), "The file")
        version = root.get("version", "")
        if root.tag.rpartition("}")[2] != "xliff" or version[:2] not in {"1.", "2."}:
            raise InvalidRequest(
                f"The file is not XLIFF of a version that is read (1.2, 2.0, 2.1) but <{root.tag}> {version}: export it as one of these."
            )
        reader = _Reader(source.text)
        places = numbered(reader.places())
        return SplicedDocument(source, places, lambda target: _language_edits(reader.heads, target), "xmlcharrefreplace", fills=True)


@dataclass(slots=True)
class _Element:
    """An open element, and what a unit's has had in it so far."""

    piece: Piece
    name: str
    is_translated: bool
    keeps_space: bool
    source: list[Piece] = field(default_factory=list)
    source_tag: Piece | None = None
    insert_at: int = 0
    target: tuple[Piece, int, bool] | None = None
    notes: list[str] = field(default_factory=list)


class _Reader:
    """One pass over the pieces, with the open elements on a stack."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack: list[_Element] = []
        self.heads: list[Piece] = []

    def places(self) -> Iterator[Place]:
        stream = pieces(self._text, is_xml=True)
        for piece in stream:
            name = piece.name.rpartition(":")[2]
            if piece.kind in {"open", "alone"}:
                if name in {"file", "xliff"}:
                    self.heads.append(piece)
                self._open(piece, name, stream)
            elif piece.kind == "close":
                closed = self._stack.pop()
                if closed.name in _UNITS and (found := self._place(closed)):
                    yield found

    def _open(self, piece: Piece, name: str, stream: Iterator[Piece]) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent and parent.name in _UNITS and name in {"source", "seg-source", "target"}:
            inner, end = self._inside(piece, stream)
            self._take(parent, piece, name, inner, end)
        elif parent and name == "note":
            inner, _ = self._inside(piece, stream)
            words = collapsed(html.unescape("".join(self._text[part.start : part.end] for part in inner if part.kind == "text"))).strip()
            holder = next((element for element in reversed(self._stack) if element.name in {"unit", "trans-unit"}), parent)
            holder.notes.append(words[:_NOTE_CHARACTERS])
        elif piece.kind == "open":
            own = piece.value("translate")
            is_translated = own != "no" if own else parent is None or parent.is_translated
            space = piece.value("xml:space")
            keeps_space = space == "preserve" if space else parent is not None and parent.keeps_space
            self._stack.append(_Element(piece, name, is_translated, keeps_space))

    def _inside(self, first: Piece, stream: Iterator[Piece]) -> tuple[list[Piece], int]:
        """The pieces of an element, and where it ends."""
        inner: list[Piece] = []
        depth = int(first.kind == "open")
        end = first.end
        while depth:
            piece = next(stream)
            depth += (piece.kind == "open") - (piece.kind == "close")
            end = piece.end
            if depth:
                inner.append(piece)
        return inner, end

    def _take(self, unit: _Element, piece: Piece, name: str, inner: list[Piece], end: int) -> None:
        if name == "target":
            is_empty = not any(part.kind != "text" or self._text[part.start : part.end].strip() for part in inner)
            unit.target = (piece, end, is_empty or piece.value("state") in _UNTRANSLATED_STATES)
            return
        unit.insert_at = end
        if name == "source":
            unit.source, unit.source_tag = inner, piece

    def _place(self, unit: _Element) -> Place | None:
        if (
            not unit.is_translated
            or unit.source_tag is None
            or unit.piece.value("approved") == "yes"
            or (unit.target and not unit.target[2])
        ):
            return None
        keeps_space = unit.source_tag.value("xml:space") == "preserve" or unit.keeps_space
        made, spans = self._segment(unit.source, keeps_space=keeps_space)
        if not has_words(made.text):
            return None
        start, end = (unit.target[0].start, unit.target[1]) if unit.target else (unit.insert_at, unit.insert_at)
        return Place(Unit("", made, self._note(unit)), start, end, self._write(unit, unit.source_tag), spans)

    def _note(self, unit: _Element) -> str:
        around = [note for element in self._stack if element.name == "unit" for note in element.notes[:3]]
        holder = next((element for element in reversed(self._stack) if element.name == "unit"), unit)
        return "; ".join(filter(None, [holder.piece.value("id"), *around, *unit.notes[:3]]))[:_NOTE_CHARACTERS]

    def _segment(self, inner: list[Piece], *, keeps_space: bool) -> tuple[Segment, Mapping[tuple[int, TagKind], tuple[int, int]]]:
        run = list(_whole(inner))
        kinds = paired(run)
        parts: list[str | Tag] = []
        spans: dict[tuple[int, TagKind], tuple[int, int]] = {}
        for index, piece in enumerate(run):
            written = self._text[piece.start : piece.end]
            if piece.kind == "text":
                parts.append(html.unescape(written if keeps_space else collapsed(written)))
            elif piece.kind == "cdata":
                parts.append(written[9:-3])
            else:
                parts.append(Tag(*kinds[index], written))
                spans[kinds[index]] = (piece.start, piece.end)
        if not keeps_space and parts and isinstance(parts[0], str):
            parts[0] = parts[0].lstrip()
        if not keeps_space and parts and isinstance(parts[-1], str):
            parts[-1] = parts[-1].rstrip()
        return segment(parts), spans

    def _write(self, unit: _Element, source: Piece) -> Callable[[Segment, Callable[[Tag], str]], str]:
        content = in_order(lambda text: escaped(text, is_xml=True))
        name = source.name.removesuffix("source") + "target"
        opening, before = f"<{name}>", ""
        if unit.target:
            opening = _opening(self._text, unit.target[0])
        else:
            line = self._text.rfind("\n", 0, source.start)
            before = self._text[line - (self._text[line - 1 : line] == "\r") : source.start] if line >= 0 else ""
            before = before if not before.strip() else ""
        return lambda translation, tag_text: f"{before}{opening}{content(translation, tag_text)}</{name}>"


def _whole(inner: Iterable[Piece]) -> Iterator[Piece]:
    """Native code, and what is marked to stay, as one piece each."""
    first: Piece | None = None
    depth = 0
    for piece in inner:
        if first is None and piece.kind == "open" and _is_whole(piece):
            first, depth = piece, 0
        if first is None:
            yield piece if piece.kind in {"text", "open", "close", "cdata"} else Piece("alone", piece.start, piece.end, piece.name)
            continue
        depth += (piece.kind == "open") - (piece.kind == "close")
        if not depth:
            yield Piece("alone", first.start, piece.end, first.name)
            first = None


def _is_whole(piece: Piece) -> bool:
    name = piece.name.rpartition(":")[2]
    return name in _WHOLE or (name == "mrk" and (piece.value("mtype") == "protected" or piece.value("translate") == "no"))


def _opening(text: str, target: Piece) -> str:
    """A target's opening tag, which says no longer that it waits."""
    written = text[target.start : target.end]
    state = target.attribute("state")
    if state and state.value in _UNTRANSLATED_STATES:
        written = written[: state.start - target.start] + "translated" + written[state.end - target.start :]
    return written[:-2].rstrip() + ">" if written.endswith("/>") else written


def _language_edits(heads: Sequence[Piece], target: str) -> Iterator[Edit]:
    """The target language as the root of version 2, and each file of version 1, names it."""
    root, *files = heads
    name, holders = ("trgLang", [root]) if root.value("version").startswith("2") else ("target-language", files)
    for piece in holders:
        found = piece.attribute(name)
        if found:
            yield Edit(found.start, found.end, target)
        else:
            at = piece.start + 1 + len(piece.name)
            yield Edit(at, at, f' {name}="{target}"')
