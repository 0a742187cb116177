"""The GGUF that a plan needs: the repository's own, or one made once in a child process and kept in the derived directory."""

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from yunmo.core.engine import Adapter, Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable
from yunmo.engines.llama_cpp.converted import FLOATS, FORMAT, Converted, document, facts_path, read_facts, versions
from yunmo.engines.llama_cpp.families import decoder_of
from yunmo.engines.llama_cpp.files import ChosenGguf, choose_gguf, quantisation, whole_models
from yunmo.engines.llama_cpp.options import LlamaCppOptions

_LAST_WORDS = 2000
_MAKING = ".making-"


def derive(directory: Path, derived: Path, plan: Plan, progress: Progress) -> tuple[Path, Converted | None]:
    """The file to load, and the facts of its conversion if it was made of safetensors.

    Raises EngineFailed, with what is wrong, if it cannot be made; a conversion that failed is not tried again with the
    same libraries.
    """
    chosen = _chosen(directory, read_options(plan, LlamaCppOptions).file)
    if chosen is None:
        return _converted(directory, derived, plan.precision, progress)
    if plan.precision in {"", quantisation(chosen.path)}:
        return directory / chosen.path, None
    name = re.sub(r"[^\w.-]", "_", chosen.path.removesuffix(".gguf"))
    file = derived / "llama_cpp" / f"{name}-{plan.precision}.gguf"
    _requantise(file, plan.precision, [directory / shard for shard in chosen.shards], _within(progress, 0.0, 0.9))
    return file, None


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of a load by their names: the files of those that can be used, and why the others cannot."""

    names: tuple[str, ...]
    files: tuple[Path, ...]
    problems: Mapping[str, str]

    def index(self, name: str | None) -> int | None:
        """Which file is the adapter's. Raises InvalidRequest with what is wrong with it, Unavailable if it is not loaded."""
        if name is None:
            return None
        if name in self.problems:
            raise InvalidRequest(self.problems[name], param="model")
        if name not in self.names:
            raise Unavailable("The adapter is not loaded beside its base; ask again.", retry_after_seconds=1)
        return self.names.index(name)

    def without(self, reason: str) -> "Adapters":
        """None of them, for llama.cpp does not load them."""
        return Adapters((), (), {**self.problems, **dict.fromkeys(self.names, f"The adapter cannot be used: {reason}")})


NO_ADAPTERS = Adapters((), (), {})


def derive_adapters(adapters: Sequence[Adapter], base: Path, derived: Path, progress: Progress) -> Adapters:
    """The adapters as files for the base's, each made once for all the base's precisions."""
    folder = derived / "llama_cpp" / "adapters"
    files, problems = {}, {}
    for adapter in adapters:
        progress("converting adapters", 0.9)
        file = folder / f"{adapter.name}.gguf"
        problem = None
        with _alone(folder):
            if not file.is_file():
                try:
                    problem = _make(["adapter", adapter.directory], file, [str(base)], _within(progress, 0.9, 0.95))
                except EngineFailed as error:
                    problem = error.message
        if problem is None:
            files[adapter.name] = file
        else:
            problems[adapter.name] = problem
    return Adapters(tuple(files), tuple(files.values()), problems)


def _chosen(directory: Path, file: str | None) -> ChosenGguf | None:
    sizes = {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*.gguf")}
    if file is None:
        return choose_gguf(sizes)
    return next((model for model in whole_models(sizes) if model.path == file), None) or ChosenGguf(file, (file,), 0, quantisation(file))


def _converted(directory: Path, derived: Path, precision: str, progress: Progress) -> tuple[Path, Converted]:
    decoder = decoder_of(document(directory, "config.json"))
    if decoder is None:
        raise EngineFailed(
            "The repository holds neither a whole GGUF model (all shards of one) nor a decoder that can be converted to GGUF."
        )
    floats = precision if precision in FLOATS else decoder.floats
    base = derived / "llama_cpp" / f"converted-{floats}.gguf"
    facts = read_facts(base) or _convert(directory, base, floats, _within(progress, 0.0, 0.7))
    if facts.problem:
        raise EngineFailed(f"The model cannot be served as GGUF: {facts.problem}. The engine transformers can serve it as it is.")
    if precision in {"", floats}:
        return base, facts
    file = base.with_name(f"converted-{precision}.gguf")
    _requantise(file, precision, [base], _within(progress, 0.7, 0.9))
    return file, facts


def _requantise(file: Path, precision: str, sources: Sequence[Path], progress: Progress) -> None:
    with _alone(file.parent):
        if not file.is_file():
            problem = _make(["gguf"], file, [precision, *map(str, sources)], progress)
            if problem:
                raise EngineFailed(f"The GGUF cannot be made: {problem}")


def _convert(directory: Path, file: Path, precision: str, progress: Progress) -> Converted:
    with _alone(file.parent):
        known = read_facts(file)
        if known is not None:
            return known
        for outdated in file.parent.glob("converted-Q*"):
            outdated.unlink()
        problem = _make(["safetensors", str(directory)], file, [precision], progress)
        if problem:
            facts = Converted(format=FORMAT, problem=problem.rstrip("."), versions=versions())
            facts_path(file).write_bytes(msgspec.json.encode(facts))
            return facts
    made = read_facts(file)
    if made is None:
        raise EngineFailed("The conversion ended without its facts. Deploy the model again.")
    return made


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes files in the folder; what one left behind that was killed is cleared away."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in folder.glob(f"{_MAKING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield


def _make(begin: Sequence[str], file: Path, end: Sequence[str], progress: Progress) -> str | None:
    """Run the program in a process of its own, and move what it wrote to its place whole; the problem if it cannot be made."""
    with tempfile.TemporaryDirectory(prefix=_MAKING, dir=file.parent) as making, tempfile.TemporaryFile("w+") as errors:
        made = Path(making) / file.name
        command = [sys.executable, "-m", "yunmo.engines.llama_cpp.convert", *begin, str(made), *end]
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
        if facts_path(made).is_file():
            facts_path(made).replace(facts_path(file))
        made.replace(file)
    return None


def _within(progress: Progress, begin: float, end: float) -> Progress:
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
