"""The tasks that take text: how a body becomes our request, and which reply its output has."""

from functools import partial
from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Answer, Classify, ClassifyTokens, ClassifyZeroShot, Embed, FillMask, Generate, Speak, Summarize, Translate
from yunmo.web.dialects.hf import bodies, replies
from yunmo.web.dialects.hf.asks import Ask, Generation
from yunmo.web.dialects.hf.decode import read_json
from yunmo.web.dialects.hf.sampling import generation, output_format, rewriting, sampling_of

_CLASSIFY = msgspec.json.Decoder(bodies.ClassifyBody)
_ZERO_SHOT = msgspec.json.Decoder(bodies.ZeroShotBody)
_TOKENS = msgspec.json.Decoder(bodies.TokenBody)
_ANSWER = msgspec.json.Decoder(bodies.AnswerBody)
_FILL_MASK = msgspec.json.Decoder(bodies.FillMaskBody)
_EMBED = msgspec.json.Decoder(bodies.EmbedBody)
_SUMMARIZE = msgspec.json.Decoder(bodies.SummarizeBody)
_TRANSLATE = msgspec.json.Decoder(bodies.TranslateBody)
_GENERATE = msgspec.json.Decoder(bodies.TextGenerationBody)
_SPEAK = msgspec.json.Decoder(bodies.SpeakBody)

_NO_GENERATION_PARAMETERS = bodies.TextGenerationParameters()


def classify(body: bytes) -> Ask:
    """text-classification."""
    parsed = read_json(_CLASSIFY, body)
    inputs, parameters = parsed.inputs, parsed.parameters
    texts: tuple[Any, ...] = (inputs,) if type(inputs) is str else _texts_or_pairs(inputs)
    if parameters is None:
        return Ask(Classify(texts=texts), replies.label_rows)
    return Ask(Classify(texts=texts, top_k=parameters.top_k, function=parameters.function_to_apply), replies.label_rows)


def classify_zero_shot(body: bytes) -> Ask:
    """zero-shot-classification."""
    parsed = read_json(_ZERO_SHOT, body)
    parameters = parsed.parameters
    request = ClassifyZeroShot(
        texts=_rows(parsed.inputs),
        labels=label_names(parameters.candidate_labels),
        multi_label=bool(parameters.multi_label),
        hypothesis_template=template(parameters.hypothesis_template) or "This example is {}.",
    )
    return Ask(request, replies.label_rows if isinstance(parsed.inputs, list) else replies.labels)


def classify_tokens(body: bytes) -> Ask:
    """token-classification."""
    parsed = read_json(_TOKENS, body)
    parameters = parsed.parameters or bodies.TokenParameters()
    aggregation = parameters.aggregation_strategy or "simple"
    request = ClassifyTokens(
        texts=_rows(parsed.inputs),
        aggregation=aggregation,
        ignore_labels=("O",) if parameters.ignore_labels is None else tuple(parameters.ignore_labels),
        stride=parameters.stride,
    )
    return Ask(request, partial(replies.entities, is_list=isinstance(parsed.inputs, list), is_grouped=aggregation != "none"))


def answer(body: bytes) -> Ask:
    """question-answering."""
    parsed = read_json(_ANSWER, body)
    parameters = parsed.parameters or bodies.AnswerParameters()
    refuse_answer_options(parameters)
    top_k = parameters.top_k or 1
    request = Answer(
        question=parsed.inputs.question,
        context=parsed.inputs.context,
        top_k=top_k,
        max_answer_tokens=parameters.max_answer_len or 15,
        max_window_tokens=parameters.max_seq_len,
        stride_tokens=128 if parameters.doc_stride is None else parameters.doc_stride,
        handle_impossible=bool(parameters.handle_impossible_answer),
    )
    return Ask(request, partial(replies.answers, is_list=top_k > 1))


def fill_mask(body: bytes) -> Ask:
    """fill-mask."""
    parsed = read_json(_FILL_MASK, body)
    parameters = parsed.parameters or bodies.FillMaskParameters()
    request = FillMask(
        texts=_rows(parsed.inputs),
        targets=tuple(parameters.targets) if parameters.targets else None,
        top_k=parameters.top_k or 5,
    )
    return Ask(request, partial(replies.fillings, is_list=isinstance(parsed.inputs, list)))


def embed(body: bytes) -> Ask:
    """feature-extraction, and sentence-similarity where the inputs are a sentence and others to compare it with."""
    parsed = read_json(_EMBED, body)
    options = _embed_options(parsed)
    inputs = parsed.inputs
    texts = (inputs.source_sentence, *inputs.sentences) if isinstance(inputs, bodies.Similar) else _rows(inputs)
    request = Embed(
        inputs=texts,
        normalize=options.normalize,
        truncate=options.truncate is not False,
        dimensions=options.dimensions,
    )
    if isinstance(inputs, bodies.Similar):
        return Ask(request, replies.similarities)
    return Ask(request, partial(replies.vectors, as_base64=options.encoding_format == "base64"))


