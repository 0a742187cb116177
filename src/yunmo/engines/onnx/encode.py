"""Text to token ids, with the reference's tokenizer and truncation, safely from many threads."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.engines.onnx.exported import TokenizerFacts

Strategy = Literal["longest_first", "only_first", "only_second"]

_LONGEST_TEXT = 1_000_000
_SETTINGS_KEPT = 16


class Tokens:
    """One vocabulary, and a tokenizer of its own for every way of truncation in use.

    A Rust tokenizer holds its truncation as state; changing it while another thread encodes is an error. So each setting has a
    tokenizer that shares the vocabulary and never changes.
    """

    def __init__(self, path: Path, facts: TokenizerFacts) -> None:
        from tokenizers import Tokenizer

        self.facts = facts
        self.whole = Tokenizer.from_file(str(path))
        self.whole.no_truncation()
        self.whole.no_padding()
        self._truncating = lru_cache(maxsize=_SETTINGS_KEPT)(self._make_truncating)

    def encode(self, text: str, pair: str | None = None) -> Any:
        """All tokens of the text, or of the pair, with the special ones. Raises ContextTooLong if the model cannot read as many."""
        encoding = self.whole.encode(_checked(text), _checked_pair(pair))
        count = len(encoding.ids)
        if count > self.facts.max_tokens:
            raise ContextTooLong(
                f"This text has {count} tokens, and the model reads at most {self.facts.max_tokens}. Shorten it, or let it be truncated."
            )
        return _some(encoding)

    def truncate(self, text: str, pair: str | None = None, strategy: Strategy = "longest_first", max_tokens: int | None = None) -> Any:
        """The tokens that the model can read, the rest cut off."""
        return _some(self.windows(text, pair, strategy, max_tokens, 0)[0])

    def windows(self, text: str, pair: str | None, strategy: Strategy, max_tokens: int | None, stride: int) -> list[Any]:
        """All tokens as encodings of at most `max_tokens`, each sharing `stride` tokens with the one before."""
        text, pair = _checked(text), _checked_pair(pair)
        limit = min(max_tokens or self.facts.max_tokens, self.facts.max_tokens)
        try:
            encoding = self._truncating(strategy, limit, stride).encode(text, pair)
        except Exception as error:  # boundary: the Rust library raises bare Exceptions
            raise InvalidRequest(f"The text cannot be cut to windows of {limit} tokens that overlap by {stride} ({error}).") from error
        windows = [encoding, *encoding.overflowing]
        if any(len(window.ids) > limit for window in windows):  # the library cuts wrongly where only special tokens fit
            raise InvalidRequest(f"A window of {limit} tokens is too short for what must be in each. Make it longer, or the text shorter.")
        return windows

    def words(self, text: str) -> list[int]:
        """The ids of the text alone, without special tokens."""
        ids: list[int] = self.whole.encode(_checked(text), add_special_tokens=False).ids
        return ids

    def identity(self, name: str) -> int | None:
        """The id of the token of this very name; None if the vocabulary has none."""
        found: int | None = self.whole.token_to_id(_checked(name))
        return found

    def to_text(self, ids: list[int], *, skip_special: bool = False) -> str:
        """The text of these ids, spaces cleaned up as the reference does."""
        text: str = self.whole.decode(ids, skip_special_tokens=skip_special)
        return _without_spaces(text) if self.facts.cleans_up_spaces else text

    def join(self, tokens: list[str]) -> str:
        """The text of these tokens, given by name."""
        decoder = self.whole.decoder
        return str(decoder.decode(tokens)) if decoder is not None else " ".join(tokens)

    def _make_truncating(self, strategy: Strategy, max_tokens: int, stride: int) -> Any:
        from tokenizers import Tokenizer

        sibling = Tokenizer(self.whole.model)
        for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
            value = getattr(self.whole, part)
            if value is not None:
                setattr(sibling, part, value)
        added = self.whole.get_added_tokens_decoder()
        for identity in sorted(added):
            token = added[identity]
            (sibling.add_special_tokens if token.special else sibling.add_tokens)([token])
        sibling.enable_truncation(max_tokens, stride=stride, strategy=strategy, direction=self.facts.truncation_side)
        return sibling


def _checked(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise InvalidRequest(f"This text has {len(text)} characters; the limit is {_LONGEST_TEXT}. Send it in parts.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"The text has half of a surrogate pair at character {error.start}, which is not a character. Send valid Unicode."
            ) from error
    return text


def _checked_pair(pair: str | None) -> str | None:
    return None if pair is None else _checked(pair)


def _some(encoding: Any) -> Any:
    if not encoding.ids:
        raise InvalidRequest("The text has no tokens. Send one that has something in it.")
    return encoding


def _without_spaces(text: str) -> str:
    for spaced, joined in (
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ):
        text = text.replace(spaced, joined)
    return text
