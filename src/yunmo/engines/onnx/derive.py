"""What is made of a model, once and in a child process, and kept in the derived directory: its fp32 graph, int8 ones of that, prepacked ones."""

import shutil
import tempfile
from pathlib import Path

import structlog

from yunmo.core.engine import Plan, Progress
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable, YunmoError
from yunmo.engines import making
from yunmo.engines.onnx.exported import GRAPH, GRAPH_INT8, PREPACKED, Exported, read_exported
from yunmo.engines.onnx.prepack import PREPACKED_FOLDER, folder_of

_EXPORTED_AFTER = 0.6
_LOADED_AFTER = 0.9
_WORTH_PREPACKING_BYTES = 16 << 20
_log = structlog.get_logger()


def derive(directory: Path, derived: Path, plan: Plan, progress: Progress) -> tuple[Path, Exported]:
    """The folder with the graph that the plan needs, and its facts. Every plan of a model shares the one fp32 export.

    ONNX Runtime's graph is there in its prepacked form as well (`loadable`).

    Raises InvalidRequest, with what is wrong with the repository, if it cannot be exported.
    """
    head = str(plan.options.get("head", ""))
    if not head:
        raise InvalidRequest("The plan's options have no 'head' (classify, classify-tokens, answer, fill-mask or embed).", param="options")
    derived.mkdir(parents=True, exist_ok=True)
    full = derived / f"{head}-fp32"
    is_int8 = plan.precision == "int8"
    until = _EXPORTED_AFTER if is_int8 else _LOADED_AFTER
    facts = _made(full, GRAPH, ("export", str(directory)), (head,), making.within(progress, 0.0, until))
    if not is_int8:
        return full, facts
    form, weights = plan.format or "onnx", str(plan.options.get("weights", "s8"))
    folder = derived / f"{head}-int8-{form}-{weights}"
    return folder, _made(folder, GRAPH_INT8, ("quantize", str(full)), (form, weights), making.within(progress, until, _LOADED_AFTER))


def loadable(folder: Path, plan: Plan, progress: Progress) -> Path:
    """The graph in the folder as the plan's runtime loads it best: prepacked for ONNX Runtime, unless it is small or cannot be."""
    graph = folder / (GRAPH_INT8 if plan.precision == "int8" else GRAPH)
    prepacked = folder_of(graph)
    size = sum(each.stat().st_size for each in folder.glob(f"{graph.name}*"))
    if plan.format in {"openvino", "torch"} or size < _WORTH_PREPACKING_BYTES:
        return graph
    with making.alone(folder):
        if not (prepacked / PREPACKED).is_file():
            try:
                _prepack(graph, prepacked, progress)
            except (YunmoError, OSError) as error:  # it answers as well without, and takes more memory
                _log.warning("graph_not_prepacked", graph=str(graph), reason=str(error))
                return graph
    return prepacked / PREPACKED


def _prepack(graph: Path, folder: Path, progress: Progress) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=making.MAKING, dir=graph.parent))
    try:
        problem = making.run("yunmo.engines.onnx.prepack", (str(graph), str(unfinished)), progress, name="prepacking")
        if problem:
            raise EngineFailed(problem)
        for old in graph.parent.glob(f"{PREPACKED_FOLDER}*"):
            shutil.rmtree(old, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _made(folder: Path, graph: str, source: tuple[str, str], more: tuple[str, ...], progress: Progress) -> Exported:
    """The facts in `folder`, after a program has filled it if it is not there; never half of it."""
    facts = read_exported(folder)
    if facts is not None and (folder / graph).is_file():
        return facts
    unfinished = Path(tempfile.mkdtemp(prefix=making.MAKING, dir=folder.parent))
    try:
        module, arguments = f"yunmo.engines.onnx.{source[0]}", (source[1], str(unfinished), *more)
        problem = making.run(module, arguments, progress, name="export", if_killed=Unavailable)
        if problem:
            raise InvalidRequest(f"The model cannot be exported: {problem}")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    facts = read_exported(folder)
    if facts is None:
        raise EngineFailed("The export ended without its facts. Deploy the model again.")
    return facts
