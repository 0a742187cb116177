"""What the tasks work with: the tokenizer, the network and the facts of one loaded model."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from yunmo.core.engine import Result
from yunmo.core.errors import InvalidRequest
from yunmo.engines.onnx.encode import Tokens
from yunmo.engines.onnx.exported import Exported
from yunmo.engines.onnx.network import Floats, Network, Passage

Work = Generator[list[Passage], list[list[Floats]], Result]
"""A request in work: it asks once for the head's outputs of some passages, is sent them, and returns its result.

So the passages of several requests can be computed together.
"""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A loaded encoder; shared by all streams and never changed."""

    tokens: Tokens
    network: Network
    facts: Exported

    def passage(self, encoding: Any) -> Passage:
        """The encoding as the network reads it. Raises InvalidRequest for a token that the model has no row for."""
        if max(encoding.ids) >= self.facts.vocabulary:
            token = encoding.tokens[max(range(len(encoding.ids)), key=encoding.ids.__getitem__)]
            raise InvalidRequest(f"The text has {token!r}, which the model's tokenizer knows and the model does not. Leave it out.")
        return Passage(encoding.ids, self.types(encoding))

    def types(self, encoding: Any) -> list[int] | None:
        """Which of the two texts each token is of, where the model was trained with it."""
        return encoding.type_ids if self.facts.tokenizer.has_token_types else None
