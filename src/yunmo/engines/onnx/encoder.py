"""What the tasks work with: the tokenizer, the network and the facts of one loaded model."""

from dataclasses import dataclass
from typing import Any

from yunmo.engines.onnx.encode import Tokens
from yunmo.engines.onnx.exported import Exported
from yunmo.engines.onnx.network import Floats, Network


@dataclass(frozen=True, slots=True)
class Encoder:
    """A loaded encoder; shared by all streams and never changed."""

    tokens: Tokens
    network: Network
    facts: Exported

    def logits(self, encoding: Any) -> Floats:
        """The head's logits for one encoding."""
        return self.network.forward(encoding.ids, self.types(encoding), "logits")[0]

    def types(self, encoding: Any) -> list[int] | None:
        """Which of the two texts each token is of, where the model was trained with it."""
        return encoding.type_ids if self.facts.tokenizer.has_token_types else None
