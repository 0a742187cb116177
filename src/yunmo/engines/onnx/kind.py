"""The kind of engine that is registered as `onnx`: Transformer encoders from safetensors, exported to ONNX and proven.

ONNX Runtime in fp32 is the first plan, and the reference of the others: other precisions, OpenVINO, packed texts in PyTorch.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from yunmo.core.conversion import conversion_of
from yunmo.core.engine import BatchEngine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest
from yunmo.engines.making import within
from yunmo.engines.onnx.exported import READY_GRAPH, Head
from yunmo.engines.onnx.families import SENTENCE_MODULES, can_be_packed, head_of, module_names
from yunmo.engines.onnx.memory import memory_bytes, resident_bytes

_PREFERENCE = 60
_LIBRARIES = ("onnxruntime", "tokenizers", "torch", "transformers", "onnx")
_EMBEDDING_TAGS = frozenset({"feature-extraction", "sentence-similarity"})
_PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8"), "torch": ("bf16",)}
_EIGHT_BIT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_HALF = frozenset({"avx512_bf16", "amx_bf16"})
_PACK_ITEMS = 16
_SLOTS_PER_STREAM = 6  # one text in work, and enough that wait while finished ones are told together (runtime/batching.py)
_TEXT_SUFFIXES = (".json", ".safetensors", ".txt", ".model")


class OnnxOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan: `head` is what the model is run for; `weights` in u8 are int8's for processors without VNNI."""

    head: Head
    weights: Literal["s8", "u8"] = "s8"


