"""Tiny encoder-decoders whose weights are so large that they write other words for other texts, and the kinds that `tiny_models` has not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_models
import tiny_texts
from tiny_tokenizers import WIDTH, unigram_pieces


def build(name: str, directory: Path) -> Path:
    """Write the model of this name into the directory, and return that. The same name gives the same weights."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (_MORE.get(name) or tiny_models.BUILDERS[name])(directory)
        model = AutoModelForSeq2SeqLM.from_pretrained(directory)
        _enlarge(model)
        model.save_pretrained(directory)
    return directory


def push_pair(server: Any, directory: Path, source: str, target: str) -> str:
    """Push a Marian that says it translates this pair, and return its repository; the server is a `Running`."""
    from huggingface_hub import HfApi

    model = build("marian", directory / f"{source}-{target}")
    settings = model / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"source_lang": source, "target_lang": target}))
    name = f"admin/translator-{source}-{target}"
    hub = HfApi(endpoint=server.url, token=server.key)
    hub.create_repo(name)
    hub.upload_folder(folder_path=str(model), repo_id=name)
    return name


def _enlarge(model: Any) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_()
        if model.config.model_type == "marian":
            # what real ones are converted to: the padding's row says nothing, so that the decoder starts from nothing
            model.get_input_embeddings().weight[model.config.pad_token_id].zero_()


def _t5_like(class_name: str, **more: Any) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers

        vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), (":", -5.0), *unigram_pieces()]
        tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=4, model_max_length=64)
        tokenizer.save_pretrained(directory)
        config = getattr(transformers, f"{class_name}Config")(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=8,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
            **more,
        )
        getattr(transformers, f"{class_name}ForConditionalGeneration")(config).save_pretrained(directory)

    return write


def _pegasus(directory: Path) -> None:
    from transformers import PegasusConfig, PegasusForConditionalGeneration

    _t5_like("T5")(directory)
    (directory / "generation_config.json").unlink()
    config = PegasusConfig(
        vocab_size=len(unigram_pieces()) + 8,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        decoder_start_token_id=0,
        forced_eos_token_id=1,
        scale_embedding=True,
        **tiny_texts._bart_sizes(),
    )
    PegasusForConditionalGeneration(config).save_pretrained(directory)


_MORE: dict[str, Callable[[Path], None]] = {
    "flan-t5": _t5_like("T5", feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "mt5": _t5_like("MT5"),
    "umt5": _t5_like("UMT5"),
    "pegasus": _pegasus,
}
NAMES = ("marian", "m2m100", "nllb", "mbart", "bart", "t5", *_MORE)
