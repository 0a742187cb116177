"""Program that makes a GGUF: of a repository's safetensors, proven against it, or of another GGUF in another precision.

`python -m yunmo.engines.llama_cpp.convert safetensors DIRECTORY OUTPUT PRECISION` reads a repository, and
`… gguf OUTPUT PRECISION SOURCE…` the files of a GGUF model, `… adapter DIRECTORY OUTPUT BASE` an adapter for such a file. It runs in a process of its own, so that the memory of the
reference goes with it. Every line that it prints is JSON: `{"step", "share"}`, and at most one `{"problem"}` at the end.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.engine import Plan
from yunmo.core.errors import InvalidRequest
from yunmo.engines.llama_cpp.adapters import write_adapter
from yunmo.engines.llama_cpp.converted import FORMAT, Converted, chat_template, document, facts_path, versions
from yunmo.engines.llama_cpp.families import Decoder, decoder_of
from yunmo.engines.llama_cpp.files import parts
from yunmo.engines.llama_cpp.proving import prove_logits, prove_tokens
from yunmo.engines.llama_cpp.server import Server
from yunmo.engines.llama_cpp.tensors import tensors
from yunmo.engines.llama_cpp.vocabulary import Vocabulary, read_vocabulary
from yunmo.engines.llama_cpp.writing import write_converted, write_requantised
from yunmo.engines.telling import run_program, say

_PROVING_CONTEXT_TOKENS = 1024
_REFERENCE_BYTES_PER_PARAMETER = 4
_ROOM_FOR_REFERENCE = 1 << 30
_END_KEYS = ("eos", "eot", "eom")


def main() -> None:
    """Convert as the arguments say; the exit code is 1 if it could not be done."""
    run_program(_work)


def _work() -> None:
    match sys.argv[1:]:
        case ["safetensors", directory, output, precision]:
            convert(Path(directory), Path(output), precision)
        case ["gguf", output, precision, *sources]:
            write_requantised(Path(output), [Path(each) for each in sources], precision, lambda share: say("quantising", share))
        case ["adapter", directory, output, base]:
            write_adapter(Path(directory), Path(output), parts(Path(base)))
        case _:
            raise SystemExit(__doc__)


def convert(directory: Path, output: Path, precision: str) -> Converted:
    """Write the GGUF and its facts. Raises InvalidRequest for what cannot be converted, EngineFailed for what came out otherwise."""
    decoder = decoder_of(document(directory, "config.json"))
    if decoder is None:
        raise InvalidRequest("its config.json describes a model that llama.cpp does not run exactly so")
    vocabulary = read_vocabulary(directory, decoder.vocabulary)
    extra = _names(directory) | _special_ids(directory, vocabulary) | _sampling(document(directory, "generation_config.json"))
    template = chat_template(directory)
    if template:
        extra["tokenizer.chat_template"] = template
    found = tensors(directory, decoder)
    write_converted(output, decoder, vocabulary, extra, found, precision, lambda share: say("converting to GGUF", 0.5 * share))
    parameters = sum(_count(tensor.shape) for tensor in found)
    facts = _proven(directory, output, decoder, vocabulary, precision, parameters)
    facts_path(output).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
    return facts


def _proven(directory: Path, output: Path, decoder: Decoder, vocabulary: Vocabulary, precision: str, parameters: int) -> Converted:
    say("comparing tokens", 0.6)
    context = min(_PROVING_CONTEXT_TOKENS, int(decoder.metadata["context_length"]))
    window = int(decoder.metadata.get("attention.sliding_window", 0))
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    server = Server(
        output, Plan(engine="llama_cpp", context_tokens=context, threads=threads), is_exact=True, composes=vocabulary.normalizes
    )
    try:
        texts = prove_tokens(server, directory, vocabulary.specials)
        unproven = _no_reference(parameters)
        error = None if unproven else prove_logits(server, directory, precision, window if window < context - 64 else None, say)
    finally:
        server.close()
    return Converted(
        format=FORMAT,
        proof="tokens" if unproven else "tokens and logits",
        error=error,
        unproven=unproven,
        texts=texts,
        normalizes=vocabulary.normalizes,
        versions=versions(),
    )


def _no_reference(parameters: int) -> str:
    """Why the logits cannot be compared here; empty if they can."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        return "transformers is not installed"
    needed = _REFERENCE_BYTES_PER_PARAMETER * parameters + _ROOM_FOR_REFERENCE
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_AVPHYS_PAGES" in os.sysconf_names else needed
    memory = Path("/proc/meminfo")
    if memory.is_file():
        available = next((line for line in memory.read_text().splitlines() if line.startswith("MemAvailable")), "")
        free = int(available.split()[1]) * 1024 if available else free
    return "" if free >= needed else f"the reference needs {needed >> 20} MiB of memory, and {free >> 20} MiB are free"


def _special_ids(directory: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    """The ids of special tokens, by what tokenizer.json puts around texts and where generation is to end."""
    import tokenizers

    own = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    bare, whole = own.encode("a", add_special_tokens=False).ids, own.encode("a").ids
    place = next((index for index in range(len(whole)) if whole[index : index + len(bare)] == bare), None)
    if place is None or place > 1 or len(whole) - place - len(bare) > 1:
        raise InvalidRequest("its tokenizer puts more than one token before and after a text")
    before, after = whole[:place], whole[place + len(bare) :]
    config = document(directory, "config.json") | document(directory, "generation_config.json")
    ends = _ids(config.get("eos_token_id"))
    if after and after[0] not in ends:
        raise InvalidRequest("its tokenizer ends texts with another token than generation does")
    if len(ends) > len(_END_KEYS):
        raise InvalidRequest(f"generation ends at {len(ends)} tokens, and llama.cpp knows {len(_END_KEYS)}")
    first = before or _ids(config.get("bos_token_id"))
    found: dict[str, Any] = {"tokenizer.ggml.add_bos_token": bool(before), "tokenizer.ggml.add_eos_token": bool(after)}
    ends = [*after, *(each for each in ends if each not in after)]
    for name, ids in (
        ("bos", first[:1]),
        *zip(_END_KEYS, ([each] for each in ends), strict=False),
        ("padding", _ids(config.get("pad_token_id"))),
    ):
        if ids and 0 <= ids[0] < len(vocabulary.tokens):
            found[f"tokenizer.ggml.{name}_token_id"] = ids[0]
    return found


def _sampling(generation: dict[str, Any]) -> dict[str, Any]:
    """The repository's own way of choosing tokens: the likeliest one, unless generation_config.json says to sample."""
    given = {name: generation[name] for name in ("temperature", "top_k", "top_p", "min_p") if generation.get(name) is not None}
    found: dict[str, Any] = {"general.sampling.temp": 0.0}
    if generation.get("do_sample"):
        found = {
            "general.sampling.temp": float(given.get("temperature", 1.0)),
            "general.sampling.top_k": int(given.get("top_k", 0)),
            "general.sampling.top_p": float(given.get("top_p", 1.0)),
            "general.sampling.min_p": float(given.get("min_p", 0.0)),
        }
    if generation.get("repetition_penalty"):
        found |= {
            "general.sampling.penalty_repeat": float(generation["repetition_penalty"]),
            "general.sampling.penalty_last_n": -1,
        }
    return found


def _names(directory: Path) -> dict[str, Any]:
    return {"general.type": "model", "general.name": directory.name}


def _ids(value: Any) -> list[int]:
    return [] if value is None else [int(each) for each in value] if isinstance(value, Sequence) else [int(value)]


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


if __name__ == "__main__":
    main()
