"""Tokens as text while they come: characters whole, nothing that belongs to a stop text."""

from collections.abc import Sequence

from tokenizers import Tokenizer

_INCOMPLETE = "\ufffd"
_MOST_TOKENS_OF_CHARACTER = 8


class Writer:
    """Writes one sequence. `context` are the tokens before it, on which the first one's leading space may depend."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], context: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._before = list(context)
        self._unwritten: list[int] = []
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.is_stopped = False

    def write(self, token: int) -> str:
        """The text that is certain with this token; sets `is_stopped` when a stop text is complete."""
        self._unwritten.append(token)
        piece = self._piece()
        if piece.endswith(_INCOMPLETE) and len(self._unwritten) < _MOST_TOKENS_OF_CHARACTER:
            return ""
        if piece:  # tokens that spell nothing stay, since what follows is read together with them
            self._before, self._unwritten = self._unwritten, []
        return self._released(piece)

    def rest(self) -> str:
        """What was kept back, at the end: also a character that was never completed."""
        if self.is_stopped:
            return ""
        certain = self._released(self._piece())
        held, self._held, self._unwritten = self._held, "", []
        return certain + held

    def _piece(self) -> str:
        """What the unwritten tokens add to those before them."""
        before = self._tokenizer.decode(self._before, skip_special_tokens=True)
        whole = self._tokenizer.decode([*self._before, *self._unwritten], skip_special_tokens=True)
        return str(whole[len(before) :])

    def _released(self, piece: str) -> str:
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        kept = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may be the beginning of another text, the stop text."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
