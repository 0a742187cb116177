"""Each text as a draft: the sentences that are read of it, and what has been written so far."""

from dataclasses import dataclass
from typing import Any

from yunmo.core.rewriting import check_length, check_text, until_stop
from yunmo.core.tasks import Sampling, Translate
from yunmo.engines.bergamot.sentences import Sentence, sentences, spaced_for


@dataclass(frozen=True, slots=True)
class Pair:
    """The base languages of a model and their vocabularies, which are only counted and cut with."""

    source: str
    target: str
    source_vocabulary: Any
    target_vocabulary: Any

    def read_tokens(self, text: str) -> int:
        """How many tokens the model reads of a sentence, with the one that ends it."""
        return len(self.source_vocabulary.encode(text)) + 1

    def written_tokens(self, text: str) -> int:
        """How many tokens the model has written as a sentence, with the one that ends it."""
        return len(self.target_vocabulary.encode(text)) + 1

    def beginning(self, text: str, most: int) -> tuple[str, int]:
        """What a model that takes the likeliest token at each step has written of a sentence after so many, and how many they are."""
        tokens = self.target_vocabulary.encode(text)[:most]
        return str(self.target_vocabulary.decode(tokens)), len(tokens)


class Draft:
    """One text on its way. Its sentences are added in order; `is_full` says that no more of them are wanted."""

    def __init__(self, pair: Pair, parts: list[Sentence], end: str, sampling: Sampling) -> None:
        self.parts = parts
        self.read = sum(pair.read_tokens(part.text) for part in parts)
        self.written = 0
        self.is_full = False
        self._pair = pair
        self._end = end
        self._stop = sampling.stop
        self._most = None if sampling.max_tokens is None else max(1, sampling.max_tokens)
        self._pieces: list[str] = []

    def add(self, part: Sentence, found: str) -> None:
        """Take the translation of the next sentence; its beginning, if only so much may be written."""
        if self.is_full:
            return
        count = self._pair.written_tokens(found)
        if self._most is not None and self.written + count > self._most:
            found, count = self._pair.beginning(found, self._most - self.written)
            self.is_full = True
        if found:
            gap = spaced_for(part.before, self._pair.source, self._pair.target) if self._pieces else part.before
            self._pieces += (gap, found)
        self.written += count

    @property
    def text(self) -> str:
        """The whole translation, up to the first of the request's stop strings."""
        return until_stop("".join(self._pieces) + ("" if self.is_full else self._end), self._stop)


def drafts_of(request: Translate, pair: Pair, most_tokens: int) -> list[Draft]:
    """A draft of each text. Raises ContextTooLong for one of more tokens, unless its last sentences may be left out."""
    made = []
    for text in request.texts:
        parts, end = sentences(check_text(text, "inputs"), pair.source, pair.read_tokens)
        draft = Draft(pair, parts, end, request.sampling)
        if request.truncate and draft.read > most_tokens:
            draft = Draft(pair, _first(parts, pair, most_tokens), "", request.sampling)
        check_length(draft.read, most_tokens)
        made.append(draft)
    return made


def _first(parts: list[Sentence], pair: Pair, most_tokens: int) -> list[Sentence]:
    """As many of the first sentences as have no more tokens than that."""
    read = 0
    for place, part in enumerate(parts):
        read += pair.read_tokens(part.text)
        if read > most_tokens:
            return parts[:place]
    return parts
