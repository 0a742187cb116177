"""Translations written as Markdown, with as few signs escaped as it takes to be read as they are meant."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from yunmo.apps.translate.documents.inline import collapsed
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment
from yunmo.core.errors import InvalidRequest

_SIGNS = re.compile(r"[\\`*_\[\]<>&~$|!^]")
_BLOCK_START = re.compile(r"(\d{1,9}(?=[.)](?:\s|\Z))|(?=[-+*>#=|:~`_<])|(?=\[[^\]]*\]:))(?!\Z)")
_DIVIDER = re.compile(r"(?<!\\)\|")

_HERE = "\ue000"  # neither a letter nor a sign of Markdown
_Key = tuple[int, TagKind]


@dataclass(frozen=True, slots=True)
class MarkdownText:
    """What stands where a translation is to be written.

    `before` and `behind` are what the block holds around it. `tags` are the tags as the block reads them, `labels` those that must be written otherwise
    than the source has them, `as_html` other ways to write them. `pieces_of` reads a block.
    """

    before: str
    behind: str
    is_cell: bool
    is_heading: bool
    tags: Mapping[_Key, str]
    labels: Mapping[_Key, str]
    as_html: Mapping[_Key, str]
    pieces_of: Callable[[str], list[str]]

    def write(self, translation: Segment, tag_text: Callable[[Tag], str]) -> str:
        """The translation as source text; raises InvalidRequest where its tags stand so that Markdown has no way to write them."""
        parts = _trimmed(translation)
        for escape, others in ((str, {}), (_escaped, {}), (_escaped, self.as_html)):
            text = self._written(parts, escape, others, tag_text)
            if text is not None:
                return _DIVIDER.sub(r"\\|", text) if self.is_cell else text
        raise InvalidRequest(f"A translation puts its tags where Markdown has no way to write them: {translation.source[:80]!r}.")

    def _written(
        self, parts: list[str | Tag], escape: Callable[[str], str], others: Mapping[_Key, str], tag_text: Callable[[Tag], str]
    ) -> str | None:
        """The translation with its texts escaped so and its tags written otherwise; None where it would not be read as what it is."""
        tags = {**self.tags, **others}
        written = self._joined(parts, escape, lambda tag: tags[tag.id, tag.kind])
        if self.pieces_of(self.before + written + self.behind) != self._wanted(parts, tags):
            return None
        own = {**self.labels, **others}
        return self._joined(parts, escape, lambda tag: own.get((tag.id, tag.kind)) or tag_text(tag))

    def _wanted(self, parts: Iterable[str | Tag], tags: Mapping[_Key, str]) -> list[str]:
        """What reading the block must give: all that is around the translation as it was, the translation's words and tags."""
        own = [(part, True) if isinstance(part, str) else (tags[part.id, part.kind], False) for part in parts]
        around = self.pieces_of(f"{self.before}{_HERE}{self.behind}")
        at = next((number for number in range(0, len(around), 2) if _HERE in around[number]), None)
        if at is None:
            return []
        left, _, right = around[at].partition(_HERE)
        kept = [(text, number % 2 == 0) for number, text in enumerate(around)]
        return flat([*kept[:at], (left, True), *own, (right, True), *kept[at + 1 :]])

    def _joined(self, parts: list[str | Tag], escape: Callable[[str], str], tag_text: Callable[[Tag], str]) -> str:
        written: list[str] = []
        begins_line = not self.before and not self.is_cell and not self.is_heading
        for part in parts:
            if isinstance(part, Tag):
                written.append(tag_text(part))
                begins_line = "\n" in self.tags[part.id, part.kind]
                continue
            text = escape(part)
            written.append(_BLOCK_START.sub(r"\1\\", text, count=1) if begins_line and _BLOCK_START.match(text) else text)
            begins_line = False
        text = "".join(written)
        return text[:-1] + "\\#" if self.is_heading and text.endswith("#") and not self.behind else text


def flat(pieces: Iterable[tuple[str, bool]]) -> list[str]:
    """Pieces (whether they are text is beside them) as text, tag, text … text; white space at the ends of texts does not count."""
    texts = [""]
    for written, is_text in pieces:
        if is_text:
            texts[-1] += written
        else:
            texts += [written, ""]
    return [text if number % 2 else collapsed(text).strip() for number, text in enumerate(texts)]


def _escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\g<0>", text)


def _trimmed(translation: Segment) -> list[str | Tag]:
    """The parts without the space around them and without line breaks."""
    parts: list[str | Tag] = [collapsed(part) if isinstance(part, str) else part for part in translation.parts]
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return list(segment(parts).parts)
