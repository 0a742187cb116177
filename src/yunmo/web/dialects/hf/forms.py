"""The table of Hugging Face's tasks, and which of them a model is asked for."""

from functools import partial

import msgspec

from yunmo.cloud.values import Served
from yunmo.core.errors import InvalidRequest, Unavailable, Unsupported
from yunmo.core.tasks import TASKS
from yunmo.web.dialects.hf import bodies, media_forms, question_bodies, question_forms, replies, text_forms
from yunmo.web.dialects.hf.asks import Ask, Form, Generation
from yunmo.web.request import JSON_LIMIT_BYTES, UPLOAD_LIMIT_BYTES

FORMS: dict[str, Form] = {
    form.tag: form
    for form in (
        Form("text-classification", "classify", text_forms.classify, JSON_LIMIT_BYTES, bodies.ClassifyBody),
        Form("zero-shot-classification", "classify-zero-shot", text_forms.classify_zero_shot, JSON_LIMIT_BYTES, bodies.ZeroShotBody),
        Form("token-classification", "classify-tokens", text_forms.classify_tokens, JSON_LIMIT_BYTES, bodies.TokenBody),
        Form("question-answering", "answer", text_forms.answer, JSON_LIMIT_BYTES, bodies.AnswerBody),
        Form("fill-mask", "fill-mask", text_forms.fill_mask, JSON_LIMIT_BYTES, bodies.FillMaskBody),
        Form("feature-extraction", "embed", text_forms.embed, JSON_LIMIT_BYTES, bodies.EmbedBody),
        Form("sentence-similarity", "embed", text_forms.embed, JSON_LIMIT_BYTES, bodies.EmbedBody),
        Form("summarization", "summarize", text_forms.summarize, JSON_LIMIT_BYTES, bodies.SummarizeBody),
        Form("translation", "translate", text_forms.translate, JSON_LIMIT_BYTES, bodies.TranslateBody),
        Form("text-generation", "generate", text_forms.generate, JSON_LIMIT_BYTES, bodies.TextGenerationBody),
        Form("text-to-speech", "speak", text_forms.speak, JSON_LIMIT_BYTES, bodies.SpeakBody),
        Form(
            "image-classification",
            "classify-image",
            media_forms.classify_image,
            JSON_LIMIT_BYTES,
            bodies.ClassifyBinaryBody,
            takes_media=True,
        ),
        Form(
            "zero-shot-image-classification",
            "classify-image-zero-shot",
            media_forms.classify_image_zero_shot,
            JSON_LIMIT_BYTES,
            bodies.ImageLabelsBody,
        ),
        Form("object-detection", "detect", media_forms.detect, JSON_LIMIT_BYTES, bodies.DetectBody, takes_media=True),
        Form("image-segmentation", "segment", media_forms.segment, JSON_LIMIT_BYTES, bodies.SegmentBody, takes_media=True),
        Form("image-to-text", "describe", media_forms.describe, JSON_LIMIT_BYTES, bodies.DescribeBody, takes_media=True),
        Form("visual-question-answering", "answer-image", question_forms.answer_image, JSON_LIMIT_BYTES, question_bodies.ImageAnswerBody),
        Form(
            "document-question-answering",
            "answer-document",
            question_forms.answer_document,
            JSON_LIMIT_BYTES,
            question_bodies.DocumentAnswerBody,
        ),
        Form("table-question-answering", "answer-table", question_forms.answer_table, JSON_LIMIT_BYTES, question_bodies.TableAnswerBody),
        Form(
            "automatic-speech-recognition",
            "transcribe",
            media_forms.transcribe,
            UPLOAD_LIMIT_BYTES,
            bodies.TranscribeBody,
            takes_media=True,
        ),
        Form(
            "audio-classification",
            "classify-audio",
            media_forms.classify_audio,
            UPLOAD_LIMIT_BYTES,
            bodies.ClassifyBinaryBody,
            takes_media=True,
        ),
    )
}

_BY_TASK: dict[str, Form] = {form.task: form for form in reversed(FORMS.values())}
_TEXT_NAMES = {"translate": "translation_text", "summarize": "summary_text"}
_REWRITING_FIELDS = frozenset(bodies.TranslateParameters.__struct_fields__)
_LABELLED = {"classify": "zero-shot-classification", "classify-image": "zero-shot-image-classification"}


