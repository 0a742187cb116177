"""The graph that a plan needs, drawn once and kept in the derived directory."""

import json
import tempfile
from pathlib import Path

import openvino as ov

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed
from yunmo.engines.openvino_genai.families import Decoder, decoder_of
from yunmo.engines.openvino_genai.network import network
from yunmo.engines.openvino_genai.weights import Weights

_FORMAT = 1
"""Raised when graphs of an older version must be drawn again."""

_NAME = "openvino_model.xml"


def described(directory: Path) -> Decoder:
    """The decoder of a repository. Raises EngineFailed if its config.json is not of one that can be drawn."""
    decoder = decoder_of(json.loads((directory / "config.json").read_text("utf-8")))
    if decoder is None:
        raise EngineFailed("OpenVINO GenAI cannot run this config.json exactly. Deploy the model with another engine.")
    return decoder


def derive(directory: Path, derived: Path, precision: str, progress: Progress) -> Path:
    """The directory with the graph, whole or not there at all."""
    made = derived / "openvino_genai" / f"{precision}-{_FORMAT}"
    if (made / _NAME).is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    progress("converting to OpenVINO", 0.0)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=made.parent) as making:
        whole = Path(making) / "whole"
        whole.mkdir()
        graph = network(described(directory), Weights(directory), precision, lambda share: progress("converting to OpenVINO", 0.9 * share))
        ov.save_model(graph, whole / _NAME, compress_to_fp16=False)
        if not made.exists():
            whole.rename(made)
    return made
