"""Segments: text with what must come through a translation unharmed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

TagKind = Literal["open", "close", "alone"]


@dataclass(frozen=True, slots=True)
class Tag:
    """Something inside a text that is not translated: the beginning or end of a format, or a thing of its own (a line break, `{name}`, a URL).

    `id` pairs an opening tag with its closing one and is unique in its segment otherwise. `text` is how the source writes it, for formats that put
    it back as it was; it may be empty. `is_movable` is false where nothing may come before or behind it.
    """

    id: int
    kind: TagKind
    text: str = ""
    is_movable: bool = True


@dataclass(frozen=True, slots=True)
class Segment:
    """What is translated as one: a paragraph, a cell, a cue. Texts and tags in their order; two texts never stand side by side, none is empty."""

    parts: tuple[str | Tag, ...]

    @property
    def text(self) -> str:
        """The words alone, without any tag."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def source(self) -> str:
        """The segment as its source wrote it, tags and all."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags alone, in their order."""
        return tuple(part for part in self.parts if isinstance(part, Tag))


def segment(parts: Iterable[str | Tag]) -> Segment:
    """A segment of these parts; texts side by side become one, empty ones go."""
    joined: list[str | Tag] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return Segment(tuple(joined))
