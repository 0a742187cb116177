"""The official clients, each major version in its own environment, against a real server."""

import asyncio
import json
import os
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from openai_double import LOOKS_AT_A_COLD_MODEL, World

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "openai_clients" / "journey.py"
PYTHONS = {
    "installed": Path(sys.executable),
    **{f"openai-{major}": ROOT / ".clients" / f"openai-{major}" / "bin" / "python" for major in (1, 2, 3)},
}
STEPS = (
    "models",
    "chat",
    "logprobs",
    "stream",
    "tools",
    "structured",
    "completions",
    "embeddings",
    "audio",
    "moderations",
    "errors",
    "retries",
)


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("name", PYTHONS)
async def test_the_official_client_finds_everything_as_it_expects(world, name):
    if not PYTHONS[name].exists():
        pytest.skip(f"there is no environment .clients/{name}")
    async with _serving(world) as url:
        seen = await _run(PYTHONS[name], PROGRAM, url)
    assert {step for step in STEPS if seen.get(step)} == set(STEPS)
    assert name == "installed" or seen["version"].startswith(name.removeprefix("openai-") + ".")
    # the client has retried: each limited question was refused once
    assert sum(answering.served.name == "limited-once" for answering in world.inference.begun) == 1
    assert all(answering.closed for answering in world.inference.begun)


async def test_hugging_faces_client_chats_under_the_models_own_address(world):
    program = Path(__file__).parent / "openai_clients" / "hugging_face.py"
    async with _serving(world) as url:
        assert (await _run(Path(sys.executable), program, url))["chat"]


async def test_official_clients_take_the_news_of_a_model_that_loads_for_silence(world):
    program = Path(__file__).parent / "openai_clients" / "cold.py"
    pythons = [python for python in PYTHONS.values() if python.exists()]
    async with _serving(world) as url:
        seen = await asyncio.gather(*(_run(python, program, url) for python in pythons))
    for each in seen:
        assert each == {"chat": "You said hello", "completions": "hello and on", "broken": "The model stopped: out of memory."}
    assert all(answering.looks == LOOKS_AT_A_COLD_MODEL for answering in world.inference.begun), "no stream was a comment's"


async def test_hugging_faces_clients_take_the_news_of_a_model_that_loads_for_silence(world):
    program = Path(__file__).parent / "openai_clients" / "cold_hugging_face.py"
    pythons = [Path(sys.executable), *(ROOT / ".clients" / f"hub-{version}" / "bin" / "python" for version in ("0.36", "1.5"))]
    async with _serving(world) as url:
        seen = await asyncio.gather(*(_run(python, program, url) for python in pythons if python.exists()))
    assert seen == [{"chat": "You said hello"}] * len(seen)
    assert all(answering.looks == LOOKS_AT_A_COLD_MODEL for answering in world.inference.begun)


@asynccontextmanager
async def _serving(world):
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", lifespan="off"))
    # connections wait in the socket's backlog until the server has started
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]), name="server")
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def _run(python, program, url):
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTEST_CURRENT_TEST"}}
    process = await asyncio.create_subprocess_exec(
        python, program, url, env={**clean, "NO_PROXY": "127.0.0.1"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)
