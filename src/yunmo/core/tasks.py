"""The kinds of inference: what goes in, what comes out, what streams, and how a stream folds into an answer.

A request, an output and a delta are each one tagged struct, so that the wire carries them as they are.
Inside, everything is a stream: a task that does not stream yields its whole output as its only chunk.
`fold(request, chunks) == output` for every task.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

# ---------------------------------------------------------------- requests

Function = Literal["softmax", "sigmoid", "none"]
Aggregation = Literal["none", "simple", "first", "average", "max"]


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="task"):
    """The root of every request."""


class Classify(Request, frozen=True, tag="classify"):
    """Give each text its labels, best first. A pair of texts is one input of a cross-encoder."""

    texts: tuple[str | tuple[str, str], ...]
    top_k: int | None = None
    function: Function | None = None


class ClassifyTokens(Request, frozen=True, tag="classify-tokens"):
    """Find the entities in each text."""

    texts: tuple[str, ...]
    aggregation: Aggregation = "simple"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: int | None = None


class ClassifyZeroShot(Request, frozen=True, tag="classify-zero-shot"):
    """Score labels that the model was never trained on, through entailment."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    multi_label: bool = False
    hypothesis_template: str = "This example is {}."


class Answer(Request, frozen=True, tag="answer"):
    """Find the answer to a question in a context."""

    question: str
    context: str
    top_k: int = 1
    max_answer_tokens: int = 15
    max_window_tokens: int | None = None
    stride_tokens: int = 128
    handle_impossible: bool = False


class FillMask(Request, frozen=True, tag="fill-mask"):
    """Guess the masked token of each text."""

    texts: tuple[str, ...]
    targets: tuple[str, ...] | None = None
    top_k: int = 5


class Embed(Request, frozen=True, tag="embed"):
    """Turn each input (text, or token ids) into a vector; `pooled=False` asks for one vector per token."""

    inputs: tuple[str | tuple[int, ...], ...]
    pooled: bool = True
    normalize: bool | None = None
    truncate: bool = True
    dimensions: int | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. None leaves the model's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    beams: int | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """A form that the generated text must have. `value` is a JSON schema (as JSON text), a GBNF grammar or a regular expression."""

    kind: Literal["json", "json_schema", "grammar", "regex"]
    value: str = ""


