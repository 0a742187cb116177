"""The kind of engine that is registered as `onnx`: Transformer encoders from safetensors, run by ONNX Runtime."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from yunmo.core.engine import BatchEngine, Hardware, ModelDescription, Offer, Plan, Progress
from yunmo.core.errors import InvalidRequest
from yunmo.engines.onnx.exported import READY_GRAPH, Head
from yunmo.engines.onnx.families import SENTENCE_MODULES, head_of, module_names
from yunmo.engines.onnx.memory import memory_bytes

_PREFERENCE = 60
_LIBRARIES = ("onnxruntime", "tokenizers", "torch", "transformers", "onnx")
_EMBEDDING_TAGS = frozenset({"feature-extraction", "sentence-similarity"})
_TEXT_SUFFIXES = (".json", ".safetensors", ".txt", ".model")


class OnnxKind:
    """Offers to run text encoders whose tokenizer has a fast form; leaves every other model to other engines."""

    name = "onnx"

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """A plan of one one-thread stream per core, in fp32; int8 is there for who asks for it."""
        head = _head(model)
        if head is None or "tokenizer.json" not in model.files:
            return None
        weights = _weights(model.files)
        ready = READY_GRAPH in model.files
        is_pickled = any(path.endswith((".bin", ".pt", ".pth")) for path in model.files)
        if not weights and not ready and not is_pickled:
            return None
        streams = max(1, hardware.cores)
        plan = Plan(
            engine=self.name,
            format="onnx",
            precision="fp32",
            streams=streams,
            threads=1,
            slots=2 * streams,
            batch_items=1,
            options={"head": head},
        )
        return Offer(
            engine=self.name,
            tasks=_tasks(model, head),
            plan=plan,
            memory_bytes=memory_bytes(model, streams),
            preference=_PREFERENCE,
            files=_files(model, weights),
            missing=_missing(),
            problem=None if weights or ready else _conversion(model),
        )

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> BatchEngine:
        """Load the model, after exporting it if `derived` does not have it yet in this precision."""
        from yunmo.engines.onnx.derive import derive
        from yunmo.engines.onnx.engine import load_engine

        if plan.precision not in {"", "fp32", "int8"}:
            raise InvalidRequest(f"The engine onnx has the precisions fp32 and int8, not {plan.precision!r}.", param="precision")
        folder, facts = derive(directory, derived, plan, progress)
        progress("loading", 0.9)
        engine = load_engine(directory, folder, facts, plan)
        progress("loading", 1.0)
        return engine


kind = OnnxKind()


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


def _conversion(model: ModelDescription) -> str:
    return (
        "its weights are pickled (pytorch_model.bin), and loading a pickle can run any program in it, so Yunmo does not. "
        'Where you trust it, convert it to safetensors and push the result: python -c "from transformers import AutoTokenizer, '
        f"{model.architectures[0]} as M; r = '{model.repository}'; M.from_pretrained(r).save_pretrained('converted'); "
        "AutoTokenizer.from_pretrained(r).save_pretrained('converted')\""
    )
