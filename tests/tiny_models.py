"""Builders of tiny models with random weights, one per kind, saved the way that the Hub's repositories are.

`build(name, directory)` writes the model and its tokenizer or processor into the directory and returns it. Nothing is downloaded; the same name
gives the same weights. The words that the tokenizers know are in `CORPUS`.
"""

import io
import json
import warnings
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CORPUS = (
    "the quick brown fox jumps over the lazy dog",
    "paris is the capital of france and berlin is the capital of germany",
    "this example is about politics sports or cooking",
    "this is a photo of a cat and a red car on the street",
    "hello world how are you today i am fine thank you",
    "translate english to german the house is wonderful",
    "summarize my dog likes to eat fish and to sleep in the sun",
    "who what where when why one two three four five six seven",
)
WIDTH = 16
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}"
)


def build(name: str, directory: Path) -> Path:
    """Write the tiny model of this name into the directory (made if need be), and return the directory."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BUILDERS[name](directory)
    return directory


def png(width: int = 48, height: int = 32, seed: int = 0, kind: str = "PNG") -> bytes:
    """An encoded picture of noise."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def wav(seconds: float = 1.0, rate: int = 16_000, seed: int = 0, channels: int = 1) -> bytes:
    """An encoded recording of a tone with noise."""
    count = int(seconds * rate)
    noise = np.random.default_rng(seed).normal(0, 0.05, count)
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
    samples = ((tone + noise).clip(-1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, channels).tobytes())
    return buffer.getvalue()


# ---------------------------------------------------------------- tokenizers


def _words() -> list[str]:
    return sorted({word for line in CORPUS for word in line.split()})


def _wordpiece(directory: Path) -> Any:
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "!", ",", *letters, *("##" + letter for letter in letters), *_words()]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=64)
    tokenizer.save_pretrained(directory)
    return tokenizer


def _byte_pairs(directory: Path, *, chat: bool = False, length: int = 128) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>", bos_token="<|end|>", model_max_length=length
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(directory)
    return tokenizer


def _sentencepiece(directory: Path, prefix: str, **options: Any) -> Path:
    import sentencepiece

    corpus = directory / f"{prefix}.txt"
    corpus.write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(directory / prefix),
        vocab_size=90,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    corpus.unlink()
    return directory / f"{prefix}.model"


def _unigram_pieces() -> list[tuple[str, float]]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return [("▁", -4.0), *((letter, -6.0) for letter in letters), *((f"▁{word}", -3.0) for word in _words())]


# ---------------------------------------------------------------- text encoders


def _bert_config(tokenizer: Any, **more: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.5,
        **more,
    )


def _bert(class_name: str, **more: Any) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers

        tokenizer = _wordpiece(directory)
        model_class = getattr(transformers, class_name)
        model_class(_bert_config(tokenizer, **more)).save_pretrained(directory)

    return write


def _labels(*names: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _sentence_embedder(directory: Path) -> None:
    """A sentence-transformers repository: mean pooling and normalising."""
    _bert("BertModel")(directory)
    (directory / "1_Pooling").mkdir(exist_ok=True)
    _write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _write_json(
        directory / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
    )
    _write_json(directory / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})


# ---------------------------------------------------------------- decoders


def _llama(*, chat: bool) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = _byte_pairs(directory, chat=chat)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
            initializer_range=0.5,
        )
        LlamaForCausalLM(config).save_pretrained(directory)

    return write


def _gpt2(directory: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _byte_pairs(directory)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=WIDTH, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, initializer_range=0.5
    )
    GPT2LMHeadModel(config).save_pretrained(directory)


def _mamba(directory: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = _byte_pairs(directory)
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, state_size=4, num_hidden_layers=2, bos_token_id=0, eos_token_id=0, pad_token_id=1
    )
    MambaForCausalLM(config).save_pretrained(directory)


# ---------------------------------------------------------------- encoder-decoders


def _t5(directory: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), (":", -5.0), *_unigram_pieces()]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=4, model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=8,
        d_ff=2 * WIDTH,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        task_specific_params={
            "summarization": {"prefix": "summarize: ", "max_length": 20, "num_beams": 2},
            "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 16},
            "translation_en_to_fr": {"prefix": "translate English to French: ", "max_length": 16},
        },
    )
    T5ForConditionalGeneration(config).save_pretrained(directory)


