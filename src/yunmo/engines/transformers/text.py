"""Tasks of text encoders: classify (also zero-shot and pairs), classify tokens, fill a mask."""

from collections.abc import Callable, Sequence
from string import Formatter
from typing import Any

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import (
    Classify,
    ClassifyTokens,
    ClassifyZeroShot,
    Entities,
    Entity,
    Filling,
    Fillings,
    FillMask,
    Label,
    Labels,
    Request,
)
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise

_MAX_LABELS = 1000


def sequence_classifier(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that label a whole text."""
    each = _SequenceClassifier(checkpoint)
    answers: dict[type[Request], Callable[[Any], Result]] = {Classify: each.classify, ClassifyZeroShot: each.classify_zero_shot}
    return Itemwise(tasks, answers, checkpoint.plan, text_cost)


def token_classifier(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that label the words of a text."""
    return Itemwise(tasks, {ClassifyTokens: _TokenClassifier(checkpoint).classify}, checkpoint.plan, text_cost)


def mask_filler(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that guess masked tokens."""
    return Itemwise(tasks, {FillMask: _MaskFiller(checkpoint).fill}, checkpoint.plan, text_cost)


def text_cost(request: Request) -> int:
    """About how many tokens an item has: the length of what can be read in it."""
    rows: Any = getattr(request, "texts", None) or getattr(request, "inputs", ())
    parts = [part for row in rows for part in ([row] if isinstance(row, str) else [str(each) for each in row])]
    return max(1, sum(map(len, parts)) // 4)


def check_top_k(top_k: int | None) -> int | None:
    """The number of rows asked for; raises InvalidRequest if it is not positive."""
    if top_k is not None and top_k < 1:
        raise InvalidRequest(f"top_k is {top_k}; it must be 1 or more", param="top_k")
    return top_k


def check_labels(labels: Sequence[str]) -> list[str]:
    """The labels to choose from; raises InvalidRequest if there are none, empty ones, or far too many."""
    if not labels or not all(label.strip() for label in labels):
        raise InvalidRequest("candidate labels are missing: send at least one, none of them empty", param="candidate_labels")
    if len(labels) > _MAX_LABELS:
        raise InvalidRequest(f"{len(labels)} candidate labels are too many; send at most {_MAX_LABELS}", param="candidate_labels")
    return list(labels)


def check_template(template: str) -> str:
    """The hypothesis template; raises InvalidRequest unless it has one plain `{}`.

    Anything more than `{}` would let a format specification reach into objects or ask for gigabytes of padding.
    """
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None]
    except ValueError:
        fields = []
    if fields != [("", "", None)]:
        raise InvalidRequest("hypothesis_template must hold one {} where the label goes, and no other braces", param="hypothesis_template")
    return template


def labels_of(rows: Sequence[dict[str, Any]]) -> tuple[Label, ...]:
    """A pipeline's rows as labels, best first."""
    labels = [Label(label=str(row["label"]), score=float(row["score"])) for row in rows]
    return tuple(sorted(labels, key=lambda label: -label.score))


class _SequenceClassifier:
    def __init__(self, checkpoint: Checkpoint) -> None:
        from transformers import TextClassificationPipeline, ZeroShotClassificationPipeline

        from yunmo.engines.transformers.families import has_entailment

        parts = {"model": checkpoint.model, "tokenizer": checkpoint.tokenizer}
        self._checkpoint = checkpoint
        self._classify = TextClassificationPipeline(**parts)
        self._zero_shot = ZeroShotClassificationPipeline(**parts) if has_entailment(checkpoint.config.id2label) else None

    def classify(self, request: Classify) -> Result:
        parts = request.texts[0] if isinstance(request.texts[0], tuple) else (request.texts[0],)
        for part in parts:
            check_text(part, "texts")
        top_k = check_top_k(request.top_k)
        tokens = self._checkpoint.count(*parts)
        inputs = {"text": parts[0], "text_pair": parts[1]} if len(parts) > 1 else parts[0]
        with self._checkpoint.lock:
            rows = self._classify(inputs, top_k=top_k, function_to_apply=request.function)
        # for one text the pipeline nests its rows once more than for a pair
        rows = rows[0] if rows and isinstance(rows[0], list) else rows
        return Labels(rows=(labels_of(rows),)), Usage(input_tokens=tokens, characters=sum(map(len, parts)))

    def classify_zero_shot(self, request: ClassifyZeroShot) -> Result:
        if self._zero_shot is None:
            raise Unsupported("this model has no entailment label, which zero-shot classification needs")
        text = check_text(request.texts[0], "texts")
        labels = check_labels(request.labels)
        template = check_template(request.hypothesis_template)
        tokens = sum(self._checkpoint.count(text, template.format(label)) for label in labels)
        with self._checkpoint.lock:
            found = self._zero_shot(text, labels, hypothesis_template=template, multi_label=request.multi_label)
        rows = [{"label": label, "score": score} for label, score in zip(found["labels"], found["scores"], strict=True)]
        return Labels(rows=(labels_of(rows),)), Usage(input_tokens=tokens, characters=len(text))


class _TokenClassifier:
    def __init__(self, checkpoint: Checkpoint) -> None:
        from transformers import TokenClassificationPipeline

        self._checkpoint = checkpoint
        self._pipeline = TokenClassificationPipeline(model=checkpoint.model, tokenizer=checkpoint.tokenizer)

    def classify(self, request: ClassifyTokens) -> Result:
        text = check_text(request.texts[0], "texts")
        options: dict[str, Any] = {"aggregation_strategy": request.aggregation, "ignore_labels": list(request.ignore_labels)}
        if request.stride is None:
            tokens = self._checkpoint.count(text)
        else:
            tokens = self._count_windows(text, request)
            options["stride"] = request.stride
        if not self._checkpoint.tokenizer.is_fast and request.aggregation not in {"none", "simple"}:
            raise Unsupported("this model's tokenizer cannot group words: use the aggregation none or simple", param="aggregation_strategy")
        with self._checkpoint.lock:
            found = self._pipeline(text, **options)
        return Entities(rows=(tuple(map(_entity, found)),)), Usage(input_tokens=tokens, characters=len(text))

    def _count_windows(self, text: str, request: ClassifyTokens) -> int:
        tokenizer, limit = self._checkpoint.tokenizer, self._checkpoint.context_tokens
        if request.aggregation == "none" or not tokenizer.is_fast or limit is None:
            raise Unsupported("stride needs an aggregation strategy and a model with a fixed context", param="stride")
        if request.stride is None or not 0 <= request.stride < limit - tokenizer.num_special_tokens_to_add():
            raise InvalidRequest(f"stride must be 0 or more and below the {limit} tokens that the model reads", param="stride")
        with self._checkpoint.lock:
            return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def _entity(found: dict[str, Any]) -> Entity:
    return Entity(
        label=str(found.get("entity_group", found.get("entity"))),
        score=float(found["score"]),
        word=str(found["word"]),
        start=int(found["start"] or 0),
        end=int(found["end"] or 0),
        index=int(found["index"]) if "index" in found else None,
    )


class _MaskFiller:
    def __init__(self, checkpoint: Checkpoint) -> None:
        from transformers import FillMaskPipeline

        self._checkpoint = checkpoint
        self._mask = checkpoint.tokenizer.mask_token
        if self._mask is None:
            raise Unsupported("this model's tokenizer has no mask token")
        self._pipeline = FillMaskPipeline(model=checkpoint.model, tokenizer=checkpoint.tokenizer)

    def fill(self, request: FillMask) -> Result:
        text = check_text(request.texts[0], "texts")
        if text.count(self._mask) != 1:
            raise InvalidRequest(
                f"the text has {text.count(self._mask)} masks; put {self._mask} exactly once where the word is to be guessed"
            )
        check_top_k(request.top_k)
        tokens = self._checkpoint.count(text)
        options: dict[str, Any] = {"top_k": request.top_k}
        if request.targets is not None:
            options["targets"] = self._known(request.targets)
        with self._checkpoint.lock:
            rows = self._pipeline(text, **options)
        fillings = tuple(
            Filling(sequence=row["sequence"], score=float(row["score"]), token=int(row["token"]), token_text=row["token_str"])
            for row in rows
        )
        return Fillings(rows=(fillings,)), Usage(input_tokens=tokens, characters=len(text))

    def _known(self, targets: tuple[str, ...]) -> list[str]:
        unknown = self._checkpoint.tokenizer.unk_token_id
        for target in targets:
            with self._checkpoint.lock:
                ids = self._checkpoint.tokenizer(target, add_special_tokens=False)["input_ids"]
            if not ids or ids[0] == unknown:
                raise InvalidRequest(f"the target {target!r} is not in the model's vocabulary", param="targets")
        if not targets:
            raise InvalidRequest("targets is empty: name at least one word, or leave it out", param="targets")
        return list(targets)