class Generate(Request, frozen=True, tag="generate"):
    """Continue a prompt (text, or token ids) `choices` times, with the loaded adapter of this name if there is one."""

    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    choices: int = 1
    top_logprobs: int | None = None
    echo: bool = False
    output_format: OutputFormat | None = None
    truncate_prompt_tokens: int | None = None
    adapter: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a function that the model asks for; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class MediaPart(msgspec.Struct, frozen=True):
    """An image or a recording inside a message."""

    kind: Literal["image", "audio"]
    data: bytes


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: str
    content: str | None = None
    media: tuple[MediaPart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON schema as JSON text."""

    name: str
    description: str = ""
    parameters: str = "{}"


class Chat(Request, frozen=True, tag="chat"):
    """Answer a conversation `choices` times, with the loaded adapter of this name if there is one.

    `tool_choice` is auto, none, required, or a tool's name.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    sampling: Sampling = Sampling()
    choices: int = 1
    top_logprobs: int | None = None
    output_format: OutputFormat | None = None
    adapter: str | None = None


class Summarize(Request, frozen=True, tag="summarize"):
    """Shorten each text."""

    texts: tuple[str, ...]
    sampling: Sampling = Sampling()
    truncate: bool = False


class Translate(Request, frozen=True, tag="translate"):
    """Translate each text; languages are BCP 47 or the model's own codes, None where the model knows one pair only."""

    texts: tuple[str, ...]
    source: str | None = None
    target: str | None = None
    sampling: Sampling = Sampling()
    truncate: bool = False


class ClassifyImage(Request, frozen=True, tag="classify-image"):
    """Give an encoded picture (PNG, JPEG, WebP) its labels, best first."""

    image: bytes
    top_k: int | None = None
    function: Function | None = None


class ClassifyImageZeroShot(Request, frozen=True, tag="classify-image-zero-shot"):
    """Score labels for a picture that the model was never trained on."""

    image: bytes
    labels: tuple[str, ...]
    hypothesis_template: str = "This is a photo of {}."


class Detect(Request, frozen=True, tag="detect"):
    """Find the objects in a picture with a score of at least `threshold`."""

    image: bytes
    threshold: float = 0.5


class Segment(Request, frozen=True, tag="segment"):
    """Cut a picture into labelled masks."""

    image: bytes
    threshold: float | None = None
    mask_threshold: float | None = None
    overlap_threshold: float | None = None
    subtask: Literal["instance", "panoptic", "semantic"] | None = None


class Describe(Request, frozen=True, tag="describe"):
    """Say in words what a picture shows."""

    image: bytes
    prompt: str | None = None
    sampling: Sampling = Sampling()


class AnswerImage(Request, frozen=True, tag="answer-image"):
    """Answer a question about a picture. The answers are labels, best first; None for `top_k` leaves their number to the model."""

    image: bytes
    question: str
    top_k: int | None = None


class PlacedWord(msgspec.Struct, frozen=True):
    """A word on a page; `box` is left, top, right and bottom in thousandths of the page's width and height."""

    text: str
    box: tuple[int, int, int, int]


class AnswerDocument(Request, frozen=True, tag="answer-document"):
    """Answer a question about the picture of a page.

    `words` are the page's in reading order, for models that do not read them off the picture; None where nobody has read them.
    """

    image: bytes
    question: str
    words: tuple[PlacedWord, ...] | None = None
    top_k: int = 1
    max_answer_tokens: int | None = None
    max_window_tokens: int | None = None
    stride_tokens: int | None = None
    handle_impossible: bool = False


class AnswerTable(Request, frozen=True, tag="answer-table"):
    """Answer a question from the cells of a table; every row has a cell for each column. `truncate` leaves out the last rows if need be."""

    question: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    truncate: bool = True


class Transcribe(Request, frozen=True, tag="transcribe"):
    """Write down the speech of an encoded recording (WAV, FLAC, MP3, OGG, WebM, M4A); `to_english` translates it."""

    audio: bytes
    language: str | None = None
    prompt: str | None = None
    to_english: bool = False
    temperature: float | None = None
    word_timestamps: bool = False
    skip_silence: bool = False
    beams: int | None = None


class ClassifyAudio(Request, frozen=True, tag="classify-audio"):
    """Give a recording its labels, best first."""

    audio: bytes
    top_k: int | None = None
    function: Function | None = None


class Speak(Request, frozen=True, tag="speak"):
    """Read a text aloud."""

    text: str
    voice: str | None = None
    speed: float = 1.0
    sampling: Sampling = Sampling()


# ---------------------------------------------------------------- outputs


class Output(msgspec.Struct, frozen=True, kw_only=True, tag_field="output"):
    """The root of every whole answer and of every delta."""


class Label(msgspec.Struct, frozen=True):
    """A name and how sure the model is of it."""

    label: str
    score: float


class Labels(Output, frozen=True, tag="labels"):
    """One row of labels per input, best first."""

    rows: tuple[tuple[Label, ...], ...]


class Entity(msgspec.Struct, frozen=True):
    """A span of the text; `start` and `end` count code points. `index` is the token's where spans are not grouped."""

    label: str
    score: float
    word: str
    start: int
    end: int
    index: int | None = None


class Entities(Output, frozen=True, tag="entities"):
    """One row of entities per text."""

    rows: tuple[tuple[Entity, ...], ...]


class Span(msgspec.Struct, frozen=True):
    """An answer found in a context. `start` and `end` count code points of a text, or words of a page (the last one included).

    They are None where the answer was written and not found; its score is then the probability of its tokens.
    """

    answer: str
    score: float
    start: int | None = None
    end: int | None = None


class Answers(Output, frozen=True, tag="answers"):
    """The best answers, best first."""

    spans: tuple[Span, ...]


class TableAnswer(Output, frozen=True, tag="table-answer"):
    """The cells that answer a question, each with its row and column from 0; `aggregator` says what to do with them (SUM, COUNT …)."""

    answer: str
    cells: tuple[str, ...]
    coordinates: tuple[tuple[int, int], ...]
    aggregator: str | None = None


class Filling(msgspec.Struct, frozen=True):
    """A token for the mask and the text that it makes."""

    sequence: str
    score: float
    token: int
    token_text: str


class Fillings(Output, frozen=True, tag="fillings"):
    """One row per text, best first."""

    rows: tuple[tuple[Filling, ...], ...]


class Vector(msgspec.Struct, frozen=True):
    """Little-endian float32 numbers; shape is (dimensions,) if pooled, else (tokens, dimensions)."""

    data: bytes
    shape: tuple[int, ...]


class Vectors(Output, frozen=True, tag="vectors"):
    """One vector per input."""

    vectors: tuple[Vector, ...]


class Texts(Output, frozen=True, tag="texts"):
    """One text per input (summaries, translations, descriptions)."""

    texts: tuple[str, ...]
    detected_languages: tuple[str | None, ...] = ()


class Box(msgspec.Struct, frozen=True):
    """A rectangle in pixels from the top left."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Detection(msgspec.Struct, frozen=True):
    """One object in a picture."""

    label: str
    score: float
    box: Box


class Detections(Output, frozen=True, tag="detections"):
    """The objects found, best first."""

    objects: tuple[Detection, ...]


class Mask(msgspec.Struct, frozen=True):
    """One segment; `png` is a grey picture of the input's size, 255 inside."""

    label: str
    png: bytes
    score: float | None = None


class Masks(Output, frozen=True, tag="masks"):
    """The segments of a picture."""

    segments: tuple[Mask, ...]


class Speech(Output, frozen=True, tag="speech"):
    """A WAV file (16-bit PCM, mono)."""

    wav: bytes
    sampling_rate: int


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token, its log probability and the likeliest others."""

    token: str
    logprob: float
    id: int | None = None
    top: tuple["TokenLogprob", ...] = ()


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of the tool call at `index`; id and name come with its first piece."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TextDelta(Output, frozen=True, tag="text-delta"):
    """A piece of choice `choice` of a chat or a generation."""

    choice: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


class Choice(msgspec.Struct, frozen=True):
    """One whole answer of a chat or a generation."""

    text: str
    finish_reason: FinishReason
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Choices(Output, frozen=True, tag="choices"):
    """All answers of a chat or a generation, in order of their index."""

    choices: tuple[Choice, ...]


class Word(msgspec.Struct, frozen=True):
    """A word of a transcript; times in seconds."""

    word: str
    start: float
    end: float
    probability: float | None = None


class TranscriptSegment(Output, frozen=True, tag="segment"):
    """A stretch of a transcript; times in seconds."""

    id: int
    start: float
    end: float
    text: str
    seek: int = 0
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    average_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_probability: float = 0.0
    words: tuple[Word, ...] = ()
    language: str = ""
    duration: float = 0.0


class Transcript(Output, frozen=True, tag="transcript"):
    """The whole transcript; `duration` is the recording's, in seconds."""

    text: str
    language: str
    duration: float
    segments: tuple[TranscriptSegment, ...] = ()


AnyRequest = (
    Classify
    | ClassifyTokens
    | ClassifyZeroShot
    | Answer
    | FillMask
    | Embed
    | Generate
    | Chat
    | Summarize
    | Translate
    | ClassifyImage
    | ClassifyImageZeroShot
    | Detect
    | Segment
    | Describe
    | AnswerImage
    | AnswerDocument
    | AnswerTable
    | Transcribe
    | ClassifyAudio
    | Speak
)
AnyOutput = (
    Labels
    | Entities
    | Answers
    | TableAnswer
    | Fillings
    | Vectors
    | Texts
    | Detections
    | Masks
    | Speech
    | TextDelta
    | Choices
    | TranscriptSegment
    | Transcript
)

# ---------------------------------------------------------------- the table of tasks


class Task(msgspec.Struct, frozen=True):
    """One kind of inference: its name, the field's name for it (the Hub's pipeline tag) and its request."""

    name: str
    pipeline_tag: str
    request: type[Request]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("classify", "text-classification", Classify),
        Task("classify-tokens", "token-classification", ClassifyTokens),
        Task("classify-zero-shot", "zero-shot-classification", ClassifyZeroShot),
        Task("answer", "question-answering", Answer),
        Task("fill-mask", "fill-mask", FillMask),
        Task("embed", "feature-extraction", Embed),
        Task("generate", "text-generation", Generate),
        Task("chat", "text-generation", Chat),
        Task("summarize", "summarization", Summarize),
        Task("translate", "translation", Translate),
        Task("classify-image", "image-classification", ClassifyImage),
        Task("classify-image-zero-shot", "zero-shot-image-classification", ClassifyImageZeroShot),
        Task("detect", "object-detection", Detect),
        Task("segment", "image-segmentation", Segment),
        Task("describe", "image-to-text", Describe),
        Task("answer-image", "visual-question-answering", AnswerImage),
        Task("answer-document", "document-question-answering", AnswerDocument),
        Task("answer-table", "table-question-answering", AnswerTable),
        Task("transcribe", "automatic-speech-recognition", Transcribe),
        Task("classify-audio", "audio-classification", ClassifyAudio),
        Task("speak", "text-to-speech", Speak),
    )
}


