"""Tiny models that answer questions about pictures, pages and tables."""

import json
from pathlib import Path
from typing import Any

from tiny_tokenizers import CORPUS, WIDTH, byte_pairs, labels, wordpiece, words, write_json

_TEXT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 64,
}
_SPREAD = {"initializer_range": 0.5}
"""Wide enough that different inputs get different answers."""


def vilt(directory: Path) -> None:
    from transformers import ViltConfig, ViltForQuestionAnswering
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(directory)
    tokenizer = wordpiece(directory)
    answers = labels("yes", "no", "red", "car", "cat", "two", "dog")
    config = ViltConfig(**_TEXT, **_SPREAD, **answers, vocab_size=len(tokenizer), image_size=32, patch_size=8)
    ViltForQuestionAnswering(config).save_pretrained(directory)


def blip_questions(directory: Path) -> None:
    from transformers import BlipConfig, BlipForQuestionAnswering, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer = wordpiece(directory)
    text = {**_TEXT, **_SPREAD, "vocab_size": len(tokenizer), "encoder_hidden_size": WIDTH}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    vision = {**{name: value for name, value in _TEXT.items() if name != "max_position_embeddings"}, "image_size": 32, "patch_size": 8}
    config = BlipConfig(text_config=text, vision_config={**vision, **_SPREAD}, projection_dim=WIDTH)
    BlipForQuestionAnswering(config).save_pretrained(directory)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(directory)


def layoutlm(directory: Path) -> None:
    from transformers import LayoutLMConfig, LayoutLMForQuestionAnswering

    tokenizer = wordpiece(directory)
    LayoutLMForQuestionAnswering(LayoutLMConfig(**_TEXT, **_SPREAD, vocab_size=len(tokenizer))).save_pretrained(directory)


def layoutlmv3(directory: Path) -> None:
    from transformers import LayoutLMv3Config, LayoutLMv3ForQuestionAnswering
    from transformers.models.layoutlmv3.image_processing_pil_layoutlmv3 import LayoutLMv3ImageProcessorPil

    # as the published ones are: the processor would run a program that reads the words off the picture
    LayoutLMv3ImageProcessorPil(size={"height": 32, "width": 32}, apply_ocr=True).save_pretrained(directory)
    tokenizer = _boxed_byte_pairs(directory)
    config = LayoutLMv3Config(
        **{**_TEXT, "max_position_embeddings": 66},
        **_SPREAD,
        vocab_size=len(tokenizer),
        coordinate_size=3,
        shape_size=2,
        input_size=32,
        patch_size=8,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    LayoutLMv3ForQuestionAnswering(config).save_pretrained(directory)


def lilt(directory: Path) -> None:
    from transformers import LiltConfig, LiltForQuestionAnswering

    tokenizer = _boxed_byte_pairs(directory)
    # its layout has a part of the width for each of six numbers
    sizes = {**_TEXT, "max_position_embeddings": 66, "hidden_size": 24}
    config = LiltConfig(**sizes, **_SPREAD, vocab_size=len(tokenizer), channel_shrink_ratio=1, pad_token_id=1, type_vocab_size=2)
    LiltForQuestionAnswering(config).save_pretrained(directory)


def donut(directory: Path) -> None:
    from transformers import DonutSwinConfig, DonutSwinModel, MBartConfig, MBartForCausalLM, VisionEncoderDecoderModel
    from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil

    DonutImageProcessorPil(size={"height": 32, "width": 32}, do_align_long_axis=False).save_pretrained(directory)
    tokenizer = byte_pairs(directory, length=64)
    tags = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    tokenizer.add_tokens(tags, special_tokens=True)
    tokenizer.save_pretrained(directory)
    # beside the tokenizer, where the published ones name their tags
    write_json(directory / "added_tokens.json", {tag: tokenizer.convert_tokens_to_ids(tag) for tag in tags})
    encoder = DonutSwinConfig(image_size=32, patch_size=4, embed_dim=WIDTH // 2, depths=[1, 1], num_heads=[1, 2], window_size=4)
    decoder = MBartConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=2 * WIDTH,
        max_position_embeddings=48,
        init_std=0.5,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    model = VisionEncoderDecoderModel(encoder=DonutSwinModel(encoder, add_pooling_layer=True), decoder=MBartForCausalLM(decoder))
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = 0
        config.pad_token_id = 1
        config.eos_token_id = 0
    model.save_pretrained(directory)


def tapas(directory: Path) -> None:
    from transformers import TapasConfig, TapasForQuestionAnswering, TapasTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    digits = list("0123456789")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[EMPTY]",
        *letters,
        *digits,
        *("##" + each for each in letters + digits),
        *words(),
    ]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n")
    tokenizer = TapasTokenizer(str(directory / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = TapasConfig(
        **_TEXT,
        **_SPREAD,
        vocab_size=len(tokenizer),
        type_vocab_sizes=[3, 32, 32, 2, 32, 32, 10],
        num_aggregation_labels=4,
        aggregation_labels={0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
        no_aggregation_label_index=0,
    )
    TapasForQuestionAnswering(config).save_pretrained(directory)


def _boxed_byte_pairs(directory: Path) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LayoutLMv3Tokenizer

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    tokenizer = LayoutLMv3Tokenizer(vocab=model["vocab"], merges=[tuple(each) for each in model["merges"]], model_max_length=64)
    tokenizer.save_pretrained(directory)
    return tokenizer