def _bart(directory: Path) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = _byte_pairs(directory, length=64)
    config = BartConfig(
        vocab_size=len(tokenizer),
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        decoder_start_token_id=0,
        forced_eos_token_id=0,
        **_bart_sizes(),
    )
    BartForConditionalGeneration(config).save_pretrained(directory)


def _bart_sizes() -> dict[str, Any]:
    return {
        "d_model": WIDTH,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 2 * WIDTH,
        "decoder_ffn_dim": 2 * WIDTH,
        "max_position_embeddings": 64,
        "init_std": 0.5,
    }


def _marian(directory: Path) -> None:
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    model = _sentencepiece(directory, "source")
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    names = ["</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(pieces.get_piece_size())), "<pad>"]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    model.rename(directory / "source.spm")
    (directory / "target.spm").write_bytes((directory / "source.spm").read_bytes())
    (directory / "source.vocab").unlink()
    _write_json(directory / "vocab.json", vocab)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends sacremoses, which only normalises punctuation
        tokenizer = MarianTokenizer(
            str(directory / "source.spm"),
            str(directory / "target.spm"),
            str(directory / "vocab.json"),
            source_lang="en",
            target_lang="de",
            model_max_length=64,
        )
    tokenizer.save_pretrained(directory)
    pad = vocab["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocab),
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        **_bart_sizes(),
    )
    model = MarianMTModel(config)
    model.generation_config.update(num_beams=2, max_length=24, bad_words_ids=[[pad]])
    model.save_pretrained(directory)


def _m2m100(directory: Path) -> None:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model = _sentencepiece(directory, "sentencepiece.bpe")
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    names = ["<s>", "<pad>", "</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(pieces.get_piece_size()))]
    _write_json(directory / "vocab.json", {name: index for index, name in enumerate(dict.fromkeys(names))})
    (directory / "sentencepiece.bpe.vocab").unlink()
    tokenizer = M2M100Tokenizer(str(directory / "vocab.json"), str(model), model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = M2M100Config(
        vocab_size=tokenizer.get_lang_id("zu") + 1 + 8,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        **_bart_sizes(),
    )
    M2M100ForConditionalGeneration(config).save_pretrained(directory)


def _nllb(directory: Path) -> None:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(ord("a"), ord("z") + 1))]
    tokenizer = NllbTokenizer(vocab={name: index for index, name in enumerate(names)}, merges=[], model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = M2M100Config(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **_bart_sizes()
    )
    M2M100ForConditionalGeneration(config).save_pretrained(directory)


def _mbart(directory: Path) -> None:
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration

    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *_unigram_pieces()]
    tokenizer = MBart50Tokenizer(vocab=vocab, src_lang="en_XX", model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = MBartConfig(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **_bart_sizes()
    )
    MBartForConditionalGeneration(config).save_pretrained(directory)


# ---------------------------------------------------------------- pictures

_VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "image_size": 32,
    "patch_size": 8,
}
_SQUARE = {"size": {"height": 32, "width": 32}}


def _vit(directory: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(**_SQUARE).save_pretrained(directory)
    config = ViTConfig(**_VISION, **_labels("cat", "dog", "car"), initializer_range=0.5)
    ViTForImageClassification(config).save_pretrained(directory)


def _clip(directory: Path) -> None:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(directory)
    tokenizer = _byte_pairs(directory, length=32)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 32,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    CLIPModel(CLIPConfig(text_config=text, vision_config=dict(_VISION), projection_dim=WIDTH)).save_pretrained(directory)


def _siglip(directory: Path) -> None:
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    SiglipImageProcessorPil(**_SQUARE).save_pretrained(directory)
    tokenizer = _byte_pairs(directory, length=64)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 64,
        "projection_size": WIDTH,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    SiglipModel(SiglipConfig(text_config=text, vision_config=dict(_VISION))).save_pretrained(directory)


def _yolos(directory: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(directory)
    config = YolosConfig(
        **{**_VISION, "image_size": [32, 32]}, num_detection_tokens=6, **_labels("cat", "dog", "car"), initializer_range=0.5
    )
    YolosForObjectDetection(config).save_pretrained(directory)


def _resnet_config() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=["stage4"])


def _detr_config() -> Any:
    from transformers import DetrConfig

    return DetrConfig(
        backbone_config=_resnet_config(),
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        num_queries=6,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        **_labels("cat", "dog", "car"),
    )


def _detr(class_name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers
        from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

        DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(directory)
        config = _detr_config()
        if class_name == "DetrForSegmentation":
            # the mask head wants d_model + heads to be divisible by 8, and the features of every stage
            config.encoder_attention_heads = config.decoder_attention_heads = 8
            config.backbone_config.out_features = ["stage1", "stage2", "stage3", "stage4"]
        getattr(transformers, class_name)(config).save_pretrained(directory)

    return write


def _segformer(directory: Path) -> None:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(directory)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, WIDTH],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=WIDTH,
        **_labels("road", "sky", "tree"),
    )
    SegformerForSemanticSegmentation(config).save_pretrained(directory)


def _mask2former(directory: Path) -> None:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}, size_divisor=32).save_pretrained(directory)
    backbone = SwinConfig(
        image_size=64,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=2 * WIDTH,
        mask_feature_size=2 * WIDTH,
        hidden_dim=2 * WIDTH,
        encoder_feedforward_dim=WIDTH,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=WIDTH,
        num_attention_heads=2,
        num_queries=6,
        **_labels("road", "sky", "tree"),
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(directory)


def _blip(directory: Path) -> None:
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    _wordpiece(directory)
    tokenizer = BertTokenizer.from_pretrained(directory)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "encoder_hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 64,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = BlipConfig(text_config=text, vision_config=dict(_VISION), projection_dim=WIDTH)
    BlipForConditionalGeneration(config).save_pretrained(directory)
    BlipProcessor(BlipImageProcessorPil(**_SQUARE), tokenizer).save_pretrained(directory)


def _vit_gpt2(directory: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(**_SQUARE).save_pretrained(directory)
    tokenizer = _byte_pairs(directory)
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=WIDTH,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        add_cross_attention=True,
        is_decoder=True,
    )
    model = VisionEncoderDecoderModel(encoder=ViTModel(ViTConfig(**_VISION), add_pooling_layer=False), decoder=GPT2LMHeadModel(decoder))
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = 0
        config.pad_token_id = 1
        config.eos_token_id = 0
    model.save_pretrained(directory)


def _git(directory: Path) -> None:
    from transformers import BertTokenizer, GitConfig, GitForCausalLM, GitProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    _wordpiece(directory)
    tokenizer = BertTokenizer.from_pretrained(directory)
    config = GitConfig(
        vision_config=dict(_VISION),
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    GitForCausalLM(config).save_pretrained(directory)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(images, tokenizer).save_pretrained(directory)


# ---------------------------------------------------------------- sound


def _wav2vec2_sizes() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "conv_dim": [8, 8, 8],
        "conv_kernel": [10, 8, 4],
        "conv_stride": [10, 8, 4],
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
    }


def _wav2vec2_classifier(directory: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(directory)
    config = Wav2Vec2Config(**_wav2vec2_sizes(), classifier_proj_size=8, **_labels("yes", "no", "stop"), initializer_range=0.5)
    Wav2Vec2ForSequenceClassification(config).save_pretrained(directory)


def _ctc(class_name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers
        from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
        _write_json(directory / "vocab.json", {letter: index for index, letter in enumerate(letters)})
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
        tokenizer = Wav2Vec2CTCTokenizer(str(directory / "vocab.json"))
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(directory)
        config_class = getattr(transformers, class_name.replace("ForCTC", "Config"))
        config = config_class(**_wav2vec2_sizes(), vocab_size=len(letters), initializer_range=0.5)
        getattr(transformers, class_name)(config).save_pretrained(directory)

    return write


def _ast(directory: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    ASTFeatureExtractor(max_length=64, num_mel_bins=16).save_pretrained(directory)
    config = ASTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_length=64,
        num_mel_bins=16,
        **_labels("speech", "music", "noise"),
    )
    ASTForAudioClassification(config).save_pretrained(directory)


def _whisper(directory: Path) -> None:
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special += [f"<|{index * 0.02:.2f}|>" for index in range(1501)]
    letters = {letter: index for index, letter in enumerate(bytes_to_unicode().values())}
    tokenizer = WhisperTokenizer(vocab=letters, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[:-1501]})
    tokenizer.add_tokens(special[-1501:])
    id_of = tokenizer.convert_tokens_to_ids
    extractor = WhisperFeatureExtractor(feature_size=16)
    WhisperProcessor(extractor, tokenizer).save_pretrained(directory)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        max_target_positions=64,
        decoder_start_token_id=id_of("<|startoftranscript|>"),
        bos_token_id=id_of("<|endoftext|>"),
        eos_token_id=id_of("<|endoftext|>"),
        pad_token_id=id_of("<|endoftext|>"),
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        max_length=16,
        is_multilingual=True,
        no_timestamps_token_id=id_of("<|notimestamps|>"),
        lang_to_id={f"<|{code}|>": id_of(f"<|{code}|>") for code in LANGUAGES},
        task_to_id={"transcribe": id_of("<|transcribe|>"), "translate": id_of("<|translate|>")},
        prev_sot_token_id=id_of("<|startofprev|>"),
        alignment_heads=[[0, 0]],
        max_initial_timestamp_index=50,
    )
    model.save_pretrained(directory)


def _vits(speakers: int) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        from transformers import VitsConfig, VitsModel, VitsTokenizer

        letters = ["<pad>", "<unk>", " ", "'", *(chr(code) for code in range(ord("a"), ord("z") + 1))]
        _write_json(directory / "vocab.json", {letter: index for index, letter in enumerate(letters)})
        tokenizer = VitsTokenizer(str(directory / "vocab.json"), phonemize=False, is_uroman=False, language="eng")
        tokenizer.save_pretrained(directory)
        config = VitsConfig(
            vocab_size=len(letters),
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=WIDTH,
            flow_size=WIDTH,
            spectrogram_bins=9,
            duration_predictor_filter_channels=WIDTH,
            prior_encoder_num_flows=2,
            prior_encoder_num_wavenet_layers=1,
            posterior_encoder_num_wavenet_layers=1,
            duration_predictor_num_flows=1,
            duration_predictor_flow_bins=4,
            depth_separable_num_layers=1,
            upsample_initial_channel=16,
            upsample_rates=[4, 4],
            upsample_kernel_sizes=[8, 8],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            num_speakers=speakers,
            speaker_embedding_size=WIDTH if speakers > 1 else 0,
        )
        VitsModel(config).save_pretrained(directory)

    return write


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))


