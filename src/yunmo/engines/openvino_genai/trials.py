"""Whether text can be held to a form at all, and within the time of others: tried out in a process of its own, once for each form."""

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino as ov

from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.engines.openvino_genai.companion import Companion
from yunmo.engines.openvino_genai.constraints import Constraint
from yunmo.engines.openvino_genai.families import Decoder
from yunmo.engines.openvino_genai.grammar_trial import SILENT
from yunmo.engines.openvino_genai.network import network

FOLDER = "grammars"
DETOKENIZER = ("openvino_detokenizer.xml", "openvino_detokenizer.bin")
_START_SECONDS = 60.0
_SECONDS = 20.0
_REMEMBERED = 256
_HARMLESS = Constraint("regex", "a")
_TOO_MUCH = "it takes too much time or memory to be compiled"


class Trials:
    """Checks before a request. Blocking; answers are remembered. Safe for several threads."""

    def __init__(self, graph: Path, ends: Collection[int]) -> None:
        arguments = ["-X", "utf8", "-m", "yunmo.engines.openvino_genai.grammar_trial", str(graph / FOLDER), ",".join(map(str, ends))]
        self._program = Companion(arguments, None, _START_SECONDS, _SECONDS)
        self._problems: dict[bytes, str] = {}

    def check(self, constraint: Constraint, param: str) -> None:
        """Raise InvalidRequest for a form that text cannot be held to."""
        if constraint.is_known_good():
            return
        key = msgspec.json.encode(constraint)
        if key not in self._problems:
            if len(self._problems) >= _REMEMBERED:
                self._problems.clear()
            self._problems[key] = self._problem(constraint)
        if problem := self._problems[key]:
            name = {"json_schema": "JSON schema", "regex": "regular expression", "calls": "tools' JSON schemas"}.get(
                constraint.kind, "grammar"
            )
            raise InvalidRequest(f"The engine cannot hold text to this {name}: {problem.rstrip('.')}. Simplify it.", param=param)

    def _problem(self, constraint: Constraint) -> str:
        answer = self._program.ask(msgspec.to_builtins(constraint))
        if answer is not None:
            return str(answer["problem"])
        if self._program.ask(msgspec.to_builtins(_HARMLESS)) is None:
            raise EngineFailed(
                "The program that tries out forms does not run; restart the deployment, and see whether it has enough memory."
            )
        return _TOO_MUCH

    def close(self) -> None:
        """End the process."""
        self._program.close()


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
