"""Turn a conversation into the model's prompt, in a process that an evil chat template can only kill."""

import json
import os
import selectors
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Message

_PROGRAM = Path(__file__).with_name("template_process.py")
_SECONDS = 2.0
_START_SECONDS = 20.0


class Renderer:
    """Renders one model's chat template; starts its process when first needed and again after it died."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        self._template = template
        self._special_tokens = dict(special_tokens)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, request: Chat) -> str:
        """The prompt of a conversation, ready for the assistant's turn.

        Raises InvalidRequest with the template's own words if it refuses the conversation, or runs out of time or memory.
        """
        values = {
            **self._special_tokens,
            "messages": [_message(each) for each in request.messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
        }
        question = json.dumps({"template": self._template, "values": values}).encode()
        with self._lock:
            answer = self._ask(question)
        if "error" in answer:
            raise InvalidRequest(f"the model's chat template refuses this conversation: {answer['error']}", param="messages")
        return str(answer["text"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _ask(self, question: bytes) -> dict[str, str]:
        process = self._process
        seconds = _SECONDS
        if process is None or process.poll() is not None:
            self._stop()
            process = self._process = _start()
            seconds += _START_SECONDS
        assert process.stdin
        try:
            process.stdin.write(struct.pack(">I", len(question)) + question)
            process.stdin.flush()
            deadline = monotonic() + seconds
            length = struct.unpack(">I", _read(process, 4, deadline))[0]
            answer: dict[str, str] = json.loads(_read(process, length, deadline))
        except (OSError, EOFError, TimeoutError):
            self._stop()
            return {"error": f"it did not finish within {_SECONDS:g} seconds and 64 MB"}
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    # its own environment: nothing of ours, and nothing secret, is in it
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    command = [sys.executable, "-I", "-X", "utf8", str(_PROGRAM)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kept, cwd="/")  # noqa: S603 - our own program


def _read(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    assert process.stdout
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(data) < count:
            if not selector.select(max(0.0, deadline - monotonic())):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), count - len(data))
            if not piece:
                raise EOFError
            data += piece
    return data


def _message(message: Message) -> dict[str, Any]:
    if message.media:
        raise Unsupported("this model reads text only: leave pictures and recordings out of the messages", param="messages")
    made: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        made["name"] = message.name
    return made


def _arguments(text: str) -> Any:
    """The arguments as an object, as templates expect them; the text itself where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def template_of(tokenizer: Any) -> str | None:
    """The tokenizer's template for chats; the one called default where there are several."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, Mapping):
        return template.get("default")
    if isinstance(template, Sequence) and not isinstance(template, str):
        return next((each["template"] for each in template if each.get("name") == "default"), None)
    return template
