"""What each method's rows ask of a model, and how right its answers are: by the names of the metrics that trainings tell."""

import base64
import importlib.util
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.core.metrics import accuracy, bleu, chrf, entity_scores, exact_match, f1, macro_f1, wer
from yunmo.core.rows import Conversation, LabelledPicture, LabelledText, LabelledWords, Neighbours, Rewritten, Spoken, Turn
from yunmo.core.tasks import (
    AnyRequest,
    Chat,
    Choices,
    Classify,
    ClassifyImage,
    ClassifyTokens,
    Embed,
    Entities,
    Labels,
    Message,
    Sampling,
    Summarize,
    Texts,
    Tool,
    ToolCall,
    Transcribe,
    Transcript,
    Translate,
    Vectors,
)
from yunmo.core.training import Method

_ANSWER_TOKENS = 512
_DATA_URL = re.compile(r"data:[^,]*;base64,")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where an examination takes place: the folder of the rows' pictures and recordings, and what the model does."""

    media: Path
    tasks: Collection[str]


@dataclass(frozen=True, slots=True)
class Examination:
    """One method's. `right` and `read` give answers as plain JSON; `nothing` is what counts where the model could not answer the row."""

    ask: Callable[[Any, Setting], AnyRequest]
    right: Callable[[Any], Any]
    read: Callable[[Any, Any], Any]
    nothing: Callable[[Any], Any]
    metrics: Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]
    library: str | None = None

    def check(self) -> None:
        """Raise InvalidRequest where the library that measures is not installed."""
        if self.library is not None and importlib.util.find_spec(self.library) is None:
            raise InvalidRequest(
                f"{self.library} is not installed on the server, and judging these rows needs it: pip install 'yunmo[training]'.",
                param="method",
            )

    def is_right(self, found: Any, right: Any) -> bool:
        """Whether the answer is the right one; of texts but for case, signs and spaces, of vectors if the wrong text is further off."""
        if right is None:
            return len(found) < 2 or found[0] > found[1]
        if isinstance(found, str) and isinstance(right, str):
            return exact_match([found], [right]) == 1.0
        return bool(found == right)


# ---------------------------------------------------------------- labels


def _classify(row: LabelledText, setting: Setting) -> AnyRequest:
    del setting
    return Classify(texts=(row.text if row.text_pair is None else (row.text, row.text_pair),), top_k=1)


def _classify_image(row: LabelledPicture, setting: Setting) -> AnyRequest:
    return ClassifyImage(image=_bytes(row.image, setting.media), top_k=1)


def _label(row: LabelledText | LabelledPicture, output: Labels) -> str:
    del row
    return output.rows[0][0].label


