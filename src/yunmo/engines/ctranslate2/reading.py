"""From texts to tokens and back, with the repository's own tokenizer."""

import threading
from typing import Any

from yunmo.core.engine import Plan
from yunmo.core.errors import InvalidRequest
from yunmo.core.languages import Pair
from yunmo.core.rewriting import check_length, check_text, context_tokens


class Reader:
    """A tokenizer that several threads use: encoding with other languages or truncation changes it while it works."""

    def __init__(self, config: Any, tokenizer: Any, plan: Plan, rows: int) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._lock = threading.Lock()
        self.limit = context_tokens(config, tokenizer, plan.context_tokens)
        self.vocabulary = int(getattr(config.get_text_config(decoder=True), "vocab_size", 0) or len(tokenizer))

    def encode(self, pair: Pair, text: str, *, truncate: bool) -> list[int]:
        """The tokens of a text in the pair's source language. Raises ContextTooLong if they are too many."""
        check_text(text, "inputs")
        cut: dict[str, Any] = {"truncation": True, "max_length": self.limit} if truncate and self.limit else {"truncation": False}
        with self._lock:
            if pair.source is not None:
                self._tokenizer.src_lang = pair.source
            tokens = list(self._tokenizer(pair.told(text), verbose=False, **cut)["input_ids"])
        check_length(len(tokens), self.limit)
        return self.known(tokens, "inputs")

    def encode_prompt(self, text: str) -> list[int]:
        """The tokens of a prompt, with the special ones around it."""
        with self._lock:
            return list(self._tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def known(self, tokens: list[int], param: str) -> list[int]:
        """The tokens themselves; raises InvalidRequest if the model does not have one of them."""
        strange = next((token for token in tokens if token >= self._rows), None)
        if strange is not None:
            raise InvalidRequest(
                f"the text holds {self.name(strange)!r}, which the model's tokenizer knows and the model does not", param=param
            )
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """What the tokens say, without the special ones."""
        with self._lock:
            return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def name(self, token: int) -> str:
        """What one token says, or its name if it is a special one."""
        with self._lock:
            return str(self._tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