def summarize(body: bytes) -> Ask:
    """Summarization."""
    parsed = read_json(_SUMMARIZE, body)
    sampling, truncate = rewriting(parsed.parameters)
    return Ask(Summarize(texts=_rows(parsed.inputs), sampling=sampling, truncate=truncate), partial(replies.texts, name="summary_text"))


def translate(body: bytes) -> Ask:
    """Translation."""
    parsed = read_json(_TRANSLATE, body)
    sampling, truncate = rewriting(parsed.parameters)
    parameters = parsed.parameters or bodies.TranslateParameters()
    if (parameters.src_lang is None) != (parameters.tgt_lang is None):
        raise InvalidRequest(
            "Give both 'src_lang' and 'tgt_lang', or neither.", param="src_lang" if parameters.src_lang is None else "tgt_lang"
        )
    request = Translate(
        texts=_rows(parsed.inputs), source=parameters.src_lang, target=parameters.tgt_lang, sampling=sampling, truncate=truncate
    )
    return Ask(request, partial(replies.texts, name="translation_text"))


def generate(body: bytes) -> Generation:
    """text-generation, in the words of text-generation-inference."""
    parsed = read_json(_GENERATE, body)
    parameters = parsed.parameters or _NO_GENERATION_PARAMETERS
    has_details = bool(parameters.details)
    top_tokens = parameters.top_n_tokens or 0
    request = Generate(
        prompt=parsed.inputs,
        sampling=generation(parameters),
        top_logprobs=top_tokens if has_details or top_tokens else None,
        output_format=output_format(parameters.grammar),
        truncate_prompt_tokens=parameters.truncate,
    )
    return Generation(request, parsed.inputs, bool(parsed.stream), has_details, bool(parameters.return_full_text), top_tokens)


def speak(body: bytes) -> Ask:
    """text-to-speech."""
    parsed = read_json(_SPEAK, body)
    parameters = parsed.parameters or bodies.SpeakParameters()
    if not parsed.inputs.strip():
        raise InvalidRequest("'inputs' is empty: there is nothing to read aloud.", param="inputs")
    request = Speak(
        text=parsed.inputs,
        voice=parameters.voice,
        speed=1.0 if parameters.speed is None else parameters.speed,
        sampling=sampling_of(parameters),
    )
    return Ask(request, replies.speech)


def refuse_answer_options(parameters: bodies.AnswerParameters) -> None:
    """Raise Unsupported for what no engine that finds answers does."""
    if parameters.max_question_len is not None:
        raise Unsupported("The parameter 'max_question_len' is not supported. Shorten the question instead.", param="max_question_len")
    if parameters.align_to_words is False:
        raise Unsupported("Answers are always aligned to words: leave 'align_to_words' out.", param="align_to_words")


def label_names(names: list[str] | str) -> tuple[str, ...]:
    """The labels to choose from, given as a list or as one text with commas."""
    found = tuple(names) if isinstance(names, list) else tuple(name.strip() for name in names.split(",") if name.strip())
    if not found:
        raise InvalidRequest("'candidate_labels' must name at least one label.", param="candidate_labels")
    return found


def template(text: str | None) -> str | None:
    """A hypothesis template, which must have one place for the label."""
    if text is not None and text.count("{}") != 1:
        raise InvalidRequest("'hypothesis_template' must contain '{}' once, where the label goes.", param="hypothesis_template")
    return text


def _rows(inputs: str | list[str]) -> tuple[str, ...]:
    return (inputs,) if isinstance(inputs, str) else tuple(inputs)


def _texts_or_pairs(inputs: Any) -> tuple[Any, ...]:
    items = inputs if isinstance(inputs, list) else [inputs]
    return tuple(item if isinstance(item, str) else (item.text, item.text_pair) for item in items)


def _embed_options(parsed: bodies.EmbedBody) -> bodies.EmbedOptions:
    """The options, top-level or in `parameters`; refused where no engine has them."""
    options = parsed
    if parsed.parameters is not None:
        given = {name: value for name, value in msgspec.structs.asdict(parsed.parameters).items() if value is not None}
        options = msgspec.structs.replace(parsed, **given)
    if options.prompt_name is not None:
        raise Unsupported("The option 'prompt_name' is not supported. Put the prompt's text in front of the inputs.", param="prompt_name")
    if options.truncation_direction in {"left", "Left"}:
        raise Unsupported("Texts are cut at their end: leave 'truncation_direction' out.", param="truncation_direction")
    return options