def task_name(request: Request) -> str:
    """The name of the task that this request is of: its tag on the wire."""
    return str(type(request).__struct_config__.tag)


# ---------------------------------------------------------------- items: the unit of batching

_ROWS_FIELD: dict[type[Request], str] = {
    Classify: "texts",
    ClassifyTokens: "texts",
    ClassifyZeroShot: "texts",
    FillMask: "texts",
    Embed: "inputs",
    Summarize: "texts",
    Translate: "texts",
}


def split(request: Request) -> list[Request]:
    """One request per input row; a request that has no rows is its own only item."""
    field = _ROWS_FIELD.get(type(request))
    if field is None:
        return [request]
    rows = getattr(request, field)
    if len(rows) == 1:
        return [request]
    return [msgspec.structs.replace(request, **{field: (row,)}) for row in rows]


def join(outputs: list[Output]) -> Output:
    """The inverse of `split` for outputs: the rows of all items, in their order."""
    if len(outputs) == 1:
        return outputs[0]
    first = outputs[0]
    if isinstance(first, Labels | Entities | Fillings):
        rows = tuple(row for output in outputs for row in output.rows)  # type: ignore[attr-defined]
        return msgspec.structs.replace(first, rows=rows)
    if isinstance(first, Vectors):
        return Vectors(vectors=tuple(vector for output in outputs for vector in output.vectors))  # type: ignore[attr-defined]
    if isinstance(first, Texts):
        return Texts(
            texts=tuple(text for output in outputs for text in output.texts),  # type: ignore[attr-defined]
            detected_languages=tuple(code for output in outputs for code in output.detected_languages),  # type: ignore[attr-defined]
        )
    raise TypeError(f"{type(first).__name__} has no rows to join")


