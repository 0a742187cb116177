"""Paragraphs of WordprocessingML (`w:p`): read into runs and marks, and written again (ECMA-376 part 1, 17.3 and 17.16)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.runs import Item, Mark, Paragraph, Run, paragraph_of
from yunmo.apps.translate.documents.office.spans import Element, Piece, Source, Span, Splice, escaped
from yunmo.apps.translate.documents.office.word_properties import appearance, is_hidden, paragraph_properties, run_properties
from yunmo.apps.translate.segments import Segment, TagKind

_HOLDERS = {"w:hyperlink", "w:ins", "w:moveTo", "w:smartTag", "w:customXml", "w:dir", "w:bdo"}
_HOLDERS_PROPERTIES = {"w:smartTagPr", "w:customXmlPr"}
_CHOSEN_CONTROLS = {"w:dropDownList", "w:comboBox", "w:date", "w:picture", "w14:checkbox", "w:docPartList"}
_PASSED = {"w:proofErr", "w:lastRenderedPageBreak", "w:softHyphen", "w:rPr", "w:pPr"}
_LABELS = {"w:tab": "\t", "w:cr": "\n"}
_FIELD_PARTS = {"w:fldChar", "w:instrText", "w:delInstrText"}
_WRITTEN = re.compile("([\n\t\u2011])")


@dataclass(frozen=True, slots=True)
class _Token:
    """An item as it was read. `pieces` write a run as the source has it; `role` is an item's part in a field, `instruction` some of the field's code."""

    item: Item
    pieces: tuple[Piece, ...]
    role: str = ""
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class WordParagraph:
    """A paragraph with words to translate; `formats` are the properties that its runs' formats number, `styled` the East Asian fonts of styles."""

    source: Source
    element: Element
    paragraph: Paragraph
    formats: Sequence[Element | None]
    styled: Sequence[str]

    @property
    def segment(self) -> Segment:
        return self.paragraph.segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        prefix = self.source.prefix(self.element)
        properties = self.element.child("w:pPr")
        start = properties.span.end if properties else self.element.inner.start
        pieces: list[Piece] = []
        changed = paragraph_properties(self.source, properties, prefix, culture)
        if changed is not None:
            start = properties.span.start if properties else start
            pieces.append(changed)
        for item in self.paragraph.items(translation):
            if isinstance(item, Mark):
                pieces += item.pieces
            else:
                written = run_properties(self.source, self.formats[item.format], prefix, culture, self.styled)
                pieces.append(b"<" + prefix + b"r>" + written + _text(item.text, prefix) + b"</" + prefix + b"r>")
        return [Splice(Span(start, self.element.inner.end), tuple(pieces))]


def read_word_paragraph(source: Source, element: Element, styled: Sequence[str]) -> WordParagraph | None:
    """The paragraph, or None where it has no word to translate. Paragraphs within it (in text boxes) are not read."""
    reader = _Reader(source, source.prefix(element))
    items = [token.item for token in _with_fields(list(reader.content(element)))]
    paragraph = paragraph_of(items)
    return WordParagraph(source, element, paragraph, reader.formats, styled) if paragraph else None


@dataclass(slots=True)
class _Reader:
    source: Source
    prefix: bytes
    formats: list[Element | None] = field(default_factory=list)
    numbers: dict[object, int] = field(default_factory=dict)

    def content(self, element: Element) -> Iterator[_Token]:
        for child in element.children:
            if child.name == "w:r":
                yield from self._run(child)
            elif child.name in _HOLDERS or (child.name == "w:fldSimple" and _is_link(child.attributes.get("w:instr", ""))):
                yield from self._held(child, child)
            elif child.name == "w:sdt" and (inside := _free_content(child)):
                yield from self._held(child, inside)
            elif child.name not in _PASSED:
                yield _mark("alone", child.span)

    def _held(self, holder: Element, content: Element) -> Iterator[_Token]:
        """A pair of marks around what the content holds, properties in front of it belonging to the first."""
        if not content.inner.start:
            yield _mark("alone", holder.span)
            return
        start = max([content.inner.start, *(child.span.end for child in content.children if child.name in _HOLDERS_PROPERTIES)])
        yield _mark("open", Span(holder.span.start, start))
        yield from (token for token in self.content(content))
        yield _mark("close", Span(content.inner.end, holder.span.end))

    def _run(self, run: Element) -> Iterator[_Token]:
        properties = run.child("w:rPr")
        number = self._number(properties)
        for child in run.children:
            if child.name in _PASSED:
                continue
            pieces = self._alone_in_run(properties, child)
            if is_hidden(properties):
                yield _Token(Mark("alone", pieces, format=number), pieces)
            elif child.name == "w:ruby":
                base = child.child("w:rubyBase")
                yield from (token for each in (base.children if base else []) if each.name == "w:r" for token in self._run(each))
            elif (text := self._text(child)) is not None:
                yield _Token(Run(text, number), pieces)
            else:
                label = "\n" if child.name == "w:br" and child.attributes.get("w:type", "textWrapping") == "textWrapping" else ""
                mark = Mark("alone", pieces, _LABELS.get(child.name, label), number)
                role = child.attributes.get("w:fldCharType", "code") if child.name in _FIELD_PARTS else ""
                yield _Token(mark, pieces, role, self.source.text(child) if role == "code" else "")

    def _text(self, element: Element) -> str | None:
        """What an element of a run says, None where it is not a text."""
        if element.name == "w:noBreakHyphen":
            return "\u2011"
        if element.name != "w:t":
            return None
        text = self.source.text(element).replace("\n", " ")
        return text if element.attributes.get("xml:space") == "preserve" else text.strip(" \t")

    def _alone_in_run(self, properties: Element | None, child: Element) -> tuple[Piece, ...]:
        """A child of a run as a run of its own."""
        start = b"<" + self.prefix + b"r>"
        return (start, *([properties.span] if properties else []), child.span, b"</" + self.prefix + b"r>")

    def _number(self, properties: Element | None) -> int:
        look = appearance(self.source, properties)
        if look not in self.numbers:
            self.numbers[look] = len(self.formats)
            self.formats.append(properties)
        return self.numbers[look]


