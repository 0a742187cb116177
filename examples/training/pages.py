"""The text of documentation pages, block by block, and cleaning that other examples need too."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

_BLOCKS = HEADINGS | {"p", "li", "dt", "dd", "pre", "td", "th", "div", "caption", "blockquote", "address", "section", "br"}
_PASSED_OVER = frozenset({"head", "script", "style", "header", "nav", "aside", "footer"})
_PASSED_OVER_CLASSES = frozenset({"toc", "navheader", "navfooter", "docnav", "list-of-titles", "footnotes", "footnote", "indexterm", "MAC"})
_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WIDE = _HAN + "\u3001-\u3003\u3008-\u3011\u3014-\u301f\u2014\u2018-\u201d\u2026\uff01-\uff5e"
_SPACE_BETWEEN_WIDE = re.compile(rf"(?<=[{_WIDE}])\s+(?=[{_WIDE}])")
_HAN_CHARACTER = re.compile(rf"[{_HAN}]")


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, a paragraph, an item of a list or a piece of code; `id` is the element's or that of the first anchor in it."""

    tag: str
    text: str
    id: str = ""
    is_item: bool = False


def blocks(html: str) -> Iterator[Block]:
    """The blocks of a page in reading order, without tables of contents and navigation."""
    parser = _Blocks()
    parser.feed(html)
    parser.close()
    parser.end_block()
    yield from parser.found


def joined_lines(text: str) -> str:
    """Text in one line: runs of white space become a space, or nothing between two Chinese characters or signs."""
    return _SPACE_BETWEEN_WIDE.sub("", " ".join(text.split()))


def han_characters(text: str) -> int:
    """How many Chinese characters are in the text."""
    return len(_HAN_CHARACTER.findall(text))


class _Blocks(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Block] = []
        self._pieces: list[str] = []
        self._tag, self._id = "p", ""
        self._is_item = self._is_code = False
        self._passed_over, self._depth = "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._passed_over:
            self._depth += tag == self._passed_over
            return
        attributes = dict(attrs)
        if tag in _PASSED_OVER or _PASSED_OVER_CLASSES & set((attributes.get("class") or "").split()):
            self._passed_over, self._depth = tag, 1
            return
        if tag in _BLOCKS and not self._is_code:
            self.end_block()
            self._tag, self._id = tag, attributes.get("id") or ""
            self._is_item |= tag == "li"
            self._is_code = tag == "pre"
        elif tag == "a" and not self._id:
            self._id = attributes.get("id") or attributes.get("name") or ""

    def handle_endtag(self, tag: str) -> None:
        if self._passed_over:
            self._depth -= tag == self._passed_over
            if not self._depth:
                self._passed_over = ""
        elif tag in _BLOCKS and (tag == "pre" or not self._is_code):
            self.end_block()
            if tag == "li":
                self._is_item = False

    def handle_data(self, data: str) -> None:
        if not self._passed_over:
            self._pieces.append(data)

    def end_block(self) -> None:
        raw = "".join(self._pieces)
        text = raw.strip("\n").rstrip() if self._is_code else joined_lines(raw)
        if text:
            self.found.append(Block(self._tag, text, self._id, self._is_item))
            self._is_item, self._id = False, ""
        self._pieces, self._tag, self._is_code = [], "p", False
