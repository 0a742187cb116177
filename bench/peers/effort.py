"""How much is measured: the whole of it, or a smoke run that shows that everything works and keeps no figure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The sizes of the loads. Seconds are of one side's one window."""

    rounds: int = 3
    encoder_clients: Sequence[int] = (1, 8, 32, 64)
    encoder_seconds: float = 1.0
    chat_clients: Sequence[int] = (1, 8, 16)
    chat_tokens: int = 32
    overload_factors: Sequence[float] = (0.5, 1, 2, 5)
    overload_seconds: float = 3.0


QUICK = Effort(
    rounds=1,
    encoder_clients=(1, 8),
    encoder_seconds=0.4,
    chat_clients=(1, 2),
    chat_tokens=8,
    overload_factors=(0.5, 2),
    overload_seconds=1.0,
)
