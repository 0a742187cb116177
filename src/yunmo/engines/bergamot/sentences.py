"""A text as the sentences that a model reads one by one, and the white space between them, which it never sees.

Bergamot's models are trained on sentences: of a longer text they lose a part. A line break ends a sentence.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MOST_TOKENS = 64
"""A longer sentence is read in parts. Of sentences with more than about 100 the small models leave out clauses, though they read 128 and more."""

_MOST_CHARACTERS = 16 * MOST_TOKENS
"""No token is longer than 16 characters: more need not be counted to be too many."""

_UNSPACED = frozenset({"zh", "yue", "ja"})
"""The languages whose sentences follow each other without a space."""

_PARTS = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)
_CLAUSE = re.compile(r"[,;:)\]–—]\s+|[、，；：]")
_SPACE = re.compile(r"\s+")

Count = Callable[[str], int]
"""How many tokens a text has."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the model reads, and the white space in front of it."""

    before: str
    text: str


def sentences(text: str, language: str, count: Count) -> tuple[list[Sentence], str]:
    """The sentences of a text, none of more than `MOST_TOKENS`, and the white space behind the last: joined, they are the text."""
    import sentencex

    found: list[Sentence] = []
    gap = ""
    for line in text.splitlines(keepends=True):
        for unit in sentencex.segment(language, line):
            for part in _short_enough(unit, count):
                before, words, after = _split(part)
                gap += before
                if words:
                    found.append(Sentence(gap, words))
                    gap = ""
                gap += after
    return found, gap


def spaced_for(gap: str, source: str, target: str) -> str:
    """The white space between two sentences of a line as the target language has it, where the source language has it otherwise."""
    if source in _UNSPACED and target not in _UNSPACED and not gap:
        return " "
    if target in _UNSPACED and source not in _UNSPACED and gap == " ":
        return ""
    return gap


def _split(text: str) -> tuple[str, str, str]:
    """Leading white space, the rest, trailing white space."""
    found = _PARTS.fullmatch(text)
    assert found is not None
    return found[1], found[2], found[3]


def _short_enough(text: str, count: Count) -> Iterator[str]:
    """The text in parts that the model can read, cut behind a clause if possible, else at a space, else anywhere."""
    while len(text) > _MOST_CHARACTERS or count(text) > MOST_TOKENS:
        longest = _longest_beginning(text, count)
        cut = _last_end(_CLAUSE, text, longest) or _last_end(_SPACE, text, longest) or longest
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text


def _longest_beginning(text: str, count: Count) -> int:
    """How many characters of a text that is too long are short enough: found by halving, at least one."""
    low, high = 1, min(len(text), _MOST_CHARACTERS)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= MOST_TOKENS else (low, middle - 1)
    return low


def _last_end(pattern: re.Pattern[str], text: str, limit: int) -> int:
    """Where the last match within the limit ends, in its second half; 0 if there is none."""
    return max((found.end() for found in pattern.finditer(text, limit // 2, limit)), default=0)
