"""Which tasks a model's architecture can do, told from its configuration alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yunmo.core.engine import ModelDescription
from yunmo.core.rewriting import text_tasks


@dataclass(frozen=True, slots=True)
class Family:
    """Architectures that are loaded and run the same way.

    `auto_class` loads the model where the architecture's own class is not the one to run (or is not named).
    """

    name: str
    auto_class: str
    tasks: tuple[str, ...]
    slots: int = 1


SEQUENCE_CLASSIFIER = Family("sequence-classifier", "AutoModelForSequenceClassification", ("classify", "classify-zero-shot"))
TOKEN_CLASSIFIER = Family("token-classifier", "AutoModelForTokenClassification", ("classify-tokens",))
ANSWERER = Family("answerer", "AutoModelForQuestionAnswering", ("answer",))
MASK_FILLER = Family("mask-filler", "AutoModelForMaskedLM", ("fill-mask",))
EMBEDDER = Family("embedder", "AutoModel", ("embed",))
DECODER = Family("decoder", "AutoModelForCausalLM", ("chat", "generate"), slots=2)
ENCODER_DECODER = Family("encoder-decoder", "AutoModelForSeq2SeqLM", ("translate", "summarize", "generate"), slots=2)
IMAGE_CLASSIFIER = Family("image-classifier", "AutoModelForImageClassification", ("classify-image",))
IMAGE_TEXT_MATCHER = Family("image-text-matcher", "AutoModelForZeroShotImageClassification", ("classify-image-zero-shot",))
DETECTOR = Family("detector", "AutoModelForObjectDetection", ("detect",))
SEGMENTER = Family("segmenter", "AutoModelForSemanticSegmentation", ("segment",))
DESCRIBER = Family("describer", "AutoModelForImageTextToText", ("describe",))
IMAGE_ANSWERER = Family("image-answerer", "AutoModelForVisualQuestionAnswering", ("answer-image",))
IMAGE_ANSWER_WRITER = Family("image-answer-writer", "AutoModelForVisualQuestionAnswering", ("answer-image",))
DOCUMENT_ANSWERER = Family("document-answerer", "AutoModelForDocumentQuestionAnswering", ("answer-document",))
DOCUMENT_ANSWER_WRITER = Family("document-answer-writer", "AutoModelForImageTextToText", ("answer-document",))
TABLE_ANSWERER = Family("table-answerer", "AutoModelForTableQuestionAnswering", ("answer-table",))
SPEECH_WRITER = Family("speech-writer", "AutoModelForSpeechSeq2Seq", ("transcribe",))
SPEECH_SPELLER = Family("speech-speller", "AutoModelForCTC", ("transcribe",))
AUDIO_CLASSIFIER = Family("audio-classifier", "AutoModelForAudioClassification", ("classify-audio",))
SPEAKER = Family("speaker", "AutoModelForTextToWaveform", ("speak",))

FAMILIES = {
    family.name: family
    for family in (
        SEQUENCE_CLASSIFIER,
        TOKEN_CLASSIFIER,
        ANSWERER,
        MASK_FILLER,
        EMBEDDER,
        DECODER,
        ENCODER_DECODER,
        IMAGE_CLASSIFIER,
        IMAGE_TEXT_MATCHER,
        DETECTOR,
        SEGMENTER,
        DESCRIBER,
        IMAGE_ANSWERER,
        IMAGE_ANSWER_WRITER,
        DOCUMENT_ANSWERER,
        DOCUMENT_ANSWER_WRITER,
        TABLE_ANSWERER,
        SPEECH_WRITER,
        SPEECH_SPELLER,
        AUDIO_CLASSIFIER,
        SPEAKER,
    )
}

_BY_NAME = {
    "CLIPModel": IMAGE_TEXT_MATCHER,
    "ChineseCLIPModel": IMAGE_TEXT_MATCHER,
    "AltCLIPModel": IMAGE_TEXT_MATCHER,
    "AlignModel": IMAGE_TEXT_MATCHER,
    "SiglipModel": IMAGE_TEXT_MATCHER,
    "Siglip2Model": IMAGE_TEXT_MATCHER,
    "MetaClip2Model": IMAGE_TEXT_MATCHER,
    "BlipForConditionalGeneration": DESCRIBER,
    "Blip2ForConditionalGeneration": DESCRIBER,
    "GitForCausalLM": DESCRIBER,
    "VisionEncoderDecoderModel": DESCRIBER,
    "Pix2StructForConditionalGeneration": DESCRIBER,
    "ViltForQuestionAnswering": IMAGE_ANSWERER,
    "BlipForQuestionAnswering": IMAGE_ANSWER_WRITER,
    "LayoutLMForQuestionAnswering": DOCUMENT_ANSWERER,
    "LayoutLMv3ForQuestionAnswering": DOCUMENT_ANSWERER,
    "LiltForQuestionAnswering": DOCUMENT_ANSWERER,
    "TapasForQuestionAnswering": TABLE_ANSWERER,
    "WhisperForConditionalGeneration": SPEECH_WRITER,
    "Speech2TextForConditionalGeneration": SPEECH_WRITER,
    "MoonshineForConditionalGeneration": SPEECH_WRITER,
    "SpeechEncoderDecoderModel": SPEECH_WRITER,
    "VitsModel": SPEAKER,
    "MarianMTModel": ENCODER_DECODER,
    "DetrForSegmentation": SEGMENTER,
}

_BY_SUFFIX = (
    ("ForSequenceClassification", SEQUENCE_CLASSIFIER),
    ("ForTokenClassification", TOKEN_CLASSIFIER),
    ("ForQuestionAnswering", ANSWERER),
    ("ForMaskedLM", MASK_FILLER),
    ("ForPreTraining", MASK_FILLER),
    ("ForCausalLM", DECODER),
    ("LMHeadModel", DECODER),
    ("ForImageClassification", IMAGE_CLASSIFIER),
    ("ForImageClassificationWithTeacher", IMAGE_CLASSIFIER),
    ("ForObjectDetection", DETECTOR),
    ("ForSemanticSegmentation", SEGMENTER),
    ("ForInstanceSegmentation", SEGMENTER),
    ("ForUniversalSegmentation", SEGMENTER),
    ("ForAudioClassification", AUDIO_CLASSIFIER),
    ("ForCTC", SPEECH_SPELLER),
)

_ENCODER_DECODERS = {
    "t5", "mt5", "umt5", "longt5", "switch_transformers", "bart", "mbart", "plbart", "pegasus", "pegasus_x", "bigbird_pegasus",
    "m2m_100", "marian", "blenderbot", "blenderbot-small", "led", "prophetnet", "fsmt", "nllb-moe", "mvp", "encoder-decoder",
}  # fmt: skip
_SOUND = {
    "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "sew", "sew-d", "data2vec-audio", "wav2vec2-conformer", "wav2vec2-bert",
}  # fmt: skip
_NOT_TEXT = _SOUND | {
    "vit", "deit", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet", "dinov2", "dinov3_vit", "vit_mae", "segformer", "detr",
    "yolos", "whisper", "audio-spectrogram-transformer", "clap", "encodec", "dac", "mimi", "videomae", "vivit", "timesformer", "sam",
    "blip", "blip-2", "git", "siglip_vision_model", "clip_vision_model", "data2vec-vision", "autoformer", "informer",
}  # fmt: skip

_TEXT_ALONE = {SEQUENCE_CLASSIFIER, TOKEN_CLASSIFIER, ANSWERER, MASK_FILLER, EMBEDDER}
_OTHER_SENSES = {
    "pictures": {
        "vision_config", "image_config", "image_size", "patch_size", "num_channels", "visual_embedding_dim", "visual_feat_dim",
    },
    "sound": {
        "audio_config", "audio_encoder", "codec_config", "num_mel_bins", "conv_dim", "sampling_rate", "speech_encoder_layers",
        "input_feat_per_channel", "semantic_model_config",
    },
    "pages with their layout": {"max_2d_position_embeddings", "max_xpath_tag_unit_embeddings", "dim_bbox"},
    "tables": {"type_vocab_sizes"},
}  # fmt: skip
"""Fields that only configurations of models have which take such a thing besides text, or make it."""

_BY_PIPELINE_TAG = {
    "text-classification": SEQUENCE_CLASSIFIER,
    "text-ranking": SEQUENCE_CLASSIFIER,
    "zero-shot-classification": SEQUENCE_CLASSIFIER,
    "token-classification": TOKEN_CLASSIFIER,
    "question-answering": ANSWERER,
    "fill-mask": MASK_FILLER,
    "feature-extraction": EMBEDDER,
    "sentence-similarity": EMBEDDER,
    "text-generation": DECODER,
    "translation": ENCODER_DECODER,
    "summarization": ENCODER_DECODER,
    "text2text-generation": ENCODER_DECODER,
    "image-classification": IMAGE_CLASSIFIER,
    "zero-shot-image-classification": IMAGE_TEXT_MATCHER,
    "object-detection": DETECTOR,
    "image-segmentation": SEGMENTER,
    "image-to-text": DESCRIBER,
    "audio-classification": AUDIO_CLASSIFIER,
}
_QUESTION_TAG = "<s_docvqa>"


def family_of(model: ModelDescription) -> Family | None:
    """The family that runs this model; None where there is none.

    The architecture decides; the model card's pipeline tag helps where it is silent, and turns language models into
    embedders where that is what they were published as.
    """
    kind = str(model.config.get("model_type", ""))
    family = _of_architecture(model.architectures[0], kind) if model.architectures else _BY_PIPELINE_TAG.get(model.pipeline_tag or "")
    if family is DESCRIBER and _answers_about_pages(model):
        return DOCUMENT_ANSWER_WRITER
    is_embedder = "modules.json" in model.files or model.pipeline_tag in {"feature-extraction", "sentence-similarity"}
    if is_embedder and family in {MASK_FILLER, DECODER}:
        family = EMBEDDER
    return None if family in _TEXT_ALONE and other_sense(model) else family


def other_sense(model: ModelDescription) -> str | None:
    """What the model works with besides text, as its configuration tells."""
    return next((sense for sense, fields in _OTHER_SENSES.items() if not fields.isdisjoint(model.config)), None)


def tasks_of(family: Family, model: ModelDescription) -> tuple[str, ...]:
    """The tasks of the family that this very model can do, the one it was published for first."""
    config = model.config
    if family is SEQUENCE_CLASSIFIER:
        return family.tasks if has_entailment(config.get("id2label") or {}) else ("classify",)
    if family is DECODER:
        return family.tasks if _has_chat_template(model) else ("generate",)
    if family is ENCODER_DECODER:
        return text_tasks(str(config.get("model_type", "")), model.pipeline_tag, config.get("task_specific_params"))
    return family.tasks


def runs_own_class(family: Family, architecture: str) -> bool:
    """Whether the architecture's class is the one that does the family's tasks (else the auto class finds it)."""
    if family is EMBEDDER:
        return architecture.endswith(("Model", "EncoderModel"))
    return not architecture.endswith("ForPreTraining")


def has_entailment(id2label: Mapping[Any, Any]) -> bool:
    """Whether one of the labels is the entailment that zero-shot classification needs."""
    return any(str(label).lower().startswith("entail") for label in id2label.values())


def _of_architecture(architecture: str, kind: str) -> Family | None:
    if architecture in _BY_NAME:
        return _BY_NAME[architecture]
    if architecture.endswith("ForSequenceClassification") and kind in _SOUND:
        return AUDIO_CLASSIFIER
    for suffix, family in _BY_SUFFIX:
        if architecture.endswith(suffix):
            return family
    if architecture.endswith("ForConditionalGeneration"):
        return ENCODER_DECODER if kind in _ENCODER_DECODERS else None
    if architecture.endswith(("Model", "EncoderModel")) and kind not in _NOT_TEXT:
        return EMBEDDER
    return None


def _answers_about_pages(model: ModelDescription) -> bool:
    """Whether a Donut was trained with questions: its card says so, or it has the token that its questions begin with."""
    encoder = model.config.get("encoder")
    if not isinstance(encoder, dict) or encoder.get("model_type") != "donut-swin":
        return False
    named = [model.documents.get(name) for name in ("added_tokens.json", "tokenizer_config.json")]
    return model.pipeline_tag == "document-question-answering" or _QUESTION_TAG in json.dumps(named)


def _has_chat_template(model: ModelDescription) -> bool:
    documents = model.documents
    in_json = any("chat_template" in (documents.get(name) or {}) for name in ("tokenizer_config.json", "chat_template.json"))
    return in_json or any(path == "chat_template.jinja" or path.startswith("additional_chat_templates/") for path in model.files)
