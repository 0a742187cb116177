"""Image classification: a label for each picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.metrics import accuracy, macro_f1
from yunmo.core.rows import LabelledPicture, Row
from yunmo.core.tasks import ClassifyImage, Label, Labels
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.pictures import open_image, pixels_of
from yunmo.engines.trainer.adapting import adapted, bare, merged, notes_of_merging, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.labels import in_the_bases_order, labels_of, load_labelling
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.media import Media, Medium
from yunmo.engines.trainer.workspace import Place, Workspace

_PARITY_PICTURES = 8
_PARITY_BYTES = 8 * 1024 * 1024
_HEADS = ("classifier", "cls_classifier", "distillation_classifier", "head", "fc")

_Labelled = tuple[Medium, str]


class ImageClassification:
    """Trains a head over what sees, and all below it. Pictures are seen as they are: what is turned or cropped at random may have another label."""

    learning_rate = 5e-5
    lora_learning_rate = 5e-4
    batch_size = 16
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `LabelledPicture`s; a step opens the pictures of its batch."""
        if recipe.max_tokens is not None:
            raise InvalidRequest("Pictures are not read in tokens: leave max_tokens out.", param="max_tokens")
        processor = _load_processor(base)
        media = Media(workspace, recipe.method, "image")
        rows = [_labelled(media, *placed) for placed in workspace.placed_rows(recipe.method)]
        validation = [_labelled(media, *placed) for placed in workspace.placed_rows(recipe.method, is_validation=True)]
        labels = labels_of((label for _, label in rows), ((medium.place, label) for medium, label in validation), "label")
        labels = in_the_bases_order(labels, base)
        loaded = load_labelling(base, "AutoModelForImageClassification", labels, "pictures", problem_type="single_label_classification")
        model = adapted(loaded, recipe, None, [head for head in _HEADS if hasattr(loaded, head)])
        pictures = _Pictures(model, processor, media, labels)
        examples, judged = pictures.examples(rows), pictures.examples(validation)
        if workspace.newest_checkpoint() is None:  # else they have been looked through when the training began
            pictures.look_through([*examples, *judged])
        return Learner(
            model=model,
            examples=examples,
            validation=judged,
            lengths=[1] * len(examples),
            collate=pictures.collate,
            count=lambda batch: len(batch["labels"]),
            judge=_Judge,
            save=lambda folder: save_model(model, processor, folder, merged(recipe)),
            sample=lambda: pictures.told(examples[0]),
            parity=lambda: pictures.parity([*judged, *examples]),
            trainer=Averaging,
            notes=notes_of_merging(recipe),
        )


method = ImageClassification()


def _labelled(media: Media, place: Place, row: Row) -> _Labelled:
    """Where the row's picture is, and its label; what may be the picture itself, in the row, is not kept."""
    assert isinstance(row, LabelledPicture)
    return media.medium(place, row.image), str(row.label)


def _load_processor(base: Path) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(base), local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"The base has no image processor that can be loaded: {error}", param="model") from error


class _Pictures:
    """Pictures as the model sees them, and what it says of one."""

    def __init__(self, model: Any, processor: Any, media: Media, labels: Sequence[str]) -> None:
        self._model = model
        self._processor = processor
        self._media = media
        self._labels = labels
        self._ids = {label: number for number, label in enumerate(labels)}

    def examples(self, rows: Sequence[_Labelled]) -> list[Example]:
        return [{"medium": medium, "labels": self._ids[label]} for medium, label in rows]

    def look_through(self, examples: Sequence[Example]) -> None:
        """Raise InvalidRequest for a picture that cannot be seen: at once, and not in the middle of an epoch."""
        sizes = {pixels.shape: example["medium"].place for example in examples for pixels in self._seen([example])}
        if len(sizes) > 1:
            first, second = list(sizes.values())[:2]
            raise InvalidRequest(
                f"The base's image processor leaves pictures in their own sizes ({first} and {second} differ): scale them to one size.",
                param="image",
            )

    def collate(self, examples: Sequence[Example]) -> Batch:
        pixels = torch.cat(list(self._seen(examples)))
        return {"pixel_values": pixels, "labels": torch.tensor([example["labels"] for example in examples])}

    def told(self, example: Example) -> str:
        medium: Medium = example["medium"]
        best = self._answered(self._media.read(medium)).rows[0][0]
        return f"{medium.name or medium.place} -> {best.label} ({best.score:.2f})"

    def parity(self, examples: Sequence[Example]) -> list[ParitySample]:
        samples: list[ParitySample] = []
        room = _PARITY_BYTES
        for example in examples:
            data = self._media.read(example["medium"])
            if len(samples) == _PARITY_PICTURES:
                break
            if len(data) <= room:
                room -= len(data)
                samples.append(ParitySample(ClassifyImage(image=data), self._answered(data)))
        return samples

    def _answered(self, data: bytes) -> Labels:
        """What clients are answered."""
        from transformers import ImageClassificationPipeline

        pipeline = ImageClassificationPipeline(model=bare(self._model), image_processor=self._processor)
        with torch.inference_mode():
            found = pipeline(open_image(data), top_k=len(self._labels))
        return Labels(rows=(tuple(Label(str(each["label"]), float(each["score"])) for each in found),))

    def _seen(self, examples: Sequence[Example]) -> Iterator[torch.Tensor]:
        for example in examples:
            data = self._media.read(example["medium"])
            with self._media.told_of(example["medium"]):
                pixels: torch.Tensor = pixels_of(self._processor, open_image(data))["pixel_values"]
            yield pixels


class _Judge(Judge):
    def __init__(self) -> None:
        self._found: list[int] = []
        self._right: list[int] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        self._found += outputs.logits.argmax(-1).tolist()
        self._right += batch["labels"].tolist()

    def verdict(self) -> dict[str, float]:
        return {"accuracy": accuracy(self._found, self._right), "macro_f1": macro_f1(self._found, self._right)}
