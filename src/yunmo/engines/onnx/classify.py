"""Labels for whole texts: trained ones, and any others through entailment.

The results are those of the text-classification and zero-shot-classification pipelines of transformers.
"""

import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Classify, ClassifyZeroShot, Label, Labels
from yunmo.core.usage import Usage
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.network import Floats, sigmoid, softmax

_MOST_LABELS = 512


def classify(encoder: Encoder, request: Classify) -> Work:
    """The labels of one text or pair, best first; all of them unless `top_k` asks for fewer."""
    if request.top_k is not None and request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; ask for at least one label.", param="top_k")
    (given,) = request.texts
    text, pair = (given, None) if isinstance(given, str) else given
    if not text and not pair:
        raise InvalidRequest("The text is empty. Send one that has something in it.", param="inputs")
    encoding = encoder.tokens.truncate(text, pair)
    ((logits,),) = yield [encoder.passage(encoding)]
    scores = _squashed(logits, request.function or encoder.facts.function)
    order = np.argsort(-scores, kind="stable")[: request.top_k]
    row = tuple(Label(encoder.facts.labels[index], float(scores[index])) for index in order)
    return Labels(rows=(row,)), Usage(input_tokens=len(encoding.ids), characters=len(text) + len(pair or ""))


def classify_zero_shot(encoder: Encoder, request: ClassifyZeroShot) -> Work:
    """Score each label by whether the text entails the template filled with it."""
    (text,) = request.texts
    hypotheses = _hypotheses(text, request)
    encodings = [encoder.tokens.truncate(text, hypothesis, "only_first") for hypothesis in hypotheses]
    found = yield [encoder.passage(encoding) for encoding in encodings]
    logits = np.stack([each for (each,) in found])
    entailment = encoder.facts.entailment
    assert entailment is not None  # the task is offered only by models that have the label
    if request.multi_label or len(hypotheses) == 1:
        contradiction = -1 if entailment == 0 else 0
        scores = softmax(logits[:, [contradiction, entailment]])[:, 1]
    else:
        scores = softmax(logits[:, entailment])
    order = np.argsort(-scores, kind="stable")
    row = tuple(Label(request.labels[index], float(scores[index])) for index in order)
    tokens = sum(len(encoding.ids) for encoding in encodings)
    return Labels(rows=(row,)), Usage(input_tokens=tokens, characters=len(text))


def _squashed(logits: Floats, function: str) -> Floats:
    if function == "softmax":
        return softmax(logits)
    return sigmoid(logits) if function == "sigmoid" else logits


def _hypotheses(text: str, request: ClassifyZeroShot) -> list[str]:
    if not text:
        raise InvalidRequest("The text is empty. Send one that has something in it.", param="inputs")
    if not request.labels or not all(request.labels):
        raise InvalidRequest("A candidate label is missing or empty. Send at least one label, each with a name.", param="candidate_labels")
    if len(request.labels) > _MOST_LABELS:
        raise InvalidRequest(f"There are {len(request.labels)} candidate labels; the limit is {_MOST_LABELS}.", param="candidate_labels")
    template = request.hypothesis_template
    before, hole, after = template.partition("{}")
    if not hole:
        raise InvalidRequest(f"The hypothesis template {template!r} has no {{}}, where the label would go.", param="hypothesis_template")
    return [f"{before}{label}{after}" for label in request.labels]
