"""A program that answers lines of JSON in a process of its own: what it is given is not trusted, and can only bring it down itself."""

import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

_SOURCE = Path(__file__).parents[3]
_PIECE = 1 << 16


class Companion:
    """Such a process; it begins with the first question, or before, and again after it died. Safe for several threads."""

    def __init__(self, arguments: Sequence[str], first: Mapping[str, Any] | None, start_seconds: float, seconds: float) -> None:
        """Python's `arguments`; what it is told `first`, whose answer may take `start_seconds`."""
        self._command = [sys.executable, *arguments]
        self._first = first
        self._start_seconds = start_seconds
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_new = False

    def begin(self) -> None:
        """Start the process and do not wait for it: it is ready sooner when it is asked."""
        with self._lock:
            if self._process is None:
                self._process = self._started()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer; None if the process died of the question, or had to be ended because it took too long."""
        with self._lock:
            try:
                return self._ask(question)
            except (OSError, EOFError, TimeoutError):
                self._stop()
                return None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        seconds = self._seconds
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = self._started()
        if self._is_new:
            self._is_new = False
            if self._first is None:
                seconds += self._start_seconds
            elif "error" in (refused := _answered(self._process, self._first, self._start_seconds)):
                return refused
        return _answered(self._process, question, seconds)

    def _started(self) -> subprocess.Popen[bytes]:
        # an environment of its own: nothing secret is in it
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
        kept |= {"PYTHONPATH": str(_SOURCE), "CI": "true"}  # for OpenVINO, which then reports to nobody
        self._is_new = True
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kept, cwd="/")  # noqa: S603 - our own programs

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _answered(process: subprocess.Popen[bytes], question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question).encode() + b"\n")
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
    answer: dict[str, Any] = json.loads(line)
    return answer