def _label_metrics(found: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    return {"accuracy": accuracy(found, right), "macro_f1": macro_f1(found, right)}


# ---------------------------------------------------------------- words


def _classify_words(row: LabelledWords, setting: Setting) -> AnyRequest:
    del setting
    return ClassifyTokens(texts=(row.joined()[0],), aggregation="none", ignore_labels=())


def _word_labels(row: LabelledWords, output: Entities) -> list[str]:
    """Each word's label is that of its first token."""
    labels = []
    for start, word in zip(row.joined()[1], row.tokens, strict=True):
        inside = (entity.label for entity in output.rows[0] if start <= entity.start < start + len(word))
        labels.append(next(inside, "O"))
    return labels


# ---------------------------------------------------------------- texts


def _rewrite(row: Rewritten, setting: Setting) -> AnyRequest:
    if "translate" in setting.tasks:
        return Translate(texts=(row.source,))
    return Summarize(texts=(row.source,))


def _text(row: Rewritten, output: Texts) -> str:
    del row
    return output.texts[0]


def _text_metrics(found: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    return {"exact_match": exact_match(found, right), "chrf": chrf(found, right), "bleu": bleu(found, right)}


def _answer(row: Conversation, setting: Setting) -> AnyRequest:
    del setting
    tools = tuple(_tool(tool) for tool in row.tools or ())
    return Chat(
        messages=tuple(_message(turn) for turn in row.messages[:-1]),
        tools=tools,
        sampling=Sampling(temperature=0.0, max_tokens=_ANSWER_TOKENS),
    )


def _message(turn: Turn) -> Message:
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ())
    return Message(turn.role, turn.content, tool_calls=calls, tool_call_id=turn.tool_call_id, name=turn.name)


def _tool(given: Mapping[str, Any]) -> Tool:
    function = given.get("function") or {}
    return Tool(str(function.get("name", "")), str(function.get("description", "")), json.dumps(function.get("parameters") or {}))


def _last_words(row: Conversation) -> str:
    last = row.messages[-1]
    return _told(last.content, [(call.function.name, call.function.arguments) for call in last.tool_calls or ()])


def _said(row: Conversation, output: Choices) -> str:
    del row
    choice = output.choices[0]
    return _told(choice.text, [(call.name, call.arguments) for call in choice.tool_calls])


def _told(text: str | None, calls: Sequence[tuple[str, str]]) -> str:
    return "\n".join(part for part in (text, *(f"{name}({arguments})" for name, arguments in calls)) if part)


def _answer_metrics(found: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    return {"exact_match": exact_match(found, right), "f1": f1(found, right)}


# ---------------------------------------------------------------- vectors, recordings


def _embed(row: Neighbours, setting: Setting) -> AnyRequest:
    del setting
    return Embed(inputs=(row.anchor, row.positive, *([row.negative] if row.negative is not None else [])))


def _nearness(row: Neighbours, output: Vectors) -> list[float]:
    """The cosine of the anchor with its own text, and with the wrong one if there is one."""
    del row
    anchor, *others = (np.frombuffer(vector.data, "<f4") for vector in output.vectors)
    return [float(anchor @ other / max(float(np.linalg.norm(anchor) * np.linalg.norm(other)), 1e-12)) for other in others]


def _vector_metrics(found: Sequence[Sequence[float]], right: Sequence[Any]) -> dict[str, float]:
    del right
    metrics = {"cosine": sum(each[0] for each in found) / len(found)}
    triplets = [each for each in found if len(each) > 1]
    if triplets:
        metrics["accuracy"] = sum(own > wrong for own, wrong in triplets) / len(triplets)
    return metrics


def _transcribe(row: Spoken, setting: Setting) -> AnyRequest:
    return Transcribe(audio=_bytes(row.audio, setting.media), temperature=0.0)


def _heard(row: Spoken, output: Transcript) -> str:
    del row
    return output.text


def _bytes(named: str, media: Path) -> bytes:
    """What a row names: a file that was laid out for it, or a data URL."""
    if match := _DATA_URL.match(named):
        try:
            return base64.b64decode(named[match.end() :], validate=True)
        except ValueError as error:
            raise InvalidRequest("The data URL is no valid base64.") from error
    return (media / named).read_bytes()


EXAMINATIONS: Mapping[Method, Examination] = {
    "classification": Examination(_classify, lambda row: str(row.label), _label, lambda _: "", _label_metrics),
    "image_classification": Examination(_classify_image, lambda row: str(row.label), _label, lambda _: "", _label_metrics),
    "token_classification": Examination(
        _classify_words, lambda row: list(row.labels), _word_labels, lambda row: ["O"] * len(row.labels), entity_scores, "seqeval"
    ),
    "seq2seq": Examination(_rewrite, lambda row: row.target, _text, lambda _: "", _text_metrics, "sacrebleu"),
    "supervised": Examination(_answer, _last_words, _said, lambda _: "", _answer_metrics),
    "embedding": Examination(_embed, lambda _: None, _nearness, lambda row: [0.0] if row.negative is None else [0.0, 0.0], _vector_metrics),
    "speech_recognition": Examination(
        _transcribe, lambda row: row.text, _heard, lambda _: "", lambda found, right: {"wer": wer(found, right)}, "jiwer"
    ),
}
