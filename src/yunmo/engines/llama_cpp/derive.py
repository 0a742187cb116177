"""The GGUF that a plan needs: the repository's own, or one made once in a child process and kept in the derived directory."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from yunmo.core.engine import Adapter, Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable
from yunmo.engines import making
from yunmo.engines.llama_cpp.converted import FLOATS, FORMAT, Converted, document, facts_path, read_facts, versions
from yunmo.engines.llama_cpp.families import decoder_of
from yunmo.engines.llama_cpp.files import ChosenGguf, choose_gguf, quantisation, whole_models
from yunmo.engines.llama_cpp.options import LlamaCppOptions


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
    _requantise(file, plan.precision, [directory / shard for shard in chosen.shards], making.within(progress, 0.0, 0.9))
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
        with making.alone(folder):
            if not file.is_file():
                try:
                    problem = _make(["adapter", adapter.directory], file, [str(base)], making.within(progress, 0.9, 0.95))
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
    facts = read_facts(base) or _convert(directory, base, floats, making.within(progress, 0.0, 0.7))
    if facts.problem:
        raise EngineFailed(f"The model cannot be served as GGUF: {facts.problem}. The engine transformers can serve it as it is.")
    if precision in {"", floats}:
        return base, facts
    file = base.with_name(f"converted-{precision}.gguf")
    _requantise(file, precision, [base], making.within(progress, 0.7, 0.9))
    return file, facts


def _requantise(file: Path, precision: str, sources: Sequence[Path], progress: Progress) -> None:
    with making.alone(file.parent):
        if not file.is_file():
            problem = _make(["gguf"], file, [precision, *map(str, sources)], progress)
            if problem:
                raise EngineFailed(f"The GGUF cannot be made: {problem}")


def _convert(directory: Path, file: Path, precision: str, progress: Progress) -> Converted:
    with making.alone(file.parent):
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


def _make(begin: Sequence[str], file: Path, end: Sequence[str], progress: Progress) -> str | None:
    """Run the program, and move what it wrote to its place whole; the problem if it cannot be made."""
    with tempfile.TemporaryDirectory(prefix=making.MAKING, dir=file.parent) as unfinished:
        made = Path(unfinished) / file.name
        problem = making.run("yunmo.engines.llama_cpp.convert", (*begin, str(made), *end), progress, name="conversion")
        if problem is None:
            if facts_path(made).is_file():
                facts_path(made).replace(facts_path(file))
            made.replace(file)
    return problem
