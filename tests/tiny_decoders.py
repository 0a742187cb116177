"""Tiny decoders with random weights, one per family that llama.cpp can be given, and tokenizers of the kinds that they use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_tokenizers import CHAT_TEMPLATE, CORPUS

_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
_MORE = ("def area(radius):\n    return 3.14 * radius ** 2\n", "快递比预计晚了两天，不过司机提前打了电话。", "It's 12345, isn't it?  OK")
_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def build(name: str, directory: Path, *, dtype: str = "float32", shard: str = "5GB", **changes: Any) -> Path:
    """Write the decoder of this name, saved as the Hub's are; the same name gives the same weights."""
    import torch
    import transformers

    config_name, tokenizer, more = DECODERS[name]
    directory.mkdir(parents=True, exist_ok=True)
    size = TOKENIZERS[tokenizer](directory)
    config = getattr(transformers, config_name)(vocab_size=size, **(_SHAPE | more | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith(("norm.weight", ".bias")):  # what is one or zero at first would hide mistakes
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.to(getattr(torch, dtype)).save_pretrained(directory, max_shard_size=shard)
    return directory


def byte_level(directory: Path, patterns: list[Any], *, normalizer: Any = None, ignore_merges: bool = False, chat: bool = True) -> int:
    """A trained tokenizer of byte pairs, cut by these steps; its special tokens are 0 to 3."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(patterns)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|begin|>", "<|end|>", "<|pad|>", "<|im|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*CORPUS, *_MORE], trainer)
    return _save(directory, backend, chat=chat)


def sentence_pieces(directory: Path, *, gemma: bool) -> int:
    """Byte pairs as sentencepiece makes them: with ▁ for spaces, bytes for unknown characters, and all merges that there are."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    specials = ["<pad>", "<eos>", "<bos>", "<unk>"] if gemma else ["<unk>", "<s>", "</s>"]
    letters = sorted({letter for line in (*CORPUS, *_MORE) for letter in line.replace(" ", "▁")} | {"▁"})
    words = sorted({f"▁{word}" for line in CORPUS for word in line.split()})
    pieces = [*letters, *dict.fromkeys(word[:end] for word in words for end in range(2, len(word) + 1))]
    pieces += [] if not gemma else ["▁▁", "▁▁▁", "\n\n"]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys([*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]))}
    merges = [
        (piece[:cut], piece[cut:]) for piece in pieces for cut in range(1, len(piece)) if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    backend.normalizer = replace if gemma else normalizers.Sequence([normalizers.Prepend("▁"), replace])
    if gemma:
        backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    strip = [] if gemma else [decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    backend.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in specials])
    if gemma:
        backend.add_tokens([AddedToken(each, special=False, normalized=False) for each in ("▁▁", "▁▁▁", "\n\n")])
    first = "<bos>" if gemma else "<s>"
    backend.post_processor = _beginning(first, vocab[first])
    return _save(directory, backend, chat=True)


def unigrams(directory: Path) -> int:
    """Pieces with probabilities, as sentencepiece makes them by default."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = sorted({letter for line in (*CORPUS, *_MORE) for letter in line if letter != " "})
    words = sorted({word for line in CORPUS for word in line.split()})
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<pad>", 0.0), ("▁", -4.0)]
    pieces += [*((letter, -6.0) for letter in letters), *((f"▁{word}", -3.0 - len(word) / 100) for word in words if len(word) > 1)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in ("<unk>", "</s>", "<pad>")])
    return _save(directory, backend, chat=False)


def _beginning(token: str, index: int) -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A $B", special_tokens=[(token, index)])


def _save(directory: Path, backend: Any, *, chat: bool) -> int:
    backend.save(str(directory / "tokenizer.json"))
    ends = "<|end|>" if backend.token_to_id("<|end|>") is not None else "</s>" if backend.token_to_id("</s>") is not None else "<eos>"
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": ends}
    if chat:
        config["chat_template"] = CHAT_TEMPLATE
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return int(backend.get_vocab_size())


def _split(regex: str) -> list[Any]:
    from tokenizers import Regex, pre_tokenizers

    return [pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def _gpt2(directory: Path) -> int:
    from tokenizers import pre_tokenizers

    return byte_level(directory, [pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _smollm(directory: Path) -> int:
    from tokenizers import pre_tokenizers

    return byte_level(directory, [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _qwen(directory: Path) -> int:
    from tokenizers import normalizers

    return byte_level(directory, _split(_QWEN2), normalizer=normalizers.NFC())


TOKENIZERS: dict[str, Callable[[Path], int]] = {
    "gpt2": _gpt2,
    "smollm": _smollm,
    "qwen2": _qwen,
    "llama3": lambda directory: byte_level(directory, _split(_LLAMA3), ignore_merges=True),
    "llama2": lambda directory: sentence_pieces(directory, gemma=False),
    "gemma": lambda directory: sentence_pieces(directory, gemma=True),
    "unigram": unigrams,
}

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_WINDOW = {"layer_types": None, "sliding_window": 32, "head_dim": 16, "query_pre_attn_scalar": 16, "bos_token_id": 2}

DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "smollm", {"tie_word_embeddings": True}),
    "llama-2": ("LlamaConfig", "llama2", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "rms_norm_eps": 1e-5}),
    "llama-3": ("LlamaConfig", "llama3", {"rope_parameters": _LLAMA3_ROPE, "head_dim": 32}),
    "llama-biased": ("LlamaConfig", "gpt2", {"attention_bias": True}),
    "llama-unigram": ("LlamaConfig", "unigram", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}}),
    "mistral": ("MistralConfig", "llama2", {"sliding_window": None, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}),
    "qwen2": ("Qwen2Config", "qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}}),
    "qwen2-yarn": (
        "Qwen2Config",
        "qwen2",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 128}},
    ),
    "qwen3": ("Qwen3Config", "qwen2", {"head_dim": 32, "tie_word_embeddings": True}),
    "smollm3": ("SmolLM3Config", "llama3", {"num_hidden_layers": 5}),
    "gemma": ("GemmaConfig", "gemma", {"head_dim": 32, "bos_token_id": 2, "pad_token_id": 0}),
    "gemma2": ("Gemma2Config", "gemma", _WINDOW | {"pad_token_id": 0}),
    "gemma3": ("Gemma3TextConfig", "gemma", _WINDOW | {"num_hidden_layers": 7, "pad_token_id": 0}),
}