def form_of(served: Served, tag: str | None) -> Form:
    """The form of the task that the path names, else of the model's own. Raises Unsupported for one that the model does not have."""
    if tag is None:
        return _own_form(served)
    form = FORMS.get(tag)
    if form is None:
        raise Unsupported(f"The task '{tag}' is not offered here. The tasks of '{served.name}' are: {_tags(served)}.", param="task")
    if served.tasks and form.task not in served.tasks:
        raise Unsupported(f"The model '{served.name}' does not do '{tag}'. Its tasks are: {_tags(served)}.", param="task")
    return form


def check_accepted(served: Served, accept: str | None) -> None:
    """Raise Unsupported where the caller takes nothing but a picture for an answer.

    `text_to_image` and `image_to_image` differ in this header alone from calls that a model of text or pictures would answer.
    """
    if accept is not None and all(kind.strip().startswith("image/") for kind in accept.split(",")):
        raise Unsupported(f"Nothing here makes pictures: '{served.name}' does {_tags(served)}.", param="accept")


def read(form: Form, served: Served, tag: str | None, body: bytes) -> Ask | Generation:
    """What the body asks for. Raises InvalidRequest, which names the model's tasks where the path named none: another may have been meant."""
    try:
        form = _refined(form, served, tag, body)
        wanted = form.read(body)
    except InvalidRequest as error:
        if tag is not None:
            raise
        message = f"{error.message} '{served.name}' does {_tags(served)}."
        raise type(error)(message, param=error.param) from error
    if tag is None and isinstance(wanted, Ask) and form.task in _TEXT_NAMES and "generate" in served.tasks:
        # without parameters, `text_generation` sends what `summarization` and `translation` send
        return Ask(wanted.request, partial(replies.texts, name=_TEXT_NAMES[form.task], also="generated_text"))
    return wanted


def other_names(served: Served, tag: str | None) -> list[str]:
    """Under which names the text of a model that rewrites texts is looked for, where the path does not say what it is asked for.

    `translation()` and `summarization()` send to a model's URL exactly what `text_generation()` may send.
    """
    return [name for task, name in _TEXT_NAMES.items() if tag is None and task in served.tasks]


def tags_of(served: Served) -> list[str]:
    """The Hub's names of the model's tasks."""
    return list(dict.fromkeys(TASKS[task].pipeline_tag for task in served.tasks if task in TASKS))


def _refined(form: Form, served: Served, tag: str | None, body: bytes) -> Form:
    """The form that the body tells more exactly: zero-shot where it names labels to choose from, translation where it names languages.

    A model that rewrites texts is asked for plain generation by what only that has: `stream`, or its parameters.
    """
    if (form.task == "generate" or (form.task == "summarize" and tag is None)) and "translate" in served.tasks and b'"tgt_lang"' in body:
        return FORMS["translation"]
    if form.task in _TEXT_NAMES and tag is None and "generate" in served.tasks and _is_generation(body):
        return FORMS["text-generation"]
    labelled = _LABELLED.get(form.task)
    if labelled is None or FORMS[labelled].task not in served.tasks or b'"candidate_labels"' not in body:
        return form
    return FORMS[labelled]


class _Shape(msgspec.Struct):
    """What tells a generation from a summary or a translation."""

    parameters: dict[str, msgspec.Raw] | None = None
    stream: bool | None = None


_shape = msgspec.json.Decoder(_Shape)


def _is_generation(body: bytes) -> bool:
    try:
        shape = _shape.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # which the form's own reader says better
    return shape.stream is not None or not _REWRITING_FIELDS.issuperset(shape.parameters or ())


def _own_form(served: Served) -> Form:
    form = FORMS.get(served.pipeline_tag or "")
    if form is not None and (not served.tasks or form.task in served.tasks):
        return form
    for task in served.tasks:
        if task in _BY_TASK:
            return _BY_TASK[task]
    if not served.tasks:
        raise Unavailable(
            f"'{served.name}' is still being looked at ({served.state}). Try again shortly, or name its task: …/pipeline/<task>.",
            retry_after_seconds=2,
        )
    raise Unsupported(
        f"The model '{served.name}' cannot be called here: its tasks are {_tags(served)}. For chat, POST to /v1/chat/completions."
    )


def _tags(served: Served) -> str:
    return ", ".join(tags_of(served)) or "none"
