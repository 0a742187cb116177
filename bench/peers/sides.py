"""A server that is measured, Yunmo or another: how it is started and ended, and what its requests look like."""

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness import free_port
from peers import models
from peers.client import Connection, post
from peers.environments import ENVIRONMENTS, TABLE, python_of

SERVERS = Path(__file__).with_name("servers")
START_SECONDS = 120
_HOME = ENVIRONMENTS / "home"
"""Where the peers keep their own caches."""
_QUESTION = "How do you do?"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


class DidNotStart(Exception):
    """A server ended, or did not answer in time."""


@dataclass(frozen=True)
class Endpoint:
    """Where texts of one task go: TEXT in the body stands for one, `answer` leads to what is wanted of the reply."""

    path: str
    body: str
    answer: Sequence[str | int] = ()

    def found(self, reply: bytes) -> Any:
        value = json.loads(reply)
        for step in self.answer:
            value = value[step]
        return value


@dataclass(kw_only=True)
class Side:
    """A running server."""

    name: str
    port: int
    endpoints: Mapping[str, Endpoint]
    pid: int
    headers: dict[str, str] = field(default_factory=dict)
    chat_model: str = ""
    most_chat_clients: int = 10**6
    first_answer_seconds: float = 0.0

    def requests(self, task: str, texts: Sequence[str]) -> list[bytes]:
        endpoint = self.endpoints[task]
        return [post(endpoint.path, endpoint.body.replace("TEXT", json.dumps(text)).encode(), self.headers) for text in texts]

    def chat(self, question: str, tokens: int) -> bytes:
        """A streaming chat of at most so many tokens, greedy."""
        body = {
            "model": self.chat_model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return post("/v1/chat/completions", json.dumps(body).encode(), self.headers)

    def resident_mib(self) -> float:
        """The memory of all its processes, what they share counted once."""
        process = psutil.Process(self.pid)
        return sum(each.memory_full_info().pss for each in [process, *process.children(recursive=True)]) / 2**20

    async def answered_first(self, began: float, seconds: float) -> None:
        """Ask until there is a right answer; raise DidNotStart after so many seconds or when the process has ended."""
        request = self.chat(_QUESTION, 1) if self.chat_model else self.requests("classify", [_QUESTION])[0]
        connection, reply = Connection(self.port), None
        while time.monotonic() - began < seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    reply = await connection.ask(request)
            if reply is not None and reply.is_ok:
                self.first_answer_seconds = time.monotonic() - began
                connection.close()
                return
            if not psutil.pid_exists(self.pid) or psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE:
                break
            await asyncio.sleep(0.02)
        said = "" if reply is None else f"; its last answer was {reply.status} {reply.body[:200].decode(errors='replace')}"
        raise DidNotStart(f"{self.name} had no answer {time.monotonic() - began:.0f} s after its start{said}")


@contextlib.asynccontextmanager
async def started(name: str, log: Path, kind: str) -> AsyncIterator[Side]:
    """A peer of peers.toml with this kind of models, from its start to its end. Raises DidNotStart with the end of what it wrote."""
    peer = TABLE["peers"][name]
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as scratch:
        port = free_port()
        words = _words(peer, port, scratch, kind)
        began = time.monotonic()
        process = _launch(peer, words, log)
        try:
            side = _side(name, peer, port, process.pid, words)
            try:
                await side.answered_first(began, peer.get("start_seconds", START_SECONDS))
            except DidNotStart as error:
                raise DidNotStart(f"{error}. It wrote: {_end_of(log)}") from None
            yield side
        finally:
            end(process)


def _launch(peer: dict[str, Any], words: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [word.format_map(words) for word in peer["command"]]
    variables = {key: value.format_map(words) for key, value in peer.get("variables", {}).items()}
    environment = _environment(words["bin"], words["scratch"]) | variables
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment, cwd=words["scratch"], stdout=out, stderr=out, start_new_session=True)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-600:].strip()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, wait, and end those of its processes that are left."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
        process.wait(10)


def _words(peer: dict[str, Any], port: int, scratch: str, kind: str) -> dict[str, str]:
    """What the words in braces stand for; a model is made only for the peers that name it."""
    python = python_of(peer["environment"])
    words = {
        "python": str(python),
        "bin": str(python.parent),
        "servers": str(SERVERS),
        "port": str(port),
        "scratch": scratch,
        "home": str(_HOME),
    }
    text = json.dumps(peer)
    for name in ("classifier", "embedder", "classifier_onnx", "embedder_onnx", "chat", "chat_gguf", "chat_openvino"):
        if f"{{{name}}}" in text:
            words[name] = str(getattr(models, name.replace("classifier", "bert") if kind == "bert" else name)())
    return words


def _environment(programs: str, scratch: str) -> dict[str, str]:
    """This process's, without what belongs to our own Python."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("YUNMO_", "PYTHON", "VIRTUAL_ENV"))}
    _HOME.mkdir(exist_ok=True)
    path = f"{programs}{os.pathsep}{own.get('PATH', '')}"
    return own | _OFFLINE | {"PATH": path, "PYTHONPATH": str(SERVERS), "HOME": str(_HOME), "TMPDIR": scratch}


def _side(name: str, peer: dict[str, Any], port: int, pid: int, words: dict[str, str]) -> Side:
    chat = peer.get("chat", {})
    return Side(
        name=name,
        port=port,
        endpoints={task: Endpoint(**peer[task]) for task in ("classify", "embed") if task in peer},
        pid=pid,
        chat_model=chat.get("model", "").format_map(words),
        most_chat_clients=chat.get("most_clients", 10**6),
    )
