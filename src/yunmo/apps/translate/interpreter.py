"""What translates texts, whichever way its model has to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from yunmo.apps.translate.marking import Style


@dataclass(frozen=True, slots=True)
class Said:
    """A model's translation of one text; one that is not whole was cut off."""

    text: str
    is_whole: bool = True


class Interpreter(Protocol):
    """A model at work for one order, between two languages. `styles` are the ways of marking that it copies, the likeliest first."""

    @property
    def styles(self) -> tuple[Style, ...]: ...

    async def translate(self, texts: Sequence[str]) -> list[Said]:
        """The translations in the texts' order, no text being empty."""
        ...
