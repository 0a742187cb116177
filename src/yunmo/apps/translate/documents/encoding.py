"""Text files and the bytes that they were: the encoding is found out, and kept."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yunmo.core.errors import InvalidRequest

TEXT_BYTES = 16 << 20
_SAMPLE_BYTES = 256 << 10
_MARKS = (  # UTF-32's begins with UTF-16's, so it comes first
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_USUAL = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1252")
_REGIONAL = ("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256")
_COMMON = {  # the characters that a language uses most stand together in its encoding: their first bytes
    "gb18030": range(0xB0, 0xD8),
    "big5": range(0xA4, 0xC7),
    "shift_jis": range(0x81, 0x98),
    "euc_kr": range(0xB0, 0xC9),
}
_UNSURE = 0.1
_CHARACTERS = re.compile(
    r"(utf|us-ascii|ascii|iso|latin|gb|big5|euc|shift|sjis|windows|cp|koi8|mac|tis|hz)"
)  # Python has codecs of other kinds
_DECLARED = re.compile(rb"""(?:<\?xml[^>]{0,200}?encoding|<meta[^>]{0,200}?charset|charset)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A file's text without its byte order mark, and how the file wrote it. `encode(text)` gives the file's bytes again."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""

    def encode(self, text: str, errors: str = "strict") -> bytes:
        """The text in the file's encoding; in UTF-8 where that encoding lacks a character and `errors` has no other way to write it."""
        try:
            return self.mark + text.encode(self.encoding, errors)
        except UnicodeEncodeError:
            return self.mark * (self.mark == codecs.BOM_UTF8) + text.encode("utf-8", "replace")


def read_text(path: Path, *, limit: int = TEXT_BYTES) -> EncodedText:
    """The text of a file. Raises InvalidRequest for more than `limit` bytes, for what is no text and for an encoding that cannot be told."""
    size = path.stat().st_size
    if size > limit:
        raise InvalidRequest(f"The file has {size:,} bytes, more than the {limit:,} that are read of its kind: split it.")
    return decode(path.read_bytes())


def decode(data: bytes) -> EncodedText:
    """The text of these bytes, in the first encoding that reads them and writes the same bytes again."""
    mark, encodings = next(((mark, (name,)) for mark, name in _MARKS if data.startswith(mark)), (b"", _encodings(data)))
    body = data[len(mark) :] if mark else data
    for encoding in encodings:
        try:
            text = body.decode(encoding)
            if encoding != "utf-8" and text.encode(encoding) != body:
                continue
        except (UnicodeError, LookupError):
            continue
        if "\0" in text:
            break
        return EncodedText(text, encoding, mark)
    raise InvalidRequest("The file is not text in an encoding that can be told: save it as UTF-8.")


def encoding_of(data: bytes) -> tuple[str, bytes]:
    """The encoding and byte order mark of a file that begins with `data`, of which the last character may be cut."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, mark
    sample = data[:_SAMPLE_BYTES]
    for encoding in _encodings(sample):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except (UnicodeError, LookupError):
            continue
        if "\0" not in text:
            return encoding, b""
    raise InvalidRequest("The file is not text in an encoding that can be told: save it as UTF-8.")


def declared_encoding(data: bytes) -> str | None:
    """The encoding that an HTML or XML file or a catalogue names at its beginning."""
    found = _DECLARED.search(data[:2048])
    name = found[1].decode("ascii").lower() if found else ""
    return name if _CHARACTERS.match(name) else None


def _encodings(data: bytes) -> Iterator[str]:
    """Encodings that the bytes may be in, the likeliest first."""
    if wide := _wide(data[:_SAMPLE_BYTES]):
        yield wide
    if b"\x1b$" in data[:_SAMPLE_BYTES]:
        yield "iso2022_jp"
    declared = declared_encoding(data)
    yield from [declared, "utf-8"] if declared and data.isascii() else ["utf-8", *filter(None, [declared])]
    from charset_normalizer import from_bytes

    found = list(from_bytes(data[:_SAMPLE_BYTES], cp_isolation=[*_USUAL, *_REGIONAL]))
    if found and found[0].encoding in _COMMON:
        alike = [match for match in found if match.encoding in _COMMON and match.chaos <= found[0].chaos + _UNSURE]
        yield from (match.encoding for match in sorted(alike, key=lambda match: -_common_share(str(match), match.encoding)))
    yield from sorted((match.encoding for match in found if match.chaos <= found[0].chaos), key=lambda name: name in _REGIONAL)
    yield from _USUAL


def _common_share(text: str, encoding: str) -> float:
    """How many of the characters beyond ASCII and punctuation are common ones: a text in another encoding seems to be of rare characters."""
    letters = [char for char in text[:4096] if char > "\x7f" and char.isalnum()]
    return sum(char.encode(encoding)[0] in _COMMON[encoding] for char in letters) / max(1, len(letters))


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark, which shows in the zeros of its every other byte."""
    half = len(sample) // 2
    if sample.count(0) < max(2, half // 5):
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < 4 * min(even, odd) + half // 5:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"
