"""Lines of a given width, in which an East Asian character counts as two."""

import re
import unicodedata

_WIDE = frozenset("WF")
_ATOM = re.compile(r"\s+|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+|.", re.DOTALL)
_LONGEST = 20_000  # characters that are laid out in lines; more are no paragraph
_NEVER_FIRST = frozenset("、。，．！？：；）］｝〕〉》」』】〙〗’”…‥ー々％,.!?:;)]}%»")
_NEVER_LAST = frozenset("（［｛〔〈《「『【〘〖‘“([{«¿¡")


def width(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in _WIDE) for char in text)


def balanced(text: str, greatest: int, most: int | None = None) -> list[str]:
    """The text in lines of at most `greatest` columns where its words allow; with `most` lines, of about the same width, and never more of them."""
    if len(text) > _LONGEST:
        return [text]
    words = _words(text)
    lines = _filled(words, greatest)
    if most is None or len(lines) == 1:
        return lines
    if most == 2:
        return list(_halves(words))
    return _filled(words, max(greatest, -(-width(text) // most) + 10))


def _words(text: str) -> list[str]:
    """Pieces between which a line may end, each with the space in front of it."""
    words: list[str] = []
    space = ""
    for atom in _ATOM.findall(text.strip()):
        if atom.isspace():
            space = " "
            continue
        is_bound = (
            bool(words)
            and not space
            and (atom[0] in _NEVER_FIRST or words[-1][-1] in _NEVER_LAST or not _may_break(words[-1][-1], atom[0]))
        )
        if is_bound:
            words[-1] += atom
        else:
            words.append(space + atom)
        space = ""
    return words


def _may_break(before: str, behind: str) -> bool:
    """Without a space, lines end beside an East Asian character only."""
    return unicodedata.east_asian_width(before) in _WIDE or unicodedata.east_asian_width(behind) in _WIDE


def _filled(words: list[str], greatest: int) -> list[str]:
    lines: list[str] = []
    used = 0
    for word in words:
        size = width(word)
        if lines and used + size <= greatest:
            lines[-1] += word
            used += size
        else:
            lines.append(word.lstrip())
            used = width(lines[-1])
    return lines or [""]


def _halves(words: list[str]) -> tuple[str, ...]:
    """Two lines of the most even widths, the first rather the shorter."""
    total = sum(width(word) for word in words)
    best, best_cut, used = total + 1, 0, 0
    for cut, word in enumerate(words[:-1], 1):
        used += width(word)
        uneven = abs(total - 2 * used)
        if uneven <= best and (uneven < best or used * 2 <= total):
            best, best_cut = uneven, cut
    halves = ("".join(words[:best_cut]), "".join(words[best_cut:]))
    return tuple(half.strip() for half in halves if half.strip())
