"""The JSON bodies of Hugging Face's inference tasks.

Fields and names are those of `huggingface_hub.inference._generated.types`. A null stands for "not given". Fields that are
not declared here are refused by name, because leaving them out could change the answer; `options` (wait_for_model,
use_cache, use_gpu) cannot change it and is ignored.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yunmo.core.tasks import Aggregation, Function

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=100)]
Penalty = Annotated[float, Meta(ge=-100, le=100)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Rows = Annotated[list[str], Meta(min_length=1, max_length=2048)]
Names = Annotated[list[str], Meta(min_length=1, max_length=1000)]
Stops = Annotated[list[str], Meta(max_length=64)]
Truncation = Literal["do_not_truncate", "longest_first", "only_first", "only_second"]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of every body and of every set of parameters."""


class Body(Fields, frozen=True, kw_only=True):
    """What every body may carry."""

    options: dict[str, Any] | None = None


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two texts for a cross-encoder."""

    text: str
    text_pair: str


class ClassifyParameters(Fields, frozen=True):
    """How labels are scored, and how many come back."""

    top_k: Count | None = None
    function_to_apply: Function | None = None


class ClassifyBody(Body, frozen=True):
    """text-classification."""

    inputs: str | Annotated[list[str | Pair], Meta(min_length=1, max_length=2048)] | Pair
    parameters: ClassifyParameters | None = None


class ZeroShotParameters(Fields, frozen=True):
    """The labels to choose from."""

    candidate_labels: Names | str
    multi_label: bool | None = None
    hypothesis_template: str | None = None


class ZeroShotBody(Body, frozen=True):
    """zero-shot-classification."""

    inputs: str | Rows
    parameters: ZeroShotParameters


class TokenParameters(Fields, frozen=True):
    """How tokens are grouped into entities."""

    aggregation_strategy: Aggregation | None = None
    ignore_labels: Annotated[list[str], Meta(max_length=1000)] | None = None
    stride: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class TokenBody(Body, frozen=True):
    """token-classification."""

    inputs: str | Rows
    parameters: TokenParameters | None = None


class Question(Fields, frozen=True):
    """A question and where its answer is."""

    question: str
    context: str


class AnswerParameters(Fields, frozen=True):
    """How a context is cut into windows, and how many answers come back."""

    top_k: Count | None = None
    doc_stride: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    max_answer_len: Count | None = None
    max_seq_len: Count | None = None
    max_question_len: Count | None = None
    handle_impossible_answer: bool | None = None
    align_to_words: bool | None = None


class AnswerBody(Body, frozen=True):
    """question-answering."""

    inputs: Question
    parameters: AnswerParameters | None = None


class FillMaskParameters(Fields, frozen=True):
    """Which tokens may fill the mask."""

    targets: Names | None = None
    top_k: Count | None = None


class FillMaskBody(Body, frozen=True):
    """fill-mask."""

    inputs: str | Rows
    parameters: FillMaskParameters | None = None


class GenerationParameters(Fields, frozen=True):
    """Generation parameters in the names of transformers; those without a twin in our sampling are refused where they are set."""

    max_new_tokens: Count | None = None
    max_length: Count | None = None
    do_sample: bool | None = None
    temperature: Temperature | None = None
    top_k: Count | None = None
    top_p: Share | None = None
    typical_p: Share | None = None
    num_beams: Count | None = None
    repetition_penalty: Penalty | None = None
    seed: Seed | None = None
    use_cache: bool | None = None
    early_stopping: bool | str | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    num_beam_groups: int | None = None
    penalty_alpha: float | None = None


class SummarizeParameters(Fields, frozen=True):
    """How a summary is generated."""

    clean_up_tokenization_spaces: bool | None = None
    truncation: Truncation | None = None
    generate_parameters: GenerationParameters | None = None


class SummarizeBody(Body, frozen=True):
    """summarization."""

    inputs: str | Rows
    parameters: SummarizeParameters | None = None


class TranslateParameters(SummarizeParameters, frozen=True):
    """From which language into which, and how it is generated."""

    src_lang: str | None = None
    tgt_lang: str | None = None


class TranslateBody(Body, frozen=True):
    """translation."""

    inputs: str | Rows
    parameters: TranslateParameters | None = None


class Grammar(Fields, frozen=True):
    """The form that generated text must have."""

    type: Literal["json", "regex", "json_schema"]
    value: Any


class TextGenerationParameters(Fields, frozen=True):
    """The parameters of text-generation-inference (TGI)."""

    adapter_id: str | None = None
    best_of: Count | None = None
    decoder_input_details: bool | None = None
    details: bool | None = None
    do_sample: bool | None = None
    frequency_penalty: Penalty | None = None
    grammar: Grammar | None = None
    max_new_tokens: Count | None = None
    repetition_penalty: Penalty | None = None
    return_full_text: bool | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    temperature: Temperature | None = None
    top_k: Count | None = None
    top_n_tokens: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Share | None = None
    truncate: Count | None = None
    typical_p: Share | None = None
    watermark: bool | None = None


class TextGenerationBody(Body, frozen=True):
    """text-generation."""

    inputs: str
    stream: bool | None = None
    parameters: TextGenerationParameters | None = None


class EmbedOptions(Fields, frozen=True):
    """How a vector is made."""

    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None
    prompt_name: str | None = None
    dimensions: Count | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Similar(Fields, frozen=True):
    """A sentence and those to compare it with."""

    source_sentence: str
    sentences: Rows


class EmbedBody(EmbedOptions, frozen=True, kw_only=True):
    """feature-extraction (its options are top-level) and, by the form of its inputs, sentence-similarity."""

    inputs: str | Rows | Similar
    parameters: EmbedOptions | None = None
    options: dict[str, Any] | None = None


class ClassifyBinaryBody(Body, frozen=True):
    """image-classification and audio-classification as JSON; `inputs` is base64."""

    inputs: str
    parameters: ClassifyParameters | None = None


class DetectParameters(Fields, frozen=True):
    """How sure the model must be."""

    threshold: Share | None = None


class DetectBody(Body, frozen=True):
    """object-detection as JSON; `inputs` is base64."""

    inputs: str
    parameters: DetectParameters | None = None


class SegmentParameters(Fields, frozen=True):
    """How masks are cut."""

    threshold: Share | None = None
    mask_threshold: Share | None = None
    overlap_mask_area_threshold: Share | None = None
    subtask: Literal["instance", "panoptic", "semantic"] | None = None


class SegmentBody(Body, frozen=True):
    """image-segmentation as JSON; `inputs` is base64."""

    inputs: str
    parameters: SegmentParameters | None = None


class ImageLabelsParameters(Fields, frozen=True):
    """The labels to choose from."""

    candidate_labels: Names | str
    hypothesis_template: str | None = None


class ImageLabelsBody(Body, frozen=True):
    """zero-shot-image-classification; `inputs` is base64."""

    inputs: str
    parameters: ImageLabelsParameters


class DescribeParameters(Fields, frozen=True):
    """How a description is generated."""

    max_new_tokens: Count | None = None
    prompt: str | None = None
    generation_parameters: GenerationParameters | None = None
    generate_kwargs: GenerationParameters | None = None


class DescribeBody(Body, frozen=True):
    """image-to-text as JSON; `inputs` is base64."""

    inputs: str
    parameters: DescribeParameters | None = None


class SpeechGeneration(GenerationParameters, frozen=True):
    """What a speech recogniser takes beside the general parameters."""

    language: str | None = None
    task: Literal["transcribe", "translate"] | None = None


class TranscribeParameters(Fields, frozen=True):
    """Which timestamps come back, and how the text is generated."""

    return_timestamps: bool | Literal["word"] | None = None
    generation_parameters: SpeechGeneration | None = None
    generate_kwargs: SpeechGeneration | None = None


class TranscribeBody(Body, frozen=True):
    """automatic-speech-recognition as JSON; `inputs` is base64."""

    inputs: str
    parameters: TranscribeParameters | None = None


class SpeakParameters(GenerationParameters, frozen=True):
    """Whose voice, how fast, and how it is generated."""

    voice: str | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None


class SpeakBody(Body, frozen=True):
    """text-to-speech."""

    inputs: str
    parameters: SpeakParameters | None = None


class ChunkReply(msgspec.Struct, frozen=True):
    """A stretch of a transcript; times in seconds."""

    text: str
    timestamp: tuple[float, float]


class TranscriptReply(msgspec.Struct, frozen=True):
    """The reply of automatic-speech-recognition."""

    text: str
    chunks: list[ChunkReply] | UnsetType = UNSET
