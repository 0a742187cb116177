"""Asking for answers, and streams of those that are slow to begin: the client sees that somebody works for it, and on what.

What goes wrong within the first seconds still gets a status of its own; after that it is the stream's last event.
"""

import asyncio
from collections.abc import AsyncIterator

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.tasks import AnyRequest
from yunmo.web.request import Request

QUIET_SECONDS = 2.0
"""How long nothing is said. A proxy gives up after 30 to 60 s, a person sooner."""


async def ask(cloud: Cloud, request: Request, model: str, task: AnyRequest) -> Answering:
    """The answer that begins; every refusal is raised here. The access log learns which model it was asked of."""
    request.model = model
    return await cloud.inference.begin(request.principal, model, task, can_wait=request.can_wait)


async def begun(answering: Answering) -> None:
    """Wait for the first chunk, but not longer than is good to be quiet. Raises what goes wrong until then."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await answering.ready()
    except TimeoutError:
        return


async def comments(answering: Answering) -> AsyncIterator[bytes]:
    """Comments until the first chunk is there, such as `: loading 40% exporting to ONNX`; clients skip them. Raises what goes wrong."""
    while not answering.is_ready:
        yield f": {' '.join(answering.doing.split())}\n\n".encode()
        await begun(answering)
