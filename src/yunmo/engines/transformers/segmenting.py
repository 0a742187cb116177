"""Cut pictures into labelled masks."""

from typing import Any

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import Unsupported
from yunmo.core.tasks import Mask, Masks, Segment
from yunmo.core.usage import Usage
from yunmo.engines.pictures import open_image, png_of
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.vision import check_share

_SUBTASKS = ("panoptic", "instance", "semantic")


def segmenter(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that cut pictures into segments."""
    from transformers import ImageSegmentationPipeline

    parts: dict[str, Any] = {"model": checkpoint.model, "image_processor": checkpoint.image_processor}
    if checkpoint.config.model_type == "oneformer":
        parts["tokenizer"] = checkpoint.tokenizer
    pipeline = ImageSegmentationPipeline(**parts)
    known = _known_subtasks(checkpoint)

    def segment(request: Segment) -> Result:
        subtask = request.subtask or known[0]
        if subtask not in known:
            raise Unsupported(f"this model cannot do {subtask} segmentation; it can do {', '.join(known)}", param="subtask")
        options = {
            "threshold": request.threshold,
            "mask_threshold": request.mask_threshold,
            "overlap_mask_area_threshold": request.overlap_threshold,
        }
        for name, value in options.items():
            check_share(value, name)
        given = {name: value for name, value in options.items() if value is not None}
        with checkpoint.lock:
            found = pipeline(open_image(request.image), subtask=subtask, **given)
        return Masks(segments=tuple(sorted(map(_mask, found), key=lambda mask: -(mask.score or 0.0)))), Usage()

    return Itemwise(tasks, {Segment: segment}, checkpoint.plan)


def _known_subtasks(checkpoint: Checkpoint) -> list[str]:
    """What the image processor can make of the outputs.

    The semantic models share processors that have all three, but their outputs hold class scores per pixel only.
    """
    architecture = type(checkpoint.model).__name__
    if architecture.endswith("ForSemanticSegmentation"):
        return ["semantic"]
    return [name for name in _SUBTASKS if hasattr(checkpoint.image_processor, f"post_process_{name}_segmentation")]


def _mask(found: dict[str, Any]) -> Mask:
    score = found["score"]
    return Mask(label=str(found["label"]), png=png_of(found["mask"]), score=None if score is None else float(score))
