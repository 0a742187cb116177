"""Spacing: white space around the tags of a translation, on the side where its source has it and none where a script writes without."""

import re
from collections.abc import Sequence

from yunmo.apps.translate.segments import Tag

# scripts that write words without spaces between: Chinese, Japanese, Thai, Lao, Burmese, Khmer, and their punctuation (not Korean)
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff65\U00020000-\U0003ffff"


def settle(parts: Sequence[str | Tag], source: Sequence[str | Tag]) -> list[str | Tag]:
    """The parts of a translation with the spaces that a model put inside a format moved out, missing ones put back, idle ones taken away."""
    texts, tags = _alternating(parts)
    source_texts, source_tags = _alternating(source)
    written = {id(tag): (source_texts[index], source_texts[index + 1]) for index, tag in enumerate(source_tags)}
    for index, tag in enumerate(tags):
        before, behind = texts[index], texts[index + 1]
        if (before, behind) == written[id(tag)]:
            continue
        if tag.kind != "alone":
            before, behind = _moved_out(tag, (before, behind), written[id(tag)])
            before, behind = _parted(tag, (before, behind), written[id(tag)])
        texts[index], texts[index + 1] = _without_idle_spaces(before, behind, is_text_around=tag.kind != "alone")
    settled: list[str | Tag] = [texts[0].lstrip()]
    for tag, text in zip(tags, texts[1:], strict=True):
        settled += [tag, text]
    if isinstance(settled[-1], str):
        settled[-1] = settled[-1].rstrip()
    return settled


_IS_UNSPACED = re.compile(f"[{UNSPACED}“”‘’…—]")
_OPENING_MARK = re.compile(r"[（「『《〈【［｛] +\Z")
_CLOSING_MARK = re.compile(r" +(?=[，。、；：？！）」』》〉】］｝])")


def _alternating(parts: Sequence[str | Tag]) -> tuple[list[str], list[Tag]]:
    """Texts and tags in turn, a text before and behind each tag, though it be empty."""
    texts, tags = [""], []
    for part in parts:
        if isinstance(part, str):
            texts[-1] += part
        else:
            tags.append(part)
            texts.append("")
    return texts, tags


def _moved_out(tag: Tag, texts: tuple[str, str], source: tuple[str, str]) -> tuple[str, str]:
    """Spaces at the inner side of a format that its source does not have there go to the outer side."""
    before, behind = texts
    if tag.kind == "open" and behind[:1].isspace() and not source[1][:1].isspace():
        return before if before[-1:].isspace() else before + " ", behind.lstrip()
    if tag.kind == "close" and before[-1:].isspace() and not source[0][-1:].isspace():
        return before.rstrip(), behind if behind[:1].isspace() else " " + behind
    return texts


def _parted(tag: Tag, texts: tuple[str, str], source: tuple[str, str]) -> tuple[str, str]:
    """Words that a format glued together are parted again, where the source has white space."""
    before, behind = texts
    is_parted_in_source = source[0][-1:].isspace() or source[1][:1].isspace()
    if is_parted_in_source and _is_spelled(before[-1:]) and _is_spelled(behind[:1]):
        return (before + " ", behind) if tag.kind == "open" else (before, " " + behind)
    return texts


def _is_spelled(character: str) -> bool:
    return character.isalnum() and not _IS_UNSPACED.match(character)


def _without_idle_spaces(before: str, behind: str, *, is_text_around: bool) -> tuple[str, str]:
    """No space beside full-width punctuation, and none between two characters of scripts that have none."""
    if _OPENING_MARK.search(before):
        before = before.rstrip(" ")
    if _CLOSING_MARK.match(behind):
        behind = behind.lstrip(" ")
    last, first = before.rstrip(" ")[-1:], behind.lstrip(" ")[:1]
    if is_text_around and last and first and _IS_UNSPACED.match(last) and _IS_UNSPACED.match(first):
        return before.rstrip(" "), behind.lstrip(" ")
    return before, behind
