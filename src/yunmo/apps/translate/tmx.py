"""TMX 1.4b, the exchange format of translation memories (GALA, 2005): read unit by unit within limits, and written as it is read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from yunmo.apps.translate import languages
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment
from yunmo.core.errors import InvalidRequest, TooLarge


@dataclass(frozen=True, slots=True)
class Unit:
    """The same text in several languages, by their codes (BCP 47). Tags that belong together have the same id in all of them."""

    variants: Mapping[str, Segment]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read before it is refused."""

    bytes: int = 512 * 1024 * 1024
    units: int = 1_000_000
    characters: int = 50_000


def read(file: BinaryIO, limits: Limits | None = None) -> Iterator[Unit]:
    """The units of a TMX file, while it is read. Variants in languages that are not known are passed over.

    Raises InvalidRequest for what is not TMX, is damaged or declares entities (an external DTD is named by most files, and is never loaded);
    TooLarge for a file or a text over the limits.
    """
    reader = _Reader(limits or Limits())
    size = 0
    while block := file.read(_BLOCK):
        size += len(block)
        if size > reader.limits.bytes:
            raise TooLarge(f"The TMX file is larger than {reader.limits.bytes} bytes; split it.")
        reader.feed(block)
        yield from reader.taken()
    reader.feed(b"", is_last=True)
    yield from reader.taken()


def write(file: BinaryIO, units: Iterable[Unit], source_language: str) -> None:
    """Write units as TMX 1.4 in UTF-8, one by one. Characters that XML cannot carry are left out."""
    header = f'<header creationtool="Yunmo" creationtoolversion="1" segtype="sentence" o-tmf="Yunmo" adminlang="en" srclang={quoteattr(source_language)}'
    file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4">\n{header} datatype="plaintext"/>\n<body>\n'.encode())
    for unit in units:
        variants = "".join(f"<tuv xml:lang={quoteattr(code)}><seg>{_written(one)}</seg></tuv>" for code, one in unit.variants.items())
        file.write(f"<tu>{variants}</tu>\n".encode())
    file.write(b"</body>\n</tmx>\n")


_BLOCK = 64 * 1024
_DEEPEST = 32
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS: Mapping[str, TagKind] = {"bpt": "open", "ept": "close", "ph": "alone", "ut": "alone"}


def _written(one: Segment) -> str:
    paired = {tag.id for tag in one.tags if tag.kind == "open"} & {tag.id for tag in one.tags if tag.kind == "close"}
    return "".join(_clean(part) if isinstance(part, str) else _element(part, is_paired=part.id in paired) for part in one.parts)


def _element(tag: Tag, *, is_paired: bool) -> str:
    if tag.kind == "alone":
        return f'<ph x="{tag.id}">{_clean(tag.text)}</ph>'
    if is_paired:
        name, attributes = ("bpt", f'i="{tag.id}" x="{tag.id}"') if tag.kind == "open" else ("ept", f'i="{tag.id}"')
        return f"<{name} {attributes}>{_clean(tag.text)}</{name}>"
    return f'<it pos="{"begin" if tag.kind == "open" else "end"}" x="{tag.id}">{_clean(tag.text)}</it>'


def _clean(text: str) -> str:
    return escape(_NOT_XML.sub("", text), {"\r": "&#13;"})


@dataclass(slots=True)
class _Text:
    """A segment that is being read: its parts, and the inline element whose native code is being collected."""

    parts: list[str | Tag] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    inline: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    highlights: list[int] = field(default_factory=list)
    length: int = 0


