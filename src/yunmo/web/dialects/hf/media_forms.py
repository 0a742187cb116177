"""The tasks that take a picture or a recording: the file itself as the body, or JSON with the file in base64."""

from functools import partial

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import ClassifyAudio, ClassifyImage, ClassifyImageZeroShot, Describe, Detect, Segment, Transcribe
from yunmo.web.dialects.hf import bodies, replies
from yunmo.web.dialects.hf.asks import Ask
from yunmo.web.dialects.hf.decode import is_json, media, read_json, refuse
from yunmo.web.dialects.hf.sampling import sampling_of
from yunmo.web.dialects.hf.text_forms import label_names, template

_CLASSIFY = msgspec.json.Decoder(bodies.ClassifyBinaryBody)
_DETECT = msgspec.json.Decoder(bodies.DetectBody)
_SEGMENT = msgspec.json.Decoder(bodies.SegmentBody)
_IMAGE_LABELS = msgspec.json.Decoder(bodies.ImageLabelsBody)
_DESCRIBE = msgspec.json.Decoder(bodies.DescribeBody)
_TRANSCRIBE = msgspec.json.Decoder(bodies.TranscribeBody)

_NOT_FOR_SPEECH = (
    *("max_new_tokens", "max_length", "top_k", "top_p", "typical_p", "repetition_penalty", "seed", "early_stopping", "epsilon_cutoff"),
    *("eta_cutoff", "min_length", "min_new_tokens", "num_beam_groups", "penalty_alpha"),
)


def classify_image(body: bytes) -> Ask:
    """image-classification."""
    image, parameters = _classified(body)
    return Ask(ClassifyImage(image=image, top_k=parameters.top_k, function=parameters.function_to_apply), replies.labels)


def classify_audio(body: bytes) -> Ask:
    """audio-classification."""
    audio, parameters = _classified(body)
    return Ask(ClassifyAudio(audio=audio, top_k=parameters.top_k, function=parameters.function_to_apply), replies.labels)


def detect(body: bytes) -> Ask:
    """object-detection."""
    if not is_json(body):
        return Ask(Detect(image=_raw(body)), replies.detections)
    parsed = read_json(_DETECT, body)
    threshold = parsed.parameters.threshold if parsed.parameters else None
    return Ask(Detect(image=media(parsed.inputs), threshold=0.5 if threshold is None else threshold), replies.detections)


def segment(body: bytes) -> Ask:
    """image-segmentation."""
    if not is_json(body):
        return Ask(Segment(image=_raw(body)), replies.masks)
    parsed = read_json(_SEGMENT, body)
    parameters = parsed.parameters or bodies.SegmentParameters()
    request = Segment(
        image=media(parsed.inputs),
        threshold=parameters.threshold,
        mask_threshold=parameters.mask_threshold,
        overlap_threshold=parameters.overlap_mask_area_threshold,
        subtask=parameters.subtask,
    )
    return Ask(request, replies.masks)


def classify_image_zero_shot(body: bytes) -> Ask:
    """zero-shot-image-classification: always JSON, because the labels must be said."""
    parsed = read_json(_IMAGE_LABELS, body)
    request = ClassifyImageZeroShot(
        image=media(parsed.inputs),
        labels=label_names(parsed.parameters.candidate_labels),
        hypothesis_template=template(parsed.parameters.hypothesis_template) or "This is a photo of {}.",
    )
    return Ask(request, replies.labels)


def describe(body: bytes) -> Ask:
    """image-to-text."""
    reply = partial(replies.texts, name="generated_text")
    if not is_json(body):
        return Ask(Describe(image=_raw(body)), reply)
    parsed = read_json(_DESCRIBE, body)
    parameters = parsed.parameters or bodies.DescribeParameters()
    sampling = sampling_of(parameters.generation_parameters or parameters.generate_kwargs)
    if parameters.max_new_tokens is not None:
        sampling = msgspec.structs.replace(sampling, max_tokens=parameters.max_new_tokens)
    return Ask(Describe(image=media(parsed.inputs), prompt=parameters.prompt, sampling=sampling), reply)


def transcribe(body: bytes) -> Ask:
    """automatic-speech-recognition."""
    if not is_json(body):
        return Ask(Transcribe(audio=_raw(body)), partial(replies.transcript, timestamps=None))
    parsed = read_json(_TRANSCRIBE, body)
    parameters = parsed.parameters or bodies.TranscribeParameters()
    timestamps = parameters.return_timestamps
    given = parameters.generation_parameters or parameters.generate_kwargs or bodies.SpeechGeneration()
    refuse(given, _NOT_FOR_SPEECH)
    if given.do_sample and given.temperature is None:
        raise Unsupported("Sampling needs a 'temperature': give one, or leave 'do_sample' out.", param="do_sample")
    request = Transcribe(
        audio=media(parsed.inputs),
        language=given.language,
        to_english=given.task == "translate",
        temperature=0.0 if given.do_sample is False else given.temperature,
        word_timestamps=timestamps == "word",
        beams=given.num_beams,
    )
    return Ask(request, partial(replies.transcript, timestamps=timestamps))


def _classified(body: bytes) -> tuple[bytes, bodies.ClassifyParameters]:
    if not is_json(body):
        return _raw(body), bodies.ClassifyParameters()
    parsed = read_json(_CLASSIFY, body)
    return media(parsed.inputs), parsed.parameters or bodies.ClassifyParameters()


def _raw(body: bytes) -> bytes:
    if not body:
        raise InvalidRequest("The body is empty: send the file itself, or JSON with the file in base64 under 'inputs'.", param="inputs")
    return body
