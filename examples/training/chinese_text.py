"""Chinese text to train an encoder from nothing: reviews that may be learned from, and the documentation of free programs.

    python examples/training/chinese_text.py

Rows: {"text": a passage of up to some hundred characters}. Paragraphs are kept once. The reviews are those that chinese_reviews.py
gives to learn from: none that is held out there, nor nearly one, is in either file here.
"""

import gzip
import re
from collections.abc import Iterable, Iterator

import chinese_reviews
from dataset import DataSet, Packages, run
from pages import blocks, han_characters, joined_lines
from sources import Source, debian, members
from splitting import normal, split

MANUALS = debian("manpages-zh", "GFDL-1.2+, some GPL-2+")
FORTUNES = debian("fortunes-zh", "GPL-3+; the poems are in the public domain")
PAGES = {
    debian("debian-reference-zh-cn", "GPL-2+"): ".zh-cn.html",
    debian("maint-guide-zh-cn", "GPL-2+"): ".zh-cn.html",
    debian("debian-handbook", "GPL-2+ or CC-BY-SA-3.0"): ".html",
    debian("installation-guide-amd64", "GPL-2"): ".html",
    debian("libreoffice-help-zh-cn", "MPL-2.0"): ".html",
}
HELD_OUT_SHARE = 0.02
PASSAGE_CHARACTERS = 300

_OF_CHINESE = re.compile(r"zh[-_](cn|CN)")
_LEAST_HAN, _LEAST_SHARE = 8, 0.4
_TERMINAL_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_DRAWN = re.compile(r"[\u2500-\u257f]")
_TEXT_OF_MACRO = re.compile(r"^\.\s*(?:B|I|R|BR|RB|BI|IB|IR|RI|SM|SB|SH|SS)\s+(.*)$")
_TROFF_ESCAPE = re.compile(r"\\(?:f(?:\(..|\[[^]]*\]|.)|s[-+]?\d|\*?\(..|\*?\[[^]]*\]|[&/,|^:c!])")


def build(packages: Packages) -> DataSet:
    """Read all sources, keep paragraphs once, join them to passages, split."""
    reviews = chinese_reviews.build(packages)
    held_out = {normal(str(row["text"])) for row in reviews.valid}
    documents = {
        "reviews": [[str(row["text"])] for row in reviews.train],
        **{source.name: list(_pages(packages, source)) for source in PAGES},
        MANUALS.name: [paragraphs_of_manual(content) for content in _manuals(packages)],
        FORTUNES.name: [list(_fortunes(content)) for _, content in members(packages[FORTUNES], ("/chinese", "/tang300", "/song100"))],
    }
    seen, rows, counts = set(held_out), [], {}
    for name, texts in documents.items():
        own = [passage for text in texts for passage in passages(new_paragraphs(text, seen))]
        counts[f"Chinese characters of {name}"] = sum(map(han_characters, own))
        rows += own
    train, valid = split(rows, lambda text: text, HELD_OUT_SHARE, "chinese_text")
    return DataSet(
        name="chinese_text",
        title="Chinese reviews and documentation",
        languages=("zh",),
        sources=(chinese_reviews.SOURCE, MANUALS, FORTUNES, *PAGES),
        train=[{"text": text} for text in train],
        valid=[{"text": text} for text in valid],
        counts={
            "Chinese characters of train": sum(map(han_characters, train)),
            "characters of train": sum(map(len, train)),
            "characters of valid": sum(map(len, valid)),
            **counts,
        },
    )


def new_paragraphs(paragraphs: Iterable[str], seen: set[str]) -> Iterator[str]:
    """The paragraphs that are mostly Chinese and not in `seen`, to which they are added."""
    for paragraph in paragraphs:
        text = joined_lines(paragraph)
        han, key = han_characters(text), normal(text)
        if han >= _LEAST_HAN and han >= _LEAST_SHARE * len(text) and key not in seen:
            seen.add(key)
            yield text


def passages(paragraphs: Iterable[str], characters: int = PASSAGE_CHARACTERS) -> Iterator[str]:
    """Paragraphs that follow each other, joined until there are so many characters; a longer one stands by itself."""
    passage = ""
    for paragraph in paragraphs:
        if passage and len(passage) + len(paragraph) > characters:
            yield passage
            passage = ""
        passage = f"{passage}\n{paragraph}" if passage else paragraph
    if passage:
        yield passage


def paragraphs_of_manual(source: str) -> list[str]:
    """The text of a manual page in man(7), without its marks."""
    found = [""]
    for line in source.splitlines():
        macro = _TEXT_OF_MACRO.match(line)
        if macro or not line.startswith((".", "'")):
            text = (macro[1].replace('"', "") if macro else line).replace("\\-", "-").replace("\\e", "\\")
            found[-1] += _TROFF_ESCAPE.sub("", text) + "\n"
        if not line.strip() or (line.startswith(".") and not macro):
            found.append("")
    return [text for text in found if text.strip()]


def _manuals(packages: Packages) -> Iterator[str]:
    for name, content in members(packages[MANUALS], ".gz"):
        if "/man/zh_CN/" in name:
            yield gzip.decompress(content).decode("utf-8", "replace")


def _fortunes(content: bytes) -> Iterator[str]:
    for entry in _TERMINAL_COLOURS.sub("", content.decode("utf-8")).split("\n%\n"):
        yield from (text for text in entry.split("\n\n") if not _DRAWN.search(text))


def _pages(packages: Packages, source: Source) -> Iterator[list[str]]:
    for path, content in members(packages[source], PAGES[source]):
        if _OF_CHINESE.search(path):
            yield [block.text for block in blocks(content.decode("utf-8", "replace")) if block.tag != "pre"]


if __name__ == "__main__":
    run(__doc__, build)
