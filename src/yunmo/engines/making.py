"""What engines make of a model and keep: in a process of its own, by one at a time, whole or not there at all.

The process takes the memory of a conversion and of its reference with it when it ends. It tells its progress as lines of JSON:
`{"step": "converting", "share": 0.4}`, or `{"problem": "…"}` when the model is one that cannot be made into this.
"""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed, YunmoError

MAKING = ".making-"
"""How the names of what is not finished yet begin."""

_LAST_WORDS = 2000


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time makes files in the folder; what one left behind that was killed is cleared away."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in folder.glob(f"{MAKING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield


def run(module: str, arguments: Sequence[str], progress: Progress, *, name: str, if_killed: type[YunmoError] = EngineFailed) -> str | None:
    """Run a module of ours as a program and answer the problem that it names, if any; `name` is what the errors call it.

    Raises EngineFailed when it fails, and `if_killed` when a signal ends it.
    """
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - our own program
        assert process.stdout is not None
        with process:
            try:
                problem = _follow(process.stdout, progress)
            except BaseException:
                process.kill()
                raise
        if problem:
            return problem
        if process.returncode < 0:
            raise if_killed(f"The {name} was ended by signal {-process.returncode}; it may have had too little memory.")
        if process.returncode:
            errors.seek(0)
            raise EngineFailed(f"The {name} failed: {errors.read()[-_LAST_WORDS:].strip()}")
    return None


def within(progress: Progress, begin: float, end: float) -> Progress:
    """Progress of one step as a part of the whole."""
    return lambda step, share: progress(step, begin + (end - begin) * share)


def _follow(lines: IO[str], progress: Progress) -> str | None:
    problem = None
    for line in lines:
        if not line.startswith("{"):
            continue  # a library printed something
        told = json.loads(line)
        if "problem" in told:
            problem = str(told["problem"])
        else:
            progress(str(told["step"]), float(told["share"]))
    return problem
