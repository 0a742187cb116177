"""How much is measured: the whole of it, or a smoke run that shows that everything works and keeps no figure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Effort:
    """The sizes of the loads. Seconds are of one side's one window."""

    rounds: int = 3
    encoder_clients: Sequence[int] = (1, 8, 32, 64)
    encoder_seconds: float = 1.0
    chat_clients: Sequence[int] = (1, 8, 16)
    chat_tokens: int = 32
    bert_clients: Sequence[int] = (32, 64)
    bert_seconds: float = 4.0
    overload_factors: Sequence[float] = (0.5, 1, 2, 5)
    overload_seconds: float = 3.0

    def of(self, load: str) -> dict[str, Any]:
        """The sizes that matter to this load: rounds that have these in common can be put together."""
        prefix = _PREFIXES.get(load, load)
        return {name: size for name, size in json.loads(json.dumps(asdict(self))).items() if name.startswith(f"{prefix}_")}


_PREFIXES = {"encoders": "encoder"}

QUICK = Effort(
    rounds=1,
    encoder_clients=(1, 8),
    encoder_seconds=0.4,
    chat_clients=(1, 2),
    chat_tokens=8,
    bert_clients=(2,),
    bert_seconds=0.4,
    overload_factors=(1, 5),
    overload_seconds=1.0,
)
