"""Ask an engine, and put its rows beside the library's."""

import asyncio

import pytest

from yunmo.core.engine import Engine
from yunmo.core.errors import YunmoError
from yunmo.core.tasks import fold
from yunmo.core.usage import Usage


def run(engine, request):
    """The output and the usage; raises the engine's error."""
    if isinstance(engine, Engine):

        async def collect():
            return [chunk async for chunk in engine.stream(request)]

        *items, usage = asyncio.run(collect())
        return fold(request, [item for item in items if not isinstance(item, Usage)]), usage
    result = engine.run(0, [request])[0]
    if isinstance(result, YunmoError):
        raise result
    return result


def rows(labels):
    return [(each.label, pytest.approx(each.score, abs=1e-6)) for each in labels]


def pairs(found):
    return [(each["label"], each["score"]) for each in found]
