"""Answer questions about pictures: chosen among the answers that a model was trained with, or written (the library dropped its pipeline)."""

from typing import Any

from yunmo.core.engine import BatchEngine, Engine, Result
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import AnswerImage, Label, Labels
from yunmo.core.usage import Usage
from yunmo.engines.pictures import open_image, pixels_of
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise, Job, Threaded
from yunmo.engines.transformers.text import check_top_k, labels_of
from yunmo.engines.transformers.written import write_likeliest

# as many as the library's pipeline gave
_DEFAULT_TOP_K = 5


def image_answerer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that choose an answer (ViLT). Scores are independent of each other: several answers may be right."""
    import torch

    def answer(request: AnswerImage) -> Result:
        top_k = check_top_k(request.top_k) or _DEFAULT_TOP_K
        inputs = _inputs(checkpoint, request)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # ViLT draws the order in which it looks at a picture's patches, and which of very many
            scores = checkpoint.model(**inputs).logits[0].float().sigmoid()
        values, places = scores.topk(min(top_k, scores.shape[-1]))
        names = checkpoint.config.id2label
        rows = [{"label": names[place], "score": value} for value, place in zip(values.tolist(), places.tolist(), strict=True)]
        return Labels(rows=(labels_of(rows),)), _read(inputs, request)

    return Itemwise(tasks, {AnswerImage: answer}, checkpoint.plan)


def image_answer_writer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that write one answer (BLIP); its score is the probability of its tokens."""

    def answer(request: AnswerImage, job: Job) -> Usage:
        check_top_k(request.top_k)
        inputs = _inputs(checkpoint, request)
        read = _read(inputs, request)
        job.emit(read)
        ids, probability = write_likeliest(checkpoint, inputs, job)
        text = str(checkpoint.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        job.emit(Labels(rows=((Label(text, probability),),)))
        return read + Usage(output_tokens=len(ids) - 1)

    return Threaded(tasks, {AnswerImage: answer}, checkpoint.plan)


def _inputs(checkpoint: Checkpoint, request: AnswerImage) -> dict[str, Any]:
    image = open_image(request.image)
    checkpoint.count(check_text(request.question, "question"))
    with checkpoint.lock:
        question = checkpoint.tokenizer(request.question, return_tensors="pt")
    named = {name: question[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in question}
    if checkpoint.config.model_type == "blip":
        named.pop("token_type_ids", None)
    return named | dict(pixels_of(checkpoint.image_processor, image).to(checkpoint.model.dtype))


def _read(inputs: dict[str, Any], request: AnswerImage) -> Usage:
    return Usage(input_tokens=inputs["input_ids"].shape[-1], characters=len(request.question))
