"""Conversations as the model's prompt: the repository's chat template, rendered in a process that it can only bring down itself."""

import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Message

_PROGRAM = Path(__file__).with_name("template_program.py")
_SECONDS = 3.0
_START_SECONDS = 20.0
_PIECE = 1 << 16


class Renderer:
    """Renders one template; its process begins with the first conversation and again after it died. Safe for several threads."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        self._template = template
        self._special_tokens = dict(special_tokens)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, request: Chat) -> str:
        """The prompt, up to where the assistant speaks. Raises InvalidRequest with the template's words if it refuses."""
        values = {
            **self._special_tokens,
            "messages": [_message(each) for each in request.messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
        }
        with self._lock:
            try:
                answer = self._ask(values)
            except (OSError, EOFError, TimeoutError):
                self._stop()
                answer = {"error": "it did not end within its time and memory"}
        if "error" in answer:
            raise InvalidRequest(f"The model's chat template refuses this conversation: {answer['error']}", param="messages")
        return str(answer["text"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _ask(self, values: Mapping[str, Any]) -> dict[str, str]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = _started()
            refused = _answered(self._process, {"template": self._template}, _START_SECONDS)
            if "error" in refused:
                return refused
        return _answered(self._process, values, _SECONDS)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _started() -> subprocess.Popen[bytes]:
    # an environment of its own: nothing secret is in it
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    command = [sys.executable, "-I", "-X", "utf8", str(_PROGRAM)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kept, cwd="/")  # noqa: S603 - our own program


def _answered(process: subprocess.Popen[bytes], asked: Mapping[str, Any], seconds: float) -> dict[str, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    process.stdin.flush()
    deadline, line = monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - monotonic())):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), _PIECE)
            if not piece:
                raise EOFError
            line += piece
    answer: dict[str, str] = json.loads(line)
    return answer


def _message(message: Message) -> dict[str, Any]:
    if message.media:
        raise Unsupported("This model reads text only: leave pictures and recordings out of the messages.", param="messages")
    made: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _parsed(call.arguments)}}
            for call in message.tool_calls
        ]
    made |= {name: value for name in ("tool_call_id", "name") if (value := getattr(message, name)) is not None}
    return made


def _parsed(arguments: str) -> Any:
    """An object, as templates expect it; the text itself where it is not JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