class _Reader:
    """Handlers of one parser."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._units: list[Unit] = []
        self._count = 0
        self._path: list[str] = []
        self._language: str | None = None
        self._variants: dict[str, Segment] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._text: _Text | None = None
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._refuse_entities
        self._parser.SkippedEntityHandler = self._refuse_entities

    def feed(self, block: bytes, *, is_last: bool = False) -> None:
        try:
            self._parser.Parse(block, is_last)
        except expat.ExpatError as failure:
            raise InvalidRequest(
                f"The TMX file is damaged at line {failure.lineno}: {expat.ErrorString(failure.code)}. Export it again."
            ) from failure

    def taken(self) -> Iterator[Unit]:
        units, self._units = self._units, []
        yield from units

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "tmx":
            raise InvalidRequest(f"The file is not TMX: it begins with <{name[:40]}>, not with <tmx>.")
        self._path.append(name)
        if len(self._path) > _DEEPEST:
            raise InvalidRequest(f"The TMX file nests more than {_DEEPEST} elements.")
        if name == "tu":
            self._variants, self._ids = {}, {}
        elif name == "tuv":
            self._language = _known(attributes.get("xml:lang") or attributes.get("lang") or "")
        elif name == "seg":
            self._text = _Text()
        elif self._text is not None:
            self._begin_inline(self._text, name, attributes)

    def _end(self, name: str) -> None:
        self._path.pop()
        if name == "seg" and self._text is not None:
            read = segment(self._text.parts)
            if self._language is not None and read.parts:
                self._variants[self._language] = read
            self._text = None
        elif self._text is not None:
            self._end_inline(self._text, name)
        elif name == "tu" and len(self._variants) > 1:
            self._count += 1
            if self._count > self.limits.units:
                raise TooLarge(f"The TMX file has more than {self.limits.units} units; split it.")
            self._units.append(Unit(self._variants))

    def _characters(self, data: str) -> None:
        if self._text is None:
            return
        self._text.length += len(data)
        if self._text.length > self.limits.characters:
            raise TooLarge(f"A text at line {self._parser.CurrentLineNumber} has more than {self.limits.characters} characters; split it.")
        (self._text.code if self._text.inline else self._text.parts).append(data)

    def _begin_inline(self, text: _Text, name: str, attributes: Mapping[str, str]) -> None:
        if text.inline:
            # <sub> and what is in it is code of the element around
            text.inline.append((name, {}))
        elif name == "hi":
            text.highlights.append(self._id("hi", attributes.get("x", str(len(text.highlights) + len(text.parts)))))
            text.parts.append(Tag(text.highlights[-1], "open"))
        else:
            text.inline.append((name, attributes))

    def _end_inline(self, text: _Text, name: str) -> None:
        if name == "hi" and not text.inline:
            text.parts.append(Tag(text.highlights.pop(), "close"))
            return
        _, attributes = text.inline.pop()
        if text.inline:
            return
        code, text.code = "".join(text.code), []
        text.parts.append(self._tag(text, name, attributes, code))

    def _tag(self, text: _Text, name: str, attributes: Mapping[str, str], code: str) -> Tag:
        if name in {"bpt", "ept"}:
            return Tag(self._id("pair", attributes.get("i", "")), _KINDS[name], code)
        if name == "it":
            kind: TagKind = "close" if attributes.get("pos") == "end" else "open"
            return Tag(self._id(f"it {kind}", attributes.get("x", "")), kind, code)
        alone = sum(isinstance(part, Tag) and part.kind == "alone" for part in text.parts)
        return Tag(self._id("ph", attributes.get("x") or f"#{alone}"), "alone", code)

    def _id(self, family: str, name: str) -> int:
        """The id of a tag in all variants of the unit: its own number where that is free."""
        key = (family, name)
        if key not in self._ids:
            taken = set(self._ids.values())
            own = int(name) if name.isascii() and name.isdigit() and len(name) < 8 else 0
            self._ids[key] = own if own and own not in taken else max(taken, default=0) + 1
        return self._ids[key]

    def _refuse_entities(self, *_: object) -> None:
        raise InvalidRequest("The TMX file declares or uses entities of its own, which are not read; export it without them.")


def _known(code: str) -> str | None:
    try:
        return languages.parse(code).code
    except InvalidRequest:
        return None
