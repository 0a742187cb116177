"""Tiny models that listen and speak."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_tokenizers import WIDTH, labels, write_json


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


def wav2vec2_classifier(directory: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(directory)
    config = Wav2Vec2Config(**_wav2vec2_sizes(), classifier_proj_size=8, **labels("yes", "no", "stop"), initializer_range=0.5)
    Wav2Vec2ForSequenceClassification(config).save_pretrained(directory)


def ctc(class_name: str, **more: Any) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers
        from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
        write_json(directory / "vocab.json", {letter: index for index, letter in enumerate(letters)})
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
        tokenizer = Wav2Vec2CTCTokenizer(str(directory / "vocab.json"))
        Wav2Vec2Processor(extractor, tokenizer).save_pretrained(directory)
        config_class = getattr(transformers, class_name.replace("ForCTC", "Config"))
        config = config_class(**{**_wav2vec2_sizes(), "vocab_size": len(letters), "initializer_range": 0.5, **more})
        getattr(transformers, class_name)(config).save_pretrained(directory)

    return write


def ast(directory: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    ASTFeatureExtractor(max_length=64, num_mel_bins=16).save_pretrained(directory)
    config = ASTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_length=64,
        num_mel_bins=16,
        **labels("speech", "music", "noise"),
    )
    ASTForAudioClassification(config).save_pretrained(directory)


def whisper(directory: Path, *, seconds: int = 30, **more: Any) -> None:
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
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
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
        max_source_positions=50 * seconds,
        max_target_positions=64,
        decoder_start_token_id=id_of("<|startoftranscript|>"),
        bos_token_id=id_of("<|endoftext|>"),
        eos_token_id=id_of("<|endoftext|>"),
        pad_token_id=id_of("<|endoftext|>"),
        **more,
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


def vits(speakers: int) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        from transformers import VitsConfig, VitsModel, VitsTokenizer

        letters = ["<pad>", "<unk>", " ", "'", *(chr(code) for code in range(ord("a"), ord("z") + 1))]
        write_json(directory / "vocab.json", {letter: index for index, letter in enumerate(letters)})
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