class OnnxKind:
    """Offers to run text encoders whose tokenizer has a fast form; leaves every other model to other engines."""

    name = "onnx"
    libraries = ("onnxruntime", "tokenizers", "yunmo.engines.onnx.engine", "yunmo.engines.onnx.derive")

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """One one-thread stream per core, in fp32; other runtimes, precisions and layouts are for calibration to try."""
        head = _head(model)
        if head is None or "tokenizer.json" not in model.files:
            return None
        weights = _weights(model.files)
        ready = READY_GRAPH in model.files
        is_pickled = any(path.endswith((".bin", ".pt", ".pth")) for path in model.files)
        if not weights and not ready and not is_pickled:
            return None
        cores = max(1, hardware.cores)
        safest = Offer(
            engine=self.name,
            tasks=_tasks(model, head),
            plan=_plan(head, ("onnx", "fp32"), cores, 1),
            memory_bytes=0,
            preference=_PREFERENCE,
            files=_files(model, weights),
            missing=_missing(),
            problem=None if weights or ready else conversion_of(model),
        )
        can_pack = bool(weights) and can_be_packed(str(model.config.get("model_type")), head)
        others = tuple(self.sized(replace(safest, plan=plan), model) for plan in _others(head, hardware, can_pack=can_pack))
        return replace(self.sized(safest, model), alternatives=others)

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes."""
        return replace(offer, memory_bytes=memory_bytes(model, offer.plan), resident_bytes=resident_bytes(model, offer.plan))

    def check(self, plan: Plan) -> None:
        """Refuse unknown options, runtimes and precisions."""
        read_options(plan, OnnxOptions)
        if plan.format not in {"", *_PRECISIONS}:
            raise InvalidRequest(
                f"The engine {plan.engine} has no format '{plan.format}'; it has: {', '.join(_PRECISIONS)}.", param="format"
            )
        check_precision(plan, _PRECISIONS[plan.format or "onnx"])
        if plan.format == "torch" and not plan.precision:
            raise InvalidRequest(f"The format torch of the engine {plan.engine} needs the precision bf16.", param="precision")
        if plan.format == "torch" and plan.options.get("head") == "fill-mask":
            raise InvalidRequest(
                "The format torch does not guess masked tokens: many texts' guesses take too much memory at a time.", param="format"
            )

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> BatchEngine:
        """Load the model, after exporting it if `derived` does not have it yet in this precision."""
        from yunmo.engines.onnx.derive import derive, loadable
        from yunmo.engines.onnx.engine import load_engine

        self.check(plan)
        folder, facts = derive(directory, derived, plan, progress)
        graph = loadable(folder, plan, within(progress, 0.9, 0.95))
        progress("loading", 0.95)
        engine = load_engine(directory, folder, graph, facts, plan)
        progress("loading", 1.0)
        return engine


kind = OnnxKind()


def _others(head: Head, hardware: Hardware, *, can_pack: bool) -> list[Plan]:
    """What may be faster than fp32 on one-thread streams, the most promising first: each takes seconds to try.

    OpenVINO's fp32 is no faster than ONNX Runtime's (0.9 times on Ice Lake), and its int8 computes in fp32 where there is no VNNI.
    Packed texts take 0.8 times the processor time of OpenVINO's bf16 (MiniLM on Zen 4), but a text alone 1.6 times.
    CTranslate2's int8 is faster than all, and drifts beyond the budgets (docs/progress.md).
    """
    has, cores = hardware.instructions, max(1, hardware.cores)
    has_openvino = importlib.util.find_spec("openvino") is not None
    eight = [("onnx", "int8")]
    if has_openvino and has & _EIGHT_BIT:
        eight += [("openvino", "int8")]
    half = [("openvino", "bf16")] if has_openvino and has & _HALF else []
    packed = [_packed(head, cores)] if can_pack and has & _HALF else []
    weights: dict[str, Any] = {"weights": "u8"} if "avx2" in has and not has & _EIGHT_BIT else {}

    def laid_out(kinds: list[tuple[str, str]], streams: int, threads: int) -> list[Plan]:
        return [_plan(head, kind, streams, threads, weights if kind == ("onnx", "int8") else {}) for kind in kinds]

    if cores == 1:
        return [*laid_out(eight, 1, 1), *packed, *laid_out(half, 1, 1)]
    # all cores at one text: fewer texts a second, but each sooner
    alone = laid_out([("onnx", "fp32"), *eight, *half], 1, cores)
    return [*laid_out(eight, cores, 1), *(packed or laid_out(half, cores, 1)), *alone]


def _packed(head: Head, streams: int) -> Plan:
    """A pack in work on each stream, and one that gathers meanwhile."""
    plan = _plan(head, ("torch", "bf16"), streams, 1)
    return msgspec.structs.replace(plan, batch_items=_PACK_ITEMS, slots=2 * _PACK_ITEMS * streams)


def _plan(head: Head, kind: tuple[str, str], streams: int, threads: int, more: Mapping[str, Any] | None = None) -> Plan:
    return Plan(
        engine=OnnxKind.name,
        format=kind[0],
        precision=kind[1],
        streams=streams,
        threads=threads,
        slots=_SLOTS_PER_STREAM * streams,
        batch_items=1,
        options={"head": head, **(more or {})},
    )


def _head(model: ModelDescription) -> Head | None:
    """What the model is for: its architecture's head, or embedding where the card or its modules say so."""
    config = model.config
    if len(model.architectures) != 1 or config.get("quantization_config") or config.get("is_decoder"):
        return None
    head = head_of(str(config.get("model_type", "")), model.architectures[0])
    modules = model.documents.get("modules.json")
    if modules:
        names = set(module_names(modules))
        is_embedder = head in {"embed", "fill-mask"} and names <= SENTENCE_MODULES and "Pooling" in names
        return "embed" if is_embedder else None
    if head == "fill-mask" and model.pipeline_tag in _EMBEDDING_TAGS:
        return "embed"
    return head


def _tasks(model: ModelDescription, head: Head) -> tuple[str, ...]:
    labels = [*(model.config.get("label2id") or {}), *(model.config.get("id2label") or {}).values()]
    if head != "classify" or not any(str(label).lower().startswith("entail") for label in labels):
        return (head,)
    if model.pipeline_tag == "zero-shot-classification":
        return ("classify-zero-shot", "classify")
    return ("classify", "classify-zero-shot")


def _weights(files: Mapping[str, int]) -> tuple[str, ...]:
    """The safetensors at the root: one file, or the parts that an index names."""
    return tuple(
        path for path in files if "/" not in path and path.endswith(".safetensors") and path.startswith("model") and files[path] > 0
    )


def _files(model: ModelDescription, weights: tuple[str, ...]) -> tuple[str, ...]:
    """All but other frameworks' weights; ready graphs only where there is nothing to export."""
    small = [path for path in model.files if path.endswith(_TEXT_SUFFIXES) and not path.startswith(("onnx/", "openvino/"))]
    if weights:
        return tuple(path for path in small if "/" in path or not path.endswith(".safetensors") or path in weights)
    return (*small, *(path for path in model.files if path.startswith(READY_GRAPH)))


def _missing() -> str | None:
    absent = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} is not installed; run: pip install 'yunmo[onnx]'" if absent else None
