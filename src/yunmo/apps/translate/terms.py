"""Terms: where a glossary's terms stand in a text, and whether a translation renders them, inflected as its grammar asks."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from yunmo.apps.translate import languages
from yunmo.apps.translate.spacing import UNSPACED


@dataclass(frozen=True, slots=True)
class Found:
    """A term in a text: the glossary's term and translation, and where it stands (code points)."""

    term: str
    translation: str
    start: int
    end: int


class TermFinder:
    """A glossary made ready for one language, to look through many texts."""

    def __init__(self, terms: Mapping[str, str], language: str) -> None:
        self._base = languages.parse(language).base
        self._entries: dict[str, list[_Entry]] = {}
        for term, translation in terms.items():
            if term.strip():
                entry = _entry(term, translation, self._base)
                self._entries.setdefault(entry.words[0].stem[:_KEY], []).append(entry)

    def find(self, text: str) -> tuple[Found, ...]:
        """The terms in the text from left to right: of several at one place the longest, none inside another. Words are found whole and inflected.

        A lower-case term is found in any case, one with capitals as it is written or all in capitals; white space between its words may be any.
        """
        folded = _folded(text)
        found: list[Found] = []
        position = 0
        while position < len(text):
            best = self._at(text, folded, position) if _may_begin(text, position) else None
            if best is not None:
                found.append(best)
                position = best.end
            else:
                position += 1
        return tuple(found)

    def _at(self, text: str, folded: str, position: int) -> Found | None:
        best: Found | None = None
        for length in range(_KEY, 0, -1):
            for entry in self._entries.get(folded[position : position + length], ()):
                end = _end(entry, text, folded, position) if length == min(_KEY, len(entry.words[0].stem)) else None
                if end is not None and (best is None or end > best.end):
                    best = Found(entry.term, entry.translation, position, end)
        return best


def find(text: str, terms: Mapping[str, str], language: str) -> tuple[Found, ...]:
    """The glossary's terms in one text, as `TermFinder.find` finds them."""
    return TermFinder(terms, language).find(text) if terms else ()


def is_rendered(translation: str, text: str, language: str) -> bool:
    """Whether a text has a glossary's translation, as it is or inflected: each of its words by its stem, near each other and in their order.

    Case, accents and white space do not count. Chinese, Japanese, Thai and the like have no inflection that would change the term's characters.
    """
    wanted, given, base = _simplified(translation), _simplified(text), languages.parse(language).base
    if _IS_UNSPACED.search(wanted):
        return wanted.replace(" ", "") in given.replace(" ", "")
    begin = "" if base in _COMPOUNDING or not wanted[:1].isalnum() else r"(?<![^\W_])"
    if base in _UNINFLECTED:
        return re.search(begin + re.escape(wanted) + r"(?![^\W_])", given) is not None
    words = rf"[\s'’-]+(?:\w+\s+){{0,{_BETWEEN}}}".join(map(_inflected, wanted.split()))
    return re.search(begin + words, given) is not None


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a term by the beginning that all its forms share (as written, and in lower case) and the endings it may have, longest first."""

    written: str
    stem: str
    endings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A term, by its words."""

    term: str
    translation: str
    words: tuple[_Word, ...]
    is_cased: bool


_KEY = 6
_BETWEEN = 2
_LONGEST_ENDING = 3
_SHORTEST_STEM = 3
_SPACE = re.compile(r"\s+")
_LAST_WORD_INFLECTED = {"en", "sv", "da", "nb", "tr"}
_COMPOUNDING = {"de", "nl", "sv", "da", "nb", "nn", "is", "fi", "et", "hu"}
_UNINFLECTED = {"vi", "th", "lo", "my", "km"}
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")

