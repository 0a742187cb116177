"""What the programs that try constraints out have in common: lines of standard input, each within its time and memory.

A line is a Constraint as JSON; each is answered by a line with {"problem"}, empty for a form that text can be held to. What
crashes, takes too long or too much memory ends the program, and not the process where all requests are answered.
"""

import json
import resource
import signal
import sys
from collections.abc import Callable

import msgspec

from yunmo.engines.chats.constraints import Constraint

SECONDS = 1.5
"""Of all processors' time together: as long is the step that compiles it for real, with all other requests in it."""

_SPARE_BYTES = 1 << 30
_PROBLEM_CHARACTERS = 300


def answer_lines(problem_of: Callable[[int, Constraint], str]) -> None:
    """Answer lines until there are no more; `problem_of` gets each one's number, too. Whatever is loaded must be by now."""
    _limit()
    for number, line in enumerate(sys.stdin):
        # nothing handles the signal: it ends the process, however deep in a loop it is
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        problem = problem_of(number, msgspec.json.decode(line, type=Constraint))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps({"problem": problem}) + "\n")
        sys.stdout.flush()


def said(error: Exception) -> str:
    """A C++ library's words without its source's path and the time."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return "it cannot be read"
    last = lines[-1]
    return (last.rpartition(".cc:")[2].partition(": ")[2] if ".cc:" in last else last)[:_PROBLEM_CHARACTERS]


def _limit() -> None:
    """Some more memory than is in use, no files."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is one more import
        most = int(file.read().split()[0]) * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
