"""Where a model is read from: a repository's safetensors with their tokenizer, or a GGUF file, whose tokenizer is rebuilt and proven."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from yunmo.core.engine import Progress
from yunmo.core.errors import EngineFailed
from yunmo.engines.openvino_genai import families, gguf_models
from yunmo.engines.openvino_genai.families import Decoder
from yunmo.engines.openvino_genai.network import Tensors
from yunmo.engines.openvino_genai.weights import Weights

_FORMAT = 1
"""Raised when tokenizers of an older version must be written again."""

_DECODER = "decoder.json"
_PROOF_SECONDS = 600.0
_LAST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Source:
    """What a model is, where its tokenizer and templates lie, and what its graph is called among others of the repository."""

    decoder: Decoder
    texts: Path
    name: str
    file: Path | None = None
    directory: Path | None = None

    def tensors(self) -> Tensors:
        """The weights."""
        if self.file is None:
            assert self.directory is not None
            return Weights(self.directory)
        from yunmo.engines.openvino_genai.gguf_files import GgufFile

        return GgufFile(self.file)


def source(directory: Path, derived: Path, file: str | None, progress: Progress) -> Source:
    """The repository's model. Raises EngineFailed for one that would not be computed, or not be read, exactly."""
    if (directory / "config.json").is_file() and file is None:
        decoder = families.decoder_of(json.loads((directory / "config.json").read_text("utf-8")))
        if decoder is None:
            raise EngineFailed("OpenVINO GenAI cannot run this config.json exactly. Deploy the model with another engine.")
        return Source(decoder, directory, "", directory=directory)
    name = file or gguf_models.chosen({str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*.gguf")})
    if name is None:
        raise EngineFailed("The repository has neither a config.json nor a GGUF file in one piece.")
    label = PurePosixPath(name).stem.replace(" ", "_")
    texts = derived / "openvino_genai" / f"{label}-tokenizer-{_FORMAT}"
    if not (texts / _DECODER).is_file():
        _rebuild(directory / name, texts, progress)
    return Source(msgspec.json.decode((texts / _DECODER).read_bytes(), type=Decoder), texts, f"{label}-", file=directory / name)


def _rebuild(file: Path, texts: Path, progress: Progress) -> None:
    from yunmo.engines.openvino_genai.gguf_files import GgufFile

    progress("rebuilding the tokenizer", 0.0)
    opened = GgufFile(file)
    texts.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=texts.parent) as making:
        whole = Path(making) / "whole"
        whole.mkdir()
        opened.write_tokenizer(whole)
        progress("proving the tokenizer", 0.1)
        _prove(file, whole / "tokenizer.json")
        (whole / _DECODER).write_bytes(msgspec.json.encode(opened.decoder))
        if not texts.exists():
            whole.rename(texts)


def _prove(file: Path, tokenizer: Path) -> None:
    command = [sys.executable, "-X", "utf8", "-m", "yunmo.engines.openvino_genai.gguf_proof", str(file), str(tokenizer)]
    try:
        proof = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROOF_SECONDS, check=False)  # noqa: S603 - our own program
    except subprocess.TimeoutExpired:
        raise EngineFailed("The GGUF's tokenizer was not proven within its time. Deploy the model with the engine llama_cpp.") from None
    if proof.returncode:
        raise EngineFailed(f"The GGUF's tokenizer could not be proven: {proof.stderr[-_LAST_WORDS:].strip() or proof.returncode}")
    if proof.stdout:
        raise EngineFailed(
            f"The GGUF's tokenizer cannot be rebuilt: to llama.cpp {proof.stdout}. Deploy the model with the engine llama_cpp."
        )
