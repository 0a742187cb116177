"""A loaded network that all streams share, and the runtimes that can run it."""

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yunmo.core.engine import Plan
from yunmo.core.errors import Unavailable

Floats = NDArray[np.float32]

_QUANTIZED_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Passage:
    """Ids for one run of the network, and which of two texts each is of, where the model was trained with it."""

    ids: Sequence[int]
    types: Sequence[int] | None = None


class Network(Protocol):
    """A network, loaded. Any number of threads may call it at once."""

    outputs: tuple[str, ...]

    def forward(self, ids: Sequence[int], types: Sequence[int] | None, *outputs: str) -> list[Floats]:
        """The named outputs for one sequence, each without its batch axis."""
        ...

    def forward_all(self, passages: Sequence[Passage], *outputs: str) -> list[list[Floats]]:
        """The named outputs of each passage. One after the other, unless the runtime gains from working on them together."""
        return [self.forward(passage.ids, passage.types, *outputs) for passage in passages]


def load_network(graph: Path, plan: Plan) -> Network:
    """The graph in the runtime that the plan names. Raises Unavailable if that is not installed."""
    if plan.format != "openvino":
        return OnnxNetwork(graph, plan.threads)
    if importlib.util.find_spec("openvino") is None:
        raise Unavailable("openvino is not installed; run: pip install 'yunmo[openvino]'")
    return OpenVinoNetwork(graph, plan)


class OnnxNetwork(Network):
    """One session of ONNX Runtime. `threads` is per call; with one, a call runs on its caller's thread alone."""

    def __init__(self, graph: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_mem_pattern = False  # a pattern would be kept for every length of text
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(each.name for each in self._session.get_outputs())

    def forward(
        self, ids: Sequence[int], types: Sequence[int] | None, *outputs: str, switches: Mapping[str, float] | None = None
    ) -> list[Floats]:
        """The named outputs for one sequence. `switches` are for a graph of `products.with_switches`; what is not named is off."""
        feed = _feed(self._inputs, ids, types)
        for name in self._inputs - feed.keys():
            feed[name] = np.array((switches or {}).get(name, 0.0), dtype=np.float32)
        return [found[0].astype(np.float32, copy=False) for found in self._session.run(outputs, feed)]


class OpenVinoNetwork(Network):
    """The graph compiled by OpenVINO, with an infer request for each stream; a call waits for a free one."""

    def __init__(self, graph: Path, plan: Plan) -> None:
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(str(graph)),
            "CPU",
            {
                "NUM_STREAMS": plan.streams,
                "INFERENCE_NUM_THREADS": plan.streams * plan.threads,
                "INFERENCE_PRECISION_HINT": "bf16" if plan.precision == "bf16" else "f32",
                # quantises activations by groups of so many channels of a token; 128 is not faster and drifts more
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": _QUANTIZED_TOGETHER if plan.precision == "int8" else 0,
                "ENABLE_CPU_PINNING": False,  # workers do not know of each other, and would share the first cores
            },
        )
        self._inputs = {name for each in compiled.inputs for name in each.names}
        self.outputs: tuple[str, ...] = tuple(name for each in compiled.outputs for name in each.names)
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(plan.streams):
            request = compiled.create_infer_request()
            # threads that make the library's very first calls at the same moment can wait for each other for ever
            request.infer(_feed(self._inputs, [0, 0], None), share_inputs=True)
            self._free.put(request)

    def forward(self, ids: Sequence[int], types: Sequence[int] | None, *outputs: str) -> list[Floats]:
        """The named outputs for one sequence, copied out of the request's own memory."""
        request = self._free.get()
        try:
            request.infer(_feed(self._inputs, ids, types), share_inputs=True)
            return [request.get_tensor(name).data[0].astype(np.float32, copy=True) for name in outputs]
        finally:
            self._free.put(request)


def _feed(inputs: Collection[str], ids: Sequence[int], types: Sequence[int] | None) -> dict[str, NDArray[Any]]:
    row = np.array([ids], dtype=np.int64)
    feed: dict[str, NDArray[Any]] = {"input_ids": row}
    if "token_type_ids" in inputs:
        feed["token_type_ids"] = np.zeros_like(row) if types is None else np.array([types], dtype=np.int64)
    if "attention_mask" in inputs:
        feed["attention_mask"] = np.ones_like(row)
    return feed


def softmax(logits: Floats) -> Floats:
    """Along the last axis, safe for large logits."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: Floats) -> Floats:
    """Of each number by itself, without overflow."""
    small = np.exp(-np.abs(logits))
    squashed: Floats = np.where(logits >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    return squashed