def _with_fields(tokens: Sequence[_Token]) -> Iterator[_Token]:
    """Each field that begins and ends here as one mark: its result is computed. Of a link, the result is text between a pair of marks."""
    at, ends = 0, _field_ends(tokens)
    while at < len(tokens):
        end = ends.get(at)
        if end is None:
            yield tokens[at]
            at += 1
            continue
        inside = tokens[at : end + 1]
        separate = _separate(inside)
        code = "".join(token.instruction for token in inside[: separate or len(inside)])
        if separate and _is_link(code) and not any(_is_pair(token.item, "open", "close") for token in inside[: separate + 1]):
            yield _joined("open", inside[: separate + 1])
            yield from _with_fields(inside[separate + 1 : -1])
            yield _joined("close", inside[-1:])
        else:
            yield _joined("alone", inside)
        at = end + 1


def _field_ends(tokens: Sequence[_Token]) -> dict[int, int]:
    """Where fields end, by where they begin: those that end here, and do not reach into or out of a link or the like."""
    ends = {}
    opened: list[int] = []
    for at, token in enumerate(tokens):
        if token.role == "begin" or _is_pair(token.item, "open"):
            opened.append(at)
        elif token.role == "end" and opened and tokens[opened[-1]].role == "begin":
            ends[opened.pop()] = at
        elif _is_pair(token.item, "close"):
            while tokens[opened.pop()].role == "begin":
                pass
    return ends


def _separate(inside: Sequence[_Token]) -> int | None:
    """Where the outermost field's result begins."""
    depth = 0
    for at, token in enumerate(inside):
        depth += {"begin": 1, "end": -1}.get(token.role, 0)
        if depth == 1 and token.role == "separate":
            return at
    return None


def _joined(kind: TagKind, tokens: Sequence[_Token]) -> _Token:
    pieces = tuple(piece for token in tokens for piece in token.pieces)
    formats = {token.item.format for token in tokens}
    return _Token(Mark(kind, pieces, format=formats.pop() if len(formats) == 1 else None), pieces)


def _mark(kind: TagKind, span: Span) -> _Token:
    return _Token(Mark(kind, (span,)), (span,))


def _is_pair(item: Item, *kinds: TagKind) -> bool:
    return isinstance(item, Mark) and item.kind in kinds


def _is_link(instruction: str) -> bool:
    return instruction.split()[:1] in (["HYPERLINK"], ["hyperlink"])


def _free_content(control: Element) -> Element | None:
    """The content of a control that people write into; what is chosen from a list must stay one of it."""
    properties = control.child("w:sdtPr")
    if properties and any(child.name in _CHOSEN_CONTROLS for child in properties.children):
        return None
    return control.child("w:sdtContent")


def _text(text: str, prefix: bytes) -> bytes:
    """Text within a run; breaks, tabs and hyphens that do not break have elements of their own."""
    elements = {"\n": b"<" + prefix + b"br/>", "\t": b"<" + prefix + b"tab/>", "\u2011": b"<" + prefix + b"noBreakHyphen/>"}
    written = b""
    for part in _WRITTEN.split(text):
        if part:
            space = b' xml:space="preserve"' if part != part.strip() or "  " in part else b""
            written += elements.get(part) or b"<" + prefix + b"t" + space + b">" + escaped(part) + b"</" + prefix + b"t>"
    return written
