"""From the start of a server's process to its first right answer, and the memory that it has by then; models and caches are on the disk."""

from collections.abc import Sequence

from peers.effort import Effort
from peers.loads.measured import Measured
from peers.sides import Side


async def measure(sides: Sequence[Side], effort: Effort, round_number: int) -> Measured:
    """Seconds and MiB; each round starts the servers anew."""
    del effort, round_number
    return {"first answer": {side.name: {"seconds": side.first_answer_seconds, "resident_mib": side.resident_mib()} for side in sides}}
