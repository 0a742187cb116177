"""Classification with Poisson arrivals, from half of what a server can do to five times as much: what is answered in time, what is refused.

The clients do not wait for each other, and latency counts from when a request was due, so a server that falls behind shows it.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence

from peers import models
from peers.client import Arrival, Connection, closed_loop, open_loop
from peers.effort import Effort
from peers.loads.measured import Measured
from peers.sides import Side

LIMIT_SECONDS = 1.5
PATIENCE_SECONDS = 2.0
_CAPACITY_CLIENTS = 32
_FALLING_BEHIND_SECONDS = 2.0
_REFUSALS = {429, 503}
_CALM_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 30.0


async def measure(sides: Sequence[Side], effort: Effort, round_number: int) -> Measured:
    """Goodput (answers within the limit per second) at each multiple of what the server did with closed-loop clients just before."""
    texts = models.texts()
    able = [side for side in sides if "classify" in side.endpoints]
    capacities = {}
    for side in able:
        replies, took = await closed_loop(side.port, side.requests("classify", texts), _CAPACITY_CLIENTS, effort.overload_seconds)
        capacities[side.name] = sum(reply.is_ok for reply in replies) / took
        if not capacities[side.name]:
            raise RuntimeError(f"{side.name} answers none of {len(replies)} requests; the last with {replies[-1].status}")
    found: Measured = {}
    for factor in effort.overload_factors:
        cell = found.setdefault(f"x{factor:g}", {})
        for side in able:
            requests = side.requests("classify", texts)
            seconds = _FALLING_BEHIND_SECONDS + effort.overload_seconds
            due = _poisson(factor * capacities[side.name], seconds, seed=f"{round_number} {factor}")
            arrivals = await open_loop(side.port, requests, due, PATIENCE_SECONDS)
            cell[side.name] = _figures(arrivals, effort.overload_seconds) | {"capacity": capacities[side.name]}
            await _calm(side, requests[0])
    return found


def _poisson(rate: float, seconds: float, seed: str) -> list[float]:
    source, moment, due = random.Random(seed), 0.0, []
    while (moment := moment + source.expovariate(rate)) < seconds:
        due.append(moment)
    return due


def _figures(arrivals: Sequence[Arrival], seconds: float) -> dict[str, float | list[float]]:
    """Of what was due after the first moments: by then a server that falls behind has fallen behind."""
    counted = [arrival for arrival in arrivals if arrival.due >= _FALLING_BEHIND_SECONDS]
    good = [arrival.reply.seconds for arrival in counted if arrival.reply.is_ok and arrival.reply.seconds <= LIMIT_SECONDS]
    refused = [arrival.reply.seconds for arrival in counted if arrival.reply.status in _REFUSALS]
    late = sum(arrival.reply.is_ok for arrival in counted) - len(good)
    return {
        "goodput_per_second": len(good) / seconds,
        "offered_per_second": len(counted) / seconds,
        "goodput_p50_ms": 1000 * statistics.median(good) if good else 0.0,
        "refused_share": len(refused) / max(1, len(counted)),
        "refusal_p50_ms": 1000 * statistics.median(refused) if refused else 0.0,
        "late_share": late / max(1, len(counted)),
        "given_up_share": (len(counted) - len(good) - len(refused) - late) / max(1, len(counted)),
    }


async def _calm(side: Side, request: bytes) -> None:
    """Wait until the server has worked off, or dropped, what nobody waits for any more."""
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST_WAIT_SECONDS:
        connection = Connection(side.port)
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                reply = await connection.ask(request)
        except TimeoutError:
            return
        finally:
            connection.close()
        if reply.is_ok and reply.seconds < _CALM_SECONDS:
            return
        await asyncio.sleep(0.05)
