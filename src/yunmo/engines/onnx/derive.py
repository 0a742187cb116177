"""The export of a model, made once in a child process and kept in the derived directory."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from yunmo.core.engine import Plan, Progress
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable
from yunmo.engines.onnx.exported import GRAPH, GRAPH_INT8, Exported, read_exported

_LOADED_AFTER = 0.9
_LAST_WORDS = 2000


def derive(directory: Path, derived: Path, plan: Plan, progress: Progress) -> tuple[Path, Exported]:
    """The folder with the graph that the plan needs, and its facts.

    Raises InvalidRequest, with what is wrong with the repository, if it cannot be exported.
    """
    head = str(plan.options.get("head", ""))
    if not head:
        raise InvalidRequest("The plan's options have no 'head' (classify, classify-tokens, answer, fill-mask or embed).", param="options")
    precision = plan.precision or "fp32"
    folder = derived / f"{head}-{precision}"
    facts = read_exported(folder)
    if facts is not None and (folder / _graph(precision)).is_file():
        return folder, facts
    derived.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=derived))
    try:
        _export(directory, making, (head, precision), progress)
        if precision == "int8":
            for each in making.glob(f"{GRAPH}*"):
                each.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    facts = read_exported(folder)
    if facts is None:
        raise EngineFailed("The export ended without its facts. Deploy the model again.")
    return folder, facts


def _graph(precision: str) -> str:
    return GRAPH_INT8 if precision == "int8" else GRAPH


def _export(directory: Path, output: Path, what: tuple[str, str], progress: Progress) -> None:
    """Run the export in a process of its own; the reference's memory goes with it."""
    command = [sys.executable, "-m", "yunmo.engines.onnx.export", str(directory), str(output), *what]
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
            raise InvalidRequest(f"The model cannot be exported: {problem}")
        if process.returncode < 0:
            raise Unavailable(f"The export was ended by signal {-process.returncode}; it may have had too little memory.")
        if process.returncode:
            errors.seek(0)
            raise EngineFailed(f"The export failed: {errors.read()[-_LAST_WORDS:].strip()}")


def _follow(lines: IO[str], progress: Progress) -> str | None:
    problem = None
    for line in lines:
        if not line.startswith("{"):
            continue  # a library printed something
        told = json.loads(line)
        if "problem" in told:
            problem = str(told["problem"])
        else:
            progress(str(told["step"]), _LOADED_AFTER * float(told["share"]))
    return problem
