"""Tasks on pictures: classify, match with labels, detect objects."""

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Box, ClassifyImage, ClassifyImageZeroShot, Detect, Detection, Detections, Labels
from yunmo.core.usage import Usage
from yunmo.engines.pictures import open_image
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.text import check_labels, check_template, check_top_k, labels_of


def image_classifier(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that label a picture."""
    from transformers import ImageClassificationPipeline

    pipeline = ImageClassificationPipeline(model=checkpoint.model, image_processor=checkpoint.image_processor)

    def classify(request: ClassifyImage) -> Result:
        top_k = check_top_k(request.top_k) or checkpoint.config.num_labels
        rows = pipeline(open_image(request.image), top_k=top_k, function_to_apply=request.function)
        return Labels(rows=(labels_of(rows),)), Usage()

    return Itemwise(tasks, {ClassifyImage: classify}, checkpoint.plan)


def image_text_matcher(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that say how well texts fit a picture."""
    from transformers import ZeroShotImageClassificationPipeline

    pipeline = ZeroShotImageClassificationPipeline(
        model=checkpoint.model, image_processor=checkpoint.image_processor, tokenizer=checkpoint.tokenizer
    )

    def classify(request: ClassifyImageZeroShot) -> Result:
        labels = check_labels(request.labels)
        template = check_template(request.hypothesis_template)
        image = open_image(request.image)
        tokens = sum(checkpoint.count(template.format(label)) for label in labels)
        with checkpoint.lock:
            rows = pipeline(image, candidate_labels=labels, hypothesis_template=template)
        return Labels(rows=(labels_of(rows),)), Usage(input_tokens=tokens)

    return Itemwise(tasks, {ClassifyImageZeroShot: classify}, checkpoint.plan)


def detector(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that find objects."""
    from transformers import ObjectDetectionPipeline

    pipeline = ObjectDetectionPipeline(model=checkpoint.model, image_processor=checkpoint.image_processor)

    def detect(request: Detect) -> Result:
        check_share(request.threshold, "threshold")
        found = pipeline(open_image(request.image), threshold=request.threshold)
        objects = [Detection(label=str(each["label"]), score=float(each["score"]), box=Box(**each["box"])) for each in found]
        return Detections(objects=tuple(sorted(objects, key=lambda each: -each.score))), Usage()

    return Itemwise(tasks, {Detect: detect}, checkpoint.plan)


def check_share(value: float | None, param: str) -> None:
    """Raise InvalidRequest unless the value is left out or from 0 to 1."""
    if value is not None and not 0.0 <= value <= 1.0:
        raise InvalidRequest(f"{param} is {value}; it must be from 0 to 1", param=param)
