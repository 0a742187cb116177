"""Classification with an encoder of BERT-base's size, mixed lengths, one text a request, closed loop: six to eight times MiniLM's work."""

from collections.abc import Sequence

from peers import models
from peers.client import closed_loop
from peers.effort import Effort
from peers.loads import encoders
from peers.loads.measured import Measured
from peers.sides import Side

_WARMING_CLIENTS, _WARMING_SECONDS = 8, 0.5


async def measure(sides: Sequence[Side], effort: Effort, round_number: int) -> Measured:
    """Requests per second and latencies for each number of clients; the first round compares the labels with PyTorch's."""
    found: Measured = {}
    requests = {side.name: side.requests("classify", models.texts()) for side in sides}
    for side in sides:
        if round_number == 0:
            fidelity = await encoders.same_label(side, models.bert_labels())
            found.setdefault("classify, fidelity", {})[side.name] = fidelity
        await closed_loop(side.port, requests[side.name], _WARMING_CLIENTS, _WARMING_SECONDS)
    for clients in effort.bert_clients:
        cell = found.setdefault(f"classify, {clients} clients", {})
        for side in sides:
            cell[side.name] = await encoders.window(side, requests[side.name], clients, effort.bert_seconds)
    return found
