"""What a model is for, when its card does not say: guessed from the files that every library leaves behind."""

import re
from collections.abc import Mapping
from typing import Any

_BY_ARCHITECTURE: tuple[tuple[str, str], ...] = (
    (r"Whisper\w*ForConditionalGeneration|SpeechEncoderDecoderModel|\w*ForCTC|\w*ForSpeechSeq2Seq", "automatic-speech-recognition"),
    (r"Wav2Vec2\w*ForSequenceClassification|\w*ForAudioClassification|ASTForAudioClassification", "audio-classification"),
    (r"Marian\w*|M2M100\w*|FSMT\w*|NllbMoe\w*", "translation"),
    (r"Pegasus\w*ForConditionalGeneration|LEDForConditionalGeneration", "summarization"),
    (r"VisionEncoderDecoderModel|Blip\w*ForConditionalGeneration|GitForCausalLM", "image-to-text"),
    (r"(Llava|Qwen2VL|Qwen2_5_VL|Qwen3VL|Idefics|PaliGemma|Mllama|InternVL|SmolVLM)\w*", "image-text-to-text"),
    (r"(T5|MT5|UMT5|LongT5|BartForConditional|MBart|ProphetNet|Switch)\w*", "text2text-generation"),
    (r"\w*ForSequenceClassification", "text-classification"),
    (r"\w*ForTokenClassification", "token-classification"),
    (r"(Vilt|Blip|Lxmert|VisualBert)ForQuestionAnswering", "visual-question-answering"),
    (r"(LayoutLM\w*|Lilt)ForQuestionAnswering", "document-question-answering"),
    (r"TapasForQuestionAnswering", "table-question-answering"),
    (r"\w*ForQuestionAnswering", "question-answering"),
    (r"\w*ForMaskedLM", "fill-mask"),
    (r"\w*ForImageClassification", "image-classification"),
    (r"\w*ForObjectDetection", "object-detection"),
    (r"\w*For(Semantic|Instance|Universal|Image)?Segmentation", "image-segmentation"),
    (r"(CLIP|Siglip|ChineseCLIP|AltCLIP)\w*", "zero-shot-image-classification"),
    (r"\w*(ForCausalLM|LMHeadModel)", "text-generation"),
    (r"\w*Model", "feature-extraction"),
)


def pipeline_tag_of(files: Mapping[str, int], documents: Mapping[str, Any], gguf: Mapping[str, Any]) -> str | None:
    """The pipeline tag that a model's files suggest; None if they say nothing."""
    if "modules.json" in files:
        return "feature-extraction"
    if gguf or any(path.endswith(".gguf") for path in files):
        return "feature-extraction" if "bert" in str(gguf.get("general.architecture", "")) else "text-generation"
    config = documents.get("config.json")
    architectures = config.get("architectures") if isinstance(config, dict) else None
    for architecture in architectures if isinstance(architectures, list) else ():
        for pattern, tag in _BY_ARCHITECTURE:
            if re.fullmatch(pattern, str(architecture)):
                return tag
    if {"model.bin", "vocabulary.json"} <= files.keys() or {"model.bin", "vocabulary.txt"} <= files.keys():
        return "automatic-speech-recognition" if "preprocessor_config.json" in files else None
    return None


def library_of(files: Mapping[str, int], documents: Mapping[str, Any]) -> str | None:
    """The library that a model's files were made for; None if they say nothing."""
    if "modules.json" in files:
        return "sentence-transformers"
    if "adapter_config.json" in files:
        return "peft"
    if "model_index.json" in files:
        return "diffusers"
    config = documents.get("config.json")
    if isinstance(config, dict) and ("model_type" in config or "architectures" in config):
        return "transformers"
    return "gguf" if any(path.endswith(".gguf") for path in files) else None