# what grammar puts behind a word, or in place of its last letters (ending, what may stand instead)
_SUFFIXES = {
    "en": ("", "s", "es", "'s", "’s", "s'", "s’", "ed", "d", "ing"),
    "de": ("", "s", "es", "e", "en", "er", "ern", "n", "em", "se"),
    "nl": ("", "s", "en", "e", "'s"),
    "fr": ("", "s", "x", "e", "es"),
    "es": ("", "s", "es"),
    "pt": ("", "s", "es"),
    "it": ("",),
    "sv": ("", "s", "en", "et", "er", "ar", "or", "na", "n", "erna", "arna"),
    "da": ("", "s", "en", "et", "er", "e", "ne", "erne"),
    "nb": ("", "s", "en", "et", "er", "ene", "a"),
    "ru": ("", "а", "у", "ом", "е", "ы", "и", "ов", "ам", "ами", "ах", "ей", "я", "ю", "ем"),
    "uk": ("", "а", "у", "ом", "і", "и", "ів", "ам", "ами", "ах"),
    "pl": ("", "a", "u", "owi", "em", "ie", "y", "i", "ów", "om", "ami", "ach", "ę", "ą"),
    "tr": ("", "ler", "lar", "i", "ı", "u", "ü", "in", "ın", "un", "ün", "de", "da", "e", "a", "den", "dan"),
}
_ENDINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {"y": ("y", "ies", "ied", "ying", "y's", "y’s"), "e": ("e", "es", "ed", "ing", "e's", "e’s")},
    "fr": {"al": ("al", "aux", "ale", "ales")},
    "es": {"z": ("z", "ces"), "o": ("o", "a", "os", "as"), "ón": ("ón", "ones")},
    "pt": {"ão": ("ão", "ões", "ãos", "ães"), "o": ("o", "a", "os", "as"), "l": ("l", "is"), "m": ("m", "ns")},
    "it": {"o": ("o", "i", "a", "e"), "a": ("a", "e"), "e": ("e", "i")},
    "ru": {
        "а": ("а", "ы", "и", "е", "у", "ой", "ам", "ами", "ах", ""),
        "я": ("я", "и", "е", "ю", "ей", "ям", "ями", "ях", "й"),
        "ь": ("ь", "я", "ю", "ем", "е", "и", "ью", "ей", "ям", "ями", "ях"),
        "ый": ("ый", "ого", "ому", "ым", "ом", "ая", "ой", "ую", "ое", "ые", "ых", "ыми"),
        "ий": ("ий", "его", "ему", "им", "ем", "ая", "ой", "ую", "ое", "ие", "их", "ими"),
    },
}


def _entry(term: str, translation: str, base: str) -> _Entry:
    written = term.split()
    is_cased = term != term.lower() and not (len(written) > 1 and term.istitle())
    last = len(written) - 1
    words = tuple(_word(word, base, is_inflected=index == last or base not in _LAST_WORD_INFLECTED) for index, word in enumerate(written))
    return _Entry(term, translation, words, is_cased)


def _word(written: str, base: str, *, is_inflected: bool) -> _Word:
    lower = _folded(written)
    if not is_inflected or _IS_UNSPACED.match(lower[-1]) or not lower[-1].isalpha():
        return _Word(written, lower, ("",))
    for ending, forms in _ENDINGS.get(base, {}).items():
        if lower.endswith(ending) and len(lower) - len(ending) >= _SHORTEST_STEM:
            return _Word(written[: -len(ending)], lower[: -len(ending)], tuple(sorted(forms, key=len, reverse=True)))
    return _Word(written, lower, tuple(sorted(_SUFFIXES.get(base, ("",)), key=len, reverse=True)))


def _end(entry: _Entry, text: str, folded: str, position: int) -> int | None:
    """Where a term that begins there ends; None if it is not there, or only as part of another word."""
    end: int | None = position
    for index, word in enumerate(entry.words):
        space = _SPACE.match(text, position) if index else None
        start = position if space is None else space.end()
        if index and start == position:
            return None
        end = _word_end(word, text, folded, start, is_cased=entry.is_cased)
        if end is None:
            return None
        position = end
    return end


def _word_end(word: _Word, text: str, folded: str, position: int, *, is_cased: bool) -> int | None:
    end = position + len(word.stem)
    if not folded.startswith(word.stem, position) or (is_cased and text[position:end] not in {word.written, word.written.upper()}):
        return None
    if _IS_UNSPACED.match(word.stem[-1]):
        return end
    endings = (end + len(ending) for ending in word.endings if folded.startswith(ending, end))
    return next((one for one in endings if not _is_word(text, one)), None)


def _may_begin(text: str, position: int) -> bool:
    """Whether a term may begin there: not inside a word of a script that writes words apart."""
    return not (_is_word(text, position) and position > 0 and _is_word(text, position - 1))


def _is_word(text: str, position: int) -> bool:
    character = text[position : position + 1]
    return (character.isalnum() or character == "_") and not _IS_UNSPACED.match(character)


def _folded(text: str) -> str:
    """Lower case, character by character: the places stay."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


@lru_cache(maxsize=4096)
def _simplified(text: str) -> str:
    """Lower case, without accents, with single spaces."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))
    return " ".join(unicodedata.normalize("NFKC", bare).split())


def _inflected(word: str) -> str:
    """A pattern for the forms of a word: the beginning that they share, near enough to verify a translation with, and an ending."""
    stem = word[: max(_SHORTEST_STEM, len(word) - (2 if len(word) > 5 else 1))] if word.isalpha() else word
    if not word[-1].isalnum():
        return re.escape(word)
    return rf"{re.escape(stem)}\w{{0,{len(word) - len(stem) + _LONGEST_ENDING}}}(?!\w)"
