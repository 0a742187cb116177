"""The graph that a plan needs, drawn once and kept in the derived directory."""

import json
import tempfile
from collections.abc import Collection
from pathlib import Path

import openvino as ov

from yunmo.core.engine import Progress
from yunmo.engines.openvino_genai import trials, vocabulary
from yunmo.engines.openvino_genai.network import network
from yunmo.engines.openvino_genai.sources import Source

_FORMAT = 3
"""Raised when graphs of an older version must be drawn again."""

_NAME = "openvino_model.xml"


def derive(source: Source, derived: Path, precision: str, ends: Collection[int], progress: Progress) -> Path:
    """The directory with the graph and what its grammars need, whole or not there at all; `ends` are the tokens that end a text."""
    made = derived / "openvino_genai" / f"{source.name}{precision}-{_FORMAT}"
    if (made / _NAME).is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    progress("converting to OpenVINO", 0.0)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=made.parent) as making:
        whole = Path(making) / "whole"
        whole.mkdir()
        _write_vocabulary(source.texts, whole, source.decoder.vocabulary, ends)
        graph = network(source.decoder, source.tensors(), precision, lambda share: progress("converting to OpenVINO", 0.9 * share))
        ov.save_model(graph, whole / _NAME, compress_to_fp16=False)
        if not made.exists():
            whole.rename(made)
    return made


def _write_vocabulary(texts: Path, made: Path, size: int, ends: Collection[int]) -> None:
    spelled = vocabulary.token_bytes(texts / "tokenizer.json", size)
    ov.save_model(vocabulary.draw(spelled), made / trials.DETOKENIZER[0], compress_to_fp16=False)
    (made / "config.json").write_text(json.dumps({"eos_token_id": min(ends)} if ends else {}))
    trials.draw(made, spelled)
