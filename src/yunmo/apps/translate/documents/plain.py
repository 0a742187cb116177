"""Plain text: paragraphs, of which only the places are kept in memory."""

import mmap
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from yunmo.apps.translate.documents.encoding import TEXT_BYTES, decode, encoding_of
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import collapsed
from yunmo.apps.translate.documents.lines import balanced, width
from yunmo.apps.translate.documents.output import whole_file
from yunmo.apps.translate.documents.splicing import check_tags, has_words
from yunmo.apps.translate.segments import Segment, segment
from yunmo.core.errors import InvalidRequest

PLAIN_BYTES, LINE_BYTES, PARAGRAPHS = 128 << 20, 4 << 20, 4_000_000
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_LINES_OF_ONE = re.compile(rb"[ \t]*(?:[-*+\xe2#>|=]|\d{1,3}[.)]|[A-Za-z][.)] )")
_WRAPPED_WIDTH = range(40, 121)
_ASCII_LIKE = re.compile(r"(?!utf-16|utf-32|utf_16|utf_32|iso2022|hz)")
_CHUNK = 1 << 20

_Data = bytes | mmap.mmap


class PlainFormat:
    """Text without markup. A line is a paragraph, and so are lines that were wrapped at one width, up to an empty one."""

    name = "txt"
    extensions = (".txt", ".text")
    media_types = ("text/plain",)

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The text's paragraphs; a file of up to 128 MB stays on the disk."""
        del options
        size = path.stat().st_size
        if size > PLAIN_BYTES:
            raise InvalidRequest(f"The file has {size:,} bytes, more than the {PLAIN_BYTES:,} that are read of plain text: split it.")
        with path.open("rb") as file:
            encoding, mark = encoding_of(file.read(_CHUNK))
        if _ASCII_LIKE.match(encoding):
            return PlainDocument(_mapped(path), encoding, encoding, len(mark))
        if size > TEXT_BYTES:
            raise InvalidRequest(
                f"The file has {size:,} bytes of {encoding}, more than the {TEXT_BYTES:,} that are read: save it as UTF-8."
            )
        text = decode(path.read_bytes())
        sign = "\ufeff" if text.mark else ""
        return PlainDocument((sign + text.text).encode(), "utf-8", text.encoding, len(sign.encode()))


class PlainDocument(Sequence[Unit]):
    """A text that was read: its own sequence of units, each made when it is asked for.

    `data` is in `encoding`, in which no byte of a line end is a part of another character; the file is in `written`.
    """

    def __init__(self, data: _Data, encoding: str, written: str, start: int) -> None:
        self._data, self._encoding, self._written = data, encoding, written
        self._starts, self._ends = array("Q"), array("Q")
        for first, last in _paragraphs(data, start, encoding):
            self._starts.append(first)
            self._ends.append(last)
            if len(self._ends) > PARAGRAPHS:
                raise InvalidRequest(f"The file has more than the {PARAGRAPHS:,} paragraphs that are read of plain text: split it.")

    @property
    def units(self) -> Sequence[Unit]:
        return self

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | list[Unit]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        return Unit(str(number + 1), segment([collapsed(self._text(number))]))

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the text; a paragraph that was wrapped is wrapped again. Where its encoding lacks a character, the file becomes UTF-8."""
        del target
        unknown = next((key for key in translations if not (key.isdecimal() and 0 < int(key) <= len(self))), None)
        if unknown is not None:
            raise InvalidRequest(f"The document has no unit {unknown!r}: translate the units of the file that is written.")
        written = self._written
        for key, translation in translations.items():
            check_tags(self[int(key) - 1], translation)
            if not _fits(translation.source, written):
                written = "utf-8"
        with whole_file(path) as file:
            at = 0
            for number in range(len(self)):
                given = translations.get(str(number + 1))
                if given is None or given == self[number].segment:
                    continue
                self._copy(file, at, self._starts[number], written)
                file.write(self._laid_out(number, given.source).encode(written, "replace"))
                at = self._ends[number]
            self._copy(file, at, len(self._data), written)

    def _text(self, number: int) -> str:
        try:
            return self._data[self._starts[number] : self._ends[number]].decode(self._encoding)
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"The file is not {self._encoding} throughout ({error.reason}): save it as UTF-8.") from error

    def _laid_out(self, number: int, text: str) -> str:
        lines = re.split(r"(\r\n|\r|\n)", self._text(number))
        if len(lines) == 1:
            return text
        indent = re.match(r"[ \t]*", lines[2])
        greatest = max(width(line) for line in lines[::2])
        return (lines[1] + (indent[0] if indent else "")).join(balanced(text, greatest))

    def _copy(self, file: BinaryIO, start: int, end: int, written: str) -> None:
        if written == self._encoding:
            file.writelines(self._data[at : min(end, at + _CHUNK)] for at in range(start, end, _CHUNK))
            return
        file.write(self._data[start:end].decode(self._encoding).encode(written))


def _mapped(path: Path) -> _Data:
    if not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return encoding == "utf-8"
    return True


def _paragraphs(data: _Data, start: int, encoding: str) -> Iterator[tuple[int, int]]:
    """Where paragraphs begin and end, without the space around them."""
    block: list[tuple[int, int]] = []
    for line in _LINE.finditer(data, start):
        if line.end() - line.start() > LINE_BYTES:
            raise InvalidRequest(f"The file has a line of more than the {LINE_BYTES:,} bytes that are read of one: break it.")
        raw = line[0]
        if b"\0" in raw:
            raise InvalidRequest("The file has zero bytes and is no text: save it as UTF-8.")
        _check_encoding(raw, encoding)
        text = raw.strip()
        if text:
            first = line.start() + raw.index(text[:1])
            block.append((first, first + len(text)))
        if not text or len(block) > 10_000:
            yield from _of_block(data, block, encoding)
            block = []
    yield from _of_block(data, block, encoding)


def _check_encoding(line: bytes, encoding: str) -> None:
    if line.isascii():
        return
    try:
        line.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The file is not {encoding} throughout ({error.reason}): save it as UTF-8.") from error


def _of_block(data: _Data, block: list[tuple[int, int]], encoding: str) -> Iterator[tuple[int, int]]:
    spans = [(block[0][0], block[-1][1])] if _is_wrapped(data, block) else block
    for first, last in spans:
        if has_words(data[first:last].decode(encoding)):
            yield first, last


def _is_wrapped(data: _Data, block: list[tuple[int, int]]) -> bool:
    """Whether lines are one paragraph: all but the last are about as long as the longest, and none begins like an item of a list."""
    if not 1 < len(block) <= 500:
        return False
    lengths = [last - first for first, last in block]
    longest = max(lengths)
    if longest not in _WRAPPED_WIDTH or min(lengths[:-1]) < longest * 2 // 3:
        return False
    return not any(_LINES_OF_ONE.match(data[first:last]) for first, last in block[1:])