# ---------------------------------------------------------------- folding


def fold(request: Request, chunks: Iterable[Output]) -> Output:
    """The whole answer of a stream: itself if it came whole, its deltas joined otherwise.

    Raises ValueError when the stream ended without an answer.
    """
    pieces = list(chunks)
    if isinstance(request, Transcribe):
        return _fold_transcript(pieces)
    if isinstance(request, Chat | Generate):
        return _fold_choices(pieces, request.choices)
    if len(pieces) != 1:
        raise ValueError(f"{task_name(request)} must answer with one chunk, not {len(pieces)}")
    return pieces[0]


def _fold_transcript(pieces: list[Output]) -> Transcript:
    if pieces and isinstance(pieces[-1], Transcript):
        return pieces[-1]
    segments = tuple(piece for piece in pieces if isinstance(piece, TranscriptSegment))
    last = segments[-1] if segments else None
    return Transcript(
        text="".join(segment.text for segment in segments).strip(),
        language=last.language if last else "",
        duration=last.duration if last else 0.0,
        segments=segments,
    )


class _Growing:
    """A choice while its deltas come in."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.calls: dict[int, list[str]] = {}
        self.finish_reason: FinishReason = "stop"

    def add(self, delta: TextDelta) -> None:
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        self.logprobs.extend(delta.logprobs)
        for call in delta.tool_calls:
            parts = self.calls.setdefault(call.index, ["", "", ""])
            parts[0] += call.id or ""
            parts[1] += call.name or ""
            parts[2] += call.arguments
        self.finish_reason = delta.finish_reason or self.finish_reason

    def choice(self) -> Choice:
        return Choice(
            text="".join(self.text),
            finish_reason=self.finish_reason,
            reasoning="".join(self.reasoning),
            tool_calls=tuple(ToolCall(*self.calls[index]) for index in sorted(self.calls)),
            logprobs=tuple(self.logprobs),
        )


def _fold_choices(pieces: list[Output], count: int) -> Choices:
    if pieces and isinstance(pieces[-1], Choices):
        return pieces[-1]
    growing = [_Growing() for _ in range(count)]
    for piece in pieces:
        if isinstance(piece, TextDelta):
            growing[piece.choice].add(piece)
    return Choices(choices=tuple(each.choice() for each in growing))
