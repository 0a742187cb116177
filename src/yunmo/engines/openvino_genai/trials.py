"""What forms are tried out with: the program that compiles them, and the model that it needs for it."""

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from yunmo.engines.chats.trials import Trials
from yunmo.engines.openvino_genai.families import Decoder
from yunmo.engines.openvino_genai.grammar_trial import SILENT
from yunmo.engines.openvino_genai.network import network

FOLDER = "grammars"
DETOKENIZER = ("openvino_detokenizer.xml", "openvino_detokenizer.bin")
_PROGRAM = "yunmo.engines.openvino_genai.grammar_trial"


def trials_beside(graph: Path, ends: Collection[int]) -> Trials:
    """The trials for a model whose graph lies in a directory with what `draw` made."""
    return Trials(_PROGRAM, (str(graph / FOLDER), ",".join(map(str, ends))))


def draw(directory: Path, spelled: Sequence[bytes]) -> None:
    """The model on which forms are tried: it knows nothing but the tokens, whose list lies in the directory."""
    tiny = Decoder(
        layers=1, hidden=16, heads=1, kv_heads=1, head_size=16, intermediate=16, vocabulary=len(spelled),
        epsilon=1e-6, context_tokens=512, is_tied=True, frequencies=(1.0,) * 8,
    )  # fmt: skip
    (directory / FOLDER).mkdir()
    ov.save_model(network(tiny, _Nothing(), "int8", lambda _share: None), directory / FOLDER / "openvino_model.xml", compress_to_fp16=False)
    silent = [index for index, each in enumerate(spelled) if not each]
    (directory / FOLDER / SILENT).write_text(json.dumps(silent))
    for name in (*DETOKENIZER, "config.json"):
        shutil.copy(directory / name, directory / FOLDER / name)


class _Nothing:
    def read(self, _name: str, shape: tuple[int, ...]) -> Any:
        return np.zeros(shape, np.float32)
