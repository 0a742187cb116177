"""Say in words what a picture shows."""

from typing import Any

from yunmo.core.engine import Engine
from yunmo.core.errors import Unsupported
from yunmo.core.tasks import Describe, Texts
from yunmo.core.usage import Usage
from yunmo.engines.pictures import open_image, pixels_of
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded
from yunmo.engines.transformers.written import write_text


def describer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that write a picture's caption."""

    def describe(request: Describe, job: Job) -> Usage:
        inputs = _inputs(checkpoint, request)
        prompt_tokens = inputs["input_ids"].shape[-1] if "input_ids" in inputs else 0
        job.emit(Usage(input_tokens=prompt_tokens))
        ids, text = write_text(checkpoint, inputs, request.sampling, job)
        job.emit(Texts(texts=(text.strip(),)))
        return Usage(input_tokens=prompt_tokens, output_tokens=max(0, len(ids) - max(1, prompt_tokens)))

    return Threaded(tasks, {Describe: describe}, checkpoint.plan)


def _inputs(checkpoint: Checkpoint, request: Describe) -> dict[str, Any]:
    image = open_image(request.image)
    kind = checkpoint.config.model_type
    if kind == "vision-encoder-decoder":
        if request.prompt:
            raise Unsupported("this model describes pictures without a prompt: leave it out", param="prompt")
        return dict(pixels_of(checkpoint.image_processor, image).to(checkpoint.model.dtype))
    processor = checkpoint.processor
    prompt = {"text": request.prompt} if request.prompt and kind != "git" else {}
    with checkpoint.lock:
        inputs = dict(processor(images=image, return_tensors="pt", **prompt).to(checkpoint.model.dtype))
        if request.prompt and kind == "git":
            inputs["input_ids"] = _opening(processor.tokenizer, request.prompt)
    return inputs


def _opening(tokenizer: Any, prompt: str) -> Any:
    """GIT continues its prompt, so the prompt has a beginning and no end."""
    import torch

    return torch.tensor([[tokenizer.cls_token_id, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]])
