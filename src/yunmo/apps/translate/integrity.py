"""Integrity: whether everything that must come through a translation did: tags, placeholders, addresses, numbers, terms, and the words at all."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from yunmo.apps.translate import languages
from yunmo.apps.translate.numerals import differences, numbers
from yunmo.apps.translate.orders import Issue
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.repetition import repeated
from yunmo.apps.translate.segments import Segment, Tag
from yunmo.apps.translate.terms import TermFinder, is_rendered


def check(
    source: Segment, target: Segment, source_language: str, target_language: str, terms: TermFinder | Mapping[str, str] | None = None
) -> tuple[Issue, ...]:
    """What of the source has not come through into the target, and what came that the source does not say; nothing where all is well.

    `terms` is a glossary, or one made ready for the source's language where many segments are checked with it.
    """
    finder = terms if isinstance(terms, TermFinder) else TermFinder(terms, source_language) if terms else None
    plain_source, plain_target = protect(source), protect(target)
    found = [*_tags(source, target), *_kept(source, plain_source, target, plain_target)]
    if source_language != target_language:
        found += _untranslated(_words(plain_source), _words(plain_target), source_language, target_language)
    found += _numbers(plain_source, plain_target, source_language, target_language)
    if finder is not None:
        found += _terms(plain_source.text, target.text, finder, target_language)
    return tuple(dict.fromkeys(found))


_ADDRESS = re.compile(r"(?:[a-z]+://|www\.|mailto:|[^\s@]+@[^\s@]+\.[a-z]+\Z|[a-z0-9.-]+\.[a-z]{2,6}(?:/|\Z))", re.IGNORECASE)
_POSITION = re.compile(r"(?<=%)\d{1,2}\$")
_LETTERS = re.compile(r"[^\W\d_]")
_DENSE = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_NOT_LATIN = re.compile(r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_HAN = re.compile(r"[㐀-鿿]")
_PROSE = re.compile(r"(?<![\w'’-])[^\W\d_A-Z]{2,}(?![\w-])")

# texts shorter than these say too little to be judged by their words or their length
_FEWEST_WORDS = 3
_FEWEST_IN_PROSE = 2
_FEWEST_SIGNS = 60
_SHORTEST_SHARE = 0.2
_LONGEST_SHARE = 5.0


def _tags(source: Segment, target: Segment) -> Iterator[Issue]:
    """Tags that are lost, doubled or invented, that close before they open, or that hold no words any more."""
    wanted, given = Counter(map(_named, source.tags)), Counter(map(_named, target.tags))
    if wanted != given:
        written = {_named(tag): tag.text for tag in (*target.tags, *source.tags)}
        for name in (wanted - given) + (given - wanted):
            yield Issue("tag" if name[1] != "alone" else "placeholder", written[name] or f"{name[1]} {name[0]}")
        return
    fixed = [_named(tag) for tag in source.tags if not tag.is_movable]
    if fixed != [_named(tag) for tag in target.tags if not tag.is_movable]:
        yield Issue("tag", "order of tags that stay in place")
    faults = set(_faults(target)) - set(_faults(source))
    for tag in target.tags:
        if _named(tag) in faults:
            yield Issue("tag", tag.text or f"{tag.kind} {tag.id}")


def _named(tag: Tag) -> tuple[int, str]:
    return tag.id, tag.kind


def _faults(one: Segment) -> Iterator[tuple[int, str]]:
    """Tags of pairs that do not nest or that hold nothing."""
    opened: list[tuple[int, int]] = []
    closing = {tag.id for tag in one.tags if tag.kind == "close"}
    opening = {tag.id for tag in one.tags if tag.kind == "open"}
    for index, part in enumerate(one.parts):
        if isinstance(part, str) or part.kind == "alone" or part.id not in opening & closing:
            continue
        if part.kind == "open":
            opened.append((part.id, index))
        elif not opened or opened[-1][0] != part.id:
            yield part.id, "close"
        else:
            _, start = opened.pop()
            if not any(isinstance(inner, Tag) or inner.strip() for inner in one.parts[start + 1 : index]):
                yield part.id, "open"


def _kept(source: Segment, plain_source: Segment, target: Segment, plain_target: Segment) -> Iterator[Issue]:
    """Placeholders and addresses that stand in the words themselves."""
    wanted, given = _new(source, plain_source), _new(target, plain_target)
    lost, invented = wanted - given, given - wanted
    if Counter(_POSITION.sub("", text) for text in lost.elements()) == Counter(_POSITION.sub("", text) for text in invented.elements()):
        return
    for text in (*lost, *invented):
        yield Issue("url" if _ADDRESS.match(text) else "placeholder", text)


def _new(original: Segment, plain: Segment) -> Counter[str]:
    own = {tag.id for tag in original.tags}
    return Counter(tag.text for tag in plain.tags if tag.id not in own)


def _words(plain: Segment) -> str:
    """The words, with a space for each tag: what stands on both sides of one is not one word or number."""
    return "".join(part if isinstance(part, str) else " " for part in plain.parts)


def _numbers(source: Segment, target: Segment, source_language: str, target_language: str) -> Iterator[Issue]:
    lost, invented = differences(numbers(_words(source), source_language), numbers(_words(target), target_language))
    for written in (*lost, *invented):
        yield Issue("number", written)


def _terms(source: str, target: str, finder: TermFinder, language: str) -> Iterator[Issue]:
    for found in finder.find(source):
        if not is_rendered(found.translation, target, language):
            yield Issue("term", found.term)


def _untranslated(source: str, target: str, source_language: str, target_language: str) -> Iterator[Issue]:
    """Words that stayed as they were, that are not there at all, or that go round in circles."""
    if not target.strip():
        if _LETTERS.search(source):
            yield Issue("untranslated", source.strip()[:80])
        return
    circle = repeated(target)
    if circle is not None and repeated(source) is None:
        yield Issue("untranslated", circle)
        return
    if _is_same(source, target, source_language, target_language):
        yield Issue("untranslated", target.strip()[:80])
        return
    wanted, given = _length(source), _length(target)
    if max(wanted, given) >= _FEWEST_SIGNS and given < wanted * _SHORTEST_SHARE:
        yield Issue("truncated", target.strip()[-80:])
    elif max(wanted, given) >= _FEWEST_SIGNS and given > wanted * _LONGEST_SHARE:
        yield Issue("untranslated", target.strip()[-80:])


def _is_same(source: str, target: str, source_language: str, target_language: str) -> bool:
    """Whether the target is still in the source's language: in its script, or word for word the same. Names and commands may be."""
    from_script, to_script = _script(source_language), _script(target_language)
    if languages.parse(source_language).base == languages.parse(target_language).base:
        return False
    letters, foreign = len(_LETTERS.findall(target)), len(_NOT_LATIN.findall(target))
    if from_script != to_script == "Latn":
        return foreign * 2 > letters
    if from_script == "Hani" and to_script != "Jpan":
        return len(_HAN.findall(target)) * 2 > letters
    if from_script == "Latn" != to_script:
        return not foreign and len(_PROSE.findall(source)) >= _FEWEST_IN_PROSE and len(_WORD.findall(source)) >= _FEWEST_WORDS
    return len(_PROSE.findall(source)) >= _FEWEST_WORDS and source.casefold().split() == target.casefold().split()


def _script(language: str) -> str | None:
    parsed = languages.parse(language)
    return "Hani" if parsed.base in {"zh", "yue"} else parsed.written


def _length(text: str) -> int:
    """How much a text says, in letters of Latin script: an ideograph or a syllable says as much as three."""
    return len(_LETTERS.findall(text)) + 2 * len(_DENSE.findall(text))
