"""The graph that a plan needs, drawn once and kept in the derived directory."""

import json
import tempfile
from collections.abc import Collection
from pathlib import Path

import openvino as ov

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed
from yunmo.engines.openvino_genai import trials, vocabulary
from yunmo.engines.openvino_genai.families import Decoder, decoder_of
from yunmo.engines.openvino_genai.network import network
from yunmo.engines.openvino_genai.weights import Weights

_FORMAT = 2
"""Raised when graphs of an older version must be drawn again."""

_NAME = "openvino_model.xml"


def described(directory: Path) -> Decoder:
    """The decoder of a repository. Raises EngineFailed if its config.json is not of one that can be drawn."""
    decoder = decoder_of(json.loads((directory / "config.json").read_text("utf-8")))
    if decoder is None:
        raise EngineFailed("OpenVINO GenAI cannot run this config.json exactly. Deploy the model with another engine.")
    return decoder


def derive(directory: Path, derived: Path, precision: str, ends: Collection[int], progress: Progress) -> Path:
    """The directory with the graph and what its grammars need, whole or not there at all; `ends` are the tokens that end a text."""
    made = derived / "openvino_genai" / f"{precision}-{_FORMAT}"
    if (made / _NAME).is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    progress("converting to OpenVINO", 0.0)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=made.parent) as making:
        whole = Path(making) / "whole"
        whole.mkdir()
        decoder = described(directory)
        _write_vocabulary(directory, whole, decoder.vocabulary, ends)
        graph = network(decoder, Weights(directory), precision, lambda share: progress("converting to OpenVINO", 0.9 * share))
        ov.save_model(graph, whole / _NAME, compress_to_fp16=False)
        if not made.exists():
            whole.rename(made)
    return made


def _write_vocabulary(directory: Path, made: Path, size: int, ends: Collection[int]) -> None:
    spelled = vocabulary.token_bytes(directory / "tokenizer.json", size)
    ov.save_model(vocabulary.draw(spelled), made / trials.DETOKENIZER[0], compress_to_fp16=False)
    (made / "config.json").write_text(json.dumps({"eos_token_id": min(ends)} if ends else {}))
    trials.draw(made, spelled)