BUILDERS: dict[str, Callable[[Path], None]] = {
    "classify": _bert("BertForSequenceClassification", **_labels("negative", "neutral", "positive")),
    "classify-many": _bert("BertForSequenceClassification", problem_type="multi_label_classification", **_labels("toxic", "rude", "kind")),
    "cross-encoder": _bert("BertForSequenceClassification", **_labels("LABEL_0")),
    "entailment": _bert("BertForSequenceClassification", **_labels("contradiction", "neutral", "entailment")),
    "classify-tokens": _bert("BertForTokenClassification", **_labels("O", "B-PER", "I-PER", "B-LOC", "I-LOC")),
    "answer": _bert("BertForQuestionAnswering"),
    "fill-mask": _bert("BertForMaskedLM"),
    "embed": _bert("BertModel"),
    "sentence-embedder": _sentence_embedder,
    "chat": _llama(chat=True),
    "llama": _llama(chat=False),
    "gpt2": _gpt2,
    "mamba": _mamba,
    "t5": _t5,
    "bart": _bart,
    "marian": _marian,
    "m2m100": _m2m100,
    "nllb": _nllb,
    "mbart": _mbart,
    "vit": _vit,
    "clip": _clip,
    "siglip": _siglip,
    "yolos": _yolos,
    "detr": _detr("DetrForObjectDetection"),
    "detr-panoptic": _detr("DetrForSegmentation"),
    "segformer": _segformer,
    "mask2former": _mask2former,
    "blip": _blip,
    "vit-gpt2": _vit_gpt2,
    "git": _git,
    "whisper": _whisper,
    "wav2vec2": _ctc("Wav2Vec2ForCTC"),
    "hubert": _ctc("HubertForCTC"),
    "wav2vec2-classifier": _wav2vec2_classifier,
    "ast": _ast,
    "vits": _vits(1),
    "vits-speakers": _vits(3),
}
