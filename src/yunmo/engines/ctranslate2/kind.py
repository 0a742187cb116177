"""The kind of engine that is registered as `ctranslate2`: encoder-decoders from safetensors, run by CTranslate2.

A model is converted at its first start and proven against the transformers library before it serves; where it cannot be
made, or comes out otherwise, the deployment falls back to the transformers engine. The fp32 plan is the first, and the
reference of the others.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from yunmo.core.engine import BatchEngine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest
from yunmo.core.rewriting import text_tasks
from yunmo.engines.ctranslate2.converted import PRECISIONS
from yunmo.engines.ctranslate2.families import family_of
from yunmo.engines.ctranslate2.memory import memory_bytes, resident_bytes

_PREFERENCE = 60
_LIBRARIES = ("ctranslate2", "torch", "transformers")
_TASKS = ("translate", "summarize", "generate")
_BATCH = 16
_INDEX = "model.safetensors.index.json"
_TEXT_SUFFIXES = (".json", ".txt", ".model", ".spm", ".vocab", ".tiktoken")
_FOREIGN_FOLDERS = ("onnx/", "openvino/", "original/", "runs/", "coreml/", "checkpoint-")


class Ctranslate2Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan: the tasks that the model is run for, and two limits.

    `most_output_tokens` are written for one text, whatever its request and a model without positions allow;
    `batch_tokens` of padded input are worked on at a time.
    """

    tasks: tuple[str, ...] = ()
    most_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 2048
    batch_tokens: Annotated[int, msgspec.Meta(ge=64, le=1_000_000)] = 4096


class Ctranslate2Kind:
    """Offers to translate, to summarize and to generate with encoder-decoders that convert exactly; leaves other models to others."""

    name = "ctranslate2"
    libraries = ("ctranslate2", "transformers.models.auto.tokenization_auto", "yunmo.engines.ctranslate2.engine")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """All cores on one batch, in fp32; eight bits and other layouts are for calibration to try."""
        weights = _weights(model)
        if family_of(model) is None or not weights:
            return None
        cores = max(1, hardware.cores)
        tasks = text_tasks(str(model.config["model_type"]), model.pipeline_tag, model.config.get("task_specific_params"))
        safest = Offer(
            engine=self.name,
            tasks=tasks,
            plan=_plan("fp32", 1, cores, _BATCH, tasks),
            memory_bytes=0,
            preference=_PREFERENCE,
            files=_files(model, weights),
            missing=_missing(),
        )
        others = (self.sized(replace(safest, plan=plan), model) for plan in _others(cores, tasks))
        return replace(self.sized(safest, model), alternatives=tuple(others))

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes."""
        weights = _weights(model)
        claimed = memory_bytes(model, weights, offer.plan)
        return replace(offer, memory_bytes=claimed, resident_bytes=resident_bytes(model, weights, offer.plan))

    def check(self, plan: Plan) -> None:
        """Refuse unknown options, tasks and precisions."""
        options = read_options(plan, Ctranslate2Options)
        strange = next((task for task in options.tasks if task not in _TASKS), None)
        if strange is not None:
            raise InvalidRequest(f"The engine {plan.engine} has no task '{strange}'; it has: {', '.join(_TASKS)}.", param="tasks")
        check_precision(plan, tuple(PRECISIONS))

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> BatchEngine:
        """Load the model, after converting it if `derived` does not have it yet. Raises EngineFailed if that fails."""
        from yunmo.engines.ctranslate2.engine import Ctranslate2Engine

        self.check(plan)
        return Ctranslate2Engine.load(directory, derived, plan, progress)


kind = Ctranslate2Kind()


def _others(cores: int, tasks: tuple[str, ...]) -> Iterator[Plan]:
    """What may be faster: eight bits, larger batches, and a batch for each core."""
    yield _plan("int8", 1, cores, _BATCH, tasks)
    if cores > 1:
        yield _plan("int8", cores, 1, _BATCH, tasks)
    yield _plan("int8", 1, cores, 2 * _BATCH, tasks)
    if cores > 1:
        yield _plan("fp32", cores, 1, _BATCH, tasks)


def _plan(precision: str, streams: int, threads: int, batch_items: int, tasks: tuple[str, ...]) -> Plan:
    return Plan(
        engine=Ctranslate2Kind.name,
        format="ctranslate2",
        precision=precision,
        streams=streams,
        threads=threads,
        slots=streams * batch_items,
        batch_items=batch_items,
        options={"tasks": list(tasks)},
    )


def _weights(model: ModelDescription) -> tuple[str, ...]:
    """The safetensors at the root: one file, or all the shards that an index names."""
    if "model.safetensors" in model.files:
        return ("model.safetensors",)
    index = model.documents.get(_INDEX)
    named = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
    return tuple(named) if all(path in model.files for path in named) else ()


def _files(model: ModelDescription, weights: tuple[str, ...]) -> tuple[str, ...]:
    """The weights, configurations and vocabularies; never code or pickles."""
    texts = (path for path in sorted(model.files) if path.endswith(_TEXT_SUFFIXES) and not path.startswith(_FOREIGN_FOLDERS))
    return (*texts, *weights)


def _missing() -> str | None:
    absent = [name for name in _LIBRARIES if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed; run: pip install 'yunmo[ctranslate2]'" if absent else None
