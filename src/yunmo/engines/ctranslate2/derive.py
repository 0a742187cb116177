"""The converted model that a plan needs, made once in a child process and kept in the derived directory."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed
from yunmo.engines.ctranslate2.converted import FOLDER, FORMAT, Converted, read_facts, versions, write_facts

_LAST_WORDS = 2000
_MAKING = ".making-"


def derive(directory: Path, derived: Path, progress: Progress) -> tuple[Path, Converted]:
    """The folder with the model in every precision, and the facts of its conversion.

    Raises EngineFailed, with what is wrong, if it cannot be made or came out otherwise; what failed is not tried again with
    the same libraries.
    """
    folder = derived / FOLDER
    facts = read_facts(folder)
    if facts is None:
        with _alone(derived):
            facts = read_facts(folder) or _make(directory, folder, progress)
    if facts.problem:
        raise EngineFailed(f"The model cannot be served by CTranslate2: {facts.problem}. The engine transformers can serve it as it is.")
    return folder, facts


@contextlib.contextmanager
def _alone(derived: Path) -> Iterator[None]:
    """One process at a time makes files here; what one left behind that was killed is cleared away."""
    derived.mkdir(parents=True, exist_ok=True)
    with (derived / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in derived.glob(f"{_MAKING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield


def _make(directory: Path, folder: Path, progress: Progress) -> Converted:
    """Convert beside the folder's place and move it there whole."""
    making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=folder.parent))
    try:
        problem = _convert(directory, making, progress)
        if problem:
            shutil.rmtree(making)
            making.mkdir()
            write_facts(making, Converted(format=FORMAT, problem=problem.rstrip("."), versions=versions()))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    facts = read_facts(folder)
    if facts is None:
        raise EngineFailed("The conversion ended without its facts. Deploy the model again.")
    return facts


def _convert(directory: Path, making: Path, progress: Progress) -> str | None:
    """Run the program in a process of its own, so that the memory of the reference goes with it; the problem if there is one."""
    command = [sys.executable, "-m", "yunmo.engines.ctranslate2.convert", str(directory), str(making)]
    with tempfile.TemporaryFile("w+") as errors:
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
            raise EngineFailed(f"The conversion was ended by signal {-process.returncode}; it may have had too little memory.")
        if process.returncode:
            errors.seek(0)
            raise EngineFailed(f"The conversion failed: {errors.read()[-_LAST_WORDS:].strip()}")
    return None


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
