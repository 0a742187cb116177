"""Program that lays a graph's weights out as ONNX Runtime's products want them, in a file that all replicas map.

`python -m yunmo.engines.onnx.prepack GRAPH OUTPUT` writes the optimised graph and its data into the folder OUTPUT and compares it with the
original; it speaks as `export` does. Without it every session makes packed copies of its own, and two replicas share none of them:
BERT-base in fp32 takes 634 MiB of each replica's own memory, packed 35 MiB beside 360 that all share.

How a weight is packed depends on the processor and the library, so the folder's name does too (`folder_of`).
"""

import hashlib
import importlib.metadata
import platform
import sys
from pathlib import Path

import numpy as np

from yunmo.core.errors import EngineFailed
from yunmo.engines.onnx.exported import PREPACKED
from yunmo.engines.onnx.network import Floats, OnnxNetwork
from yunmo.engines.telling import run_program, say

_DATA = f"{PREPACKED}_data"
PREPACKED_FOLDER = "prepacked-"

_LENGTHS = (3, 40)
_DRIFT_BUDGET = 1e-5
_PROCESSORS = Path("/proc/cpuinfo")
_TELLING = ("model name", "flags", "Features", "CPU part")


def main() -> None:
    """Pack as the arguments say."""
    graph, output = Path(sys.argv[1]), Path(sys.argv[2])
    run_program(lambda: prepack(graph, output))


def prepack(graph: Path, output: Path) -> None:
    """Write the packed graph. Raises EngineFailed if it does not answer as the original does."""
    import onnxruntime

    say("packing the weights", 0.0)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(output / PREPACKED)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _DATA)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    say("comparing with the graph", 0.7)
    for expected, found in zip(_answers(graph), _answers(output / PREPACKED), strict=True):
        error = float(np.abs(expected - found).max()) / max(float(np.abs(expected).max()), 1e-30)
        if not error <= _DRIFT_BUDGET:
            raise EngineFailed(f"The packed graph differs from {graph.name} by {error:.4%}.")
    say("packed", 1.0)


def folder_of(graph: Path) -> Path:
    """Where the packed form of a graph is kept that this processor and this version of ONNX Runtime made."""
    text = _PROCESSORS.read_text() if _PROCESSORS.exists() else platform.processor()
    told = sorted({line for line in text.splitlines() if line.startswith(_TELLING)}) or [text]
    kind = (importlib.metadata.version("onnxruntime"), platform.machine(), told)
    return graph.parent / f"{PREPACKED_FOLDER}{hashlib.sha256(repr(kind).encode()).hexdigest()[:16]}"


def _answers(graph: Path) -> list[Floats]:
    network = OnnxNetwork(graph, threads=1)
    return [each for length in _LENGTHS for each in network.forward([1] * length, None, *network.outputs)]


if __name__ == "__main__":
    main()
