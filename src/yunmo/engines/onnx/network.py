"""One ONNX Runtime session that all streams share; each call runs one input on the caller's thread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Network:
    """The graph, loaded. `threads` is per call; with one, a call runs on its caller's thread alone."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_mem_pattern = False  # a pattern would be kept for every length of text
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(each.name for each in self._session.get_outputs())

    def forward(self, ids: Sequence[int], types: Sequence[int] | None, *outputs: str) -> list[Floats]:
        """The named outputs for one sequence, each without its batch axis."""
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(row) if types is None else np.array([types], dtype=np.int64)
        if "attention_mask" in self._inputs:
            feed["attention_mask"] = np.ones_like(row)
        return [found[0].astype(np.float32, copy=False) for found in self._session.run(outputs, feed)]


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
