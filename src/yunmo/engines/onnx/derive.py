"""What is made of a model, once and in a child process, and kept in the derived directory: its fp32 graph, and int8 ones of that."""

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

_EXPORTED_AFTER = 0.6
_LOADED_AFTER = 0.9
_LAST_WORDS = 2000


def derive(directory: Path, derived: Path, plan: Plan, progress: Progress) -> tuple[Path, Exported]:
    """The folder with the graph that the plan needs, and its facts. Every plan of a model shares the one fp32 export.

    Raises InvalidRequest, with what is wrong with the repository, if it cannot be exported.
    """
    head = str(plan.options.get("head", ""))
    if not head:
        raise InvalidRequest("The plan's options have no 'head' (classify, classify-tokens, answer, fill-mask or embed).", param="options")
    derived.mkdir(parents=True, exist_ok=True)
    full = derived / f"{head}-fp32"
    is_int8 = plan.precision == "int8"
    until = _EXPORTED_AFTER if is_int8 else _LOADED_AFTER
    facts = _made(full, GRAPH, ("export", str(directory)), (head,), _part(progress, 0.0, until))
    if not is_int8:
        return full, facts
    form, weights = plan.format or "onnx", str(plan.options.get("weights", "s8"))
    folder = derived / f"{head}-int8-{form}-{weights}"
    return folder, _made(folder, GRAPH_INT8, ("quantize", str(full)), (form, weights), _part(progress, until, _LOADED_AFTER))


def _made(folder: Path, graph: str, source: tuple[str, str], more: tuple[str, ...], progress: Progress) -> Exported:
    """The facts in `folder`, after a program has filled it if it is not there; never half of it."""
    facts = read_exported(folder)
    if facts is not None and (folder / graph).is_file():
        return facts
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _run(source[0], (source[1], str(making), *more), progress)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    facts = read_exported(folder)
    if facts is None:
        raise EngineFailed("The export ended without its facts. Deploy the model again.")
    return facts


def _part(progress: Progress, begin: float, end: float) -> Progress:
    return lambda step, share: progress(step, begin + (end - begin) * share)


def _run(program: str, arguments: tuple[str, ...], progress: Progress) -> None:
    """Run a program of this package in a process of its own; the memory that it takes goes with it."""
    command = [sys.executable, "-m", f"yunmo.engines.onnx.{program}", *arguments]
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
            progress(str(told["step"]), float(told["share"]))
    return problem
