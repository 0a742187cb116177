"""Image classification: pictures are told apart, read when a step needs them, and refused with their lines."""

import base64
import io
import json

import msgspec
import numpy as np
import pytest
from PIL import Image

import tiny_models
from trained import check_parity, check_resume, judged, news, notes, write_rows
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import CheckTraining, Lora, Recipe, Train, TrainingEstimate
from yunmo.engines.trainer import media
from yunmo.engines.trainer.learner import method_of
from yunmo.engines.trainer.workspace import Workspace

RECIPE = Recipe(
    method="image_classification", seed=1, epochs=3, batch_size=8, accumulation=1, learning_rate=3e-3, precision="fp32", warmup=0.0
)
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


def picture(colour: str, seed: int, kind: str = "PNG") -> bytes:
    """A picture of one colour with much noise."""
    noise = np.random.default_rng(seed).integers(-30, 30, (24, 32, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def lay_out(workspace, count: int = 32, validation: int = 8):
    """Half of the pictures are files, half are written into their rows."""
    (workspace / "media/pictures").mkdir(parents=True)

    def row(number: int):
        colour = ["red", "blue"][number % 3 % 2]
        if number % 2:
            return {"image": data_url(picture(colour, number)), "label": colour}
        name = f"pictures/{number}.jpg"
        (workspace / "media" / name).write_bytes(picture(colour, number, "JPEG"))
        return {"image": name, "label": colour}

    rows = [row(number) for number in range(count + validation)]
    return write_rows(workspace, rows[:count], rows[count:])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_models.build("vit", tmp_path_factory.mktemp("base"))


@pytest.fixture
def workspace(tmp_path):
    return lay_out(tmp_path / "one")


async def test_pictures_of_two_colours_are_told_apart_where_the_result_is_served(base, workspace):
    told = await news(base, workspace, Train(recipe=RECIPE))
    assert set(judged(told)[-1]) == {"loss", "perplexity", "accuracy", "macro_f1"}
    assert judged(told)[-1]["accuracy"] == 1.0
    samples = await check_parity(workspace)
    assert len(samples) == 8
    assert {label.label for label in samples[0].output.rows[0]} == {"red", "blue"}


@pytest.mark.parametrize("lora", [None, Lora(rank=4)])
async def test_a_stopped_training_goes_on_bit_for_bit(base, tmp_path, lora):
    """Of a ViT, whose weights have other names in a repository than in the model."""
    workspace = lay_out(tmp_path / "one", 16, 4)
    recipe = msgspec.structs.replace(RECIPE, epochs=1, batch_size=4, lora=lora)
    await check_resume(base, workspace, lay_out(tmp_path / "other", 16, 4), recipe, stop_at=2)


async def test_adapters_are_merged_into_the_result_and_it_is_told(base, workspace):
    recipe = Recipe(method="image_classification", epochs=1, batch_size=8, learning_rate=1e-2, lora=Lora(rank=4))
    told = await news(base, workspace, CheckTraining(recipe=recipe))
    estimate = next(each for each in told if isinstance(each, TrainingEstimate))
    assert "merged" in notes(told)
    assert estimate.sample.startswith("pictures/0.jpg -> ")
    assert 0 < estimate.trained_parameters < estimate.parameters
    await news(base, workspace, Train(recipe=estimate.recipe))
    assert not (workspace / "result/adapter_model.safetensors").exists()
    await check_parity(workspace)


async def test_parts_of_a_step_weigh_as_much_as_the_whole(base, tmp_path):
    steps = []
    for accumulation in (1, 4):
        workspace = lay_out(tmp_path / str(accumulation), 8, 0)
        recipe = msgspec.structs.replace(RECIPE, epochs=1, accumulation=accumulation)
        told = await news(base, workspace, Train(recipe=recipe))
        steps += [(each.loss, each.gradient_norm) for each in told if hasattr(each, "gradient_norm")]
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)


def test_pictures_are_opened_when_they_are_asked_for(base, workspace, monkeypatch):
    learner = method_of(RECIPE).prepare(base, Workspace(workspace), RECIPE)
    assert all(len(msgspec.json.encode(str(example["medium"]))) < 300 for example in learner.examples), "no bytes are kept"
    read = []
    monkeypatch.setattr(media.Media, "read", lambda self, medium, old=media.Media.read: read.append(medium) or old(self, medium))
    learner.collate(learner.examples[3:5])
    assert [medium.place.line for medium in read] == [4, 5]


def spoilt(workspace, image: str, data: bytes | None = None, *, line: int = 3):
    """The workspace with another picture in this line."""
    lines = (workspace / "train.jsonl").read_text().splitlines()
    lines[line - 1] = json.dumps({"image": image, "label": "red"})
    (workspace / "train.jsonl").write_text("\n".join(lines))
    if data is not None:
        (workspace / "media" / image).write_bytes(data)


@pytest.mark.parametrize(
    ("image", "data", "message"),
    [
        ("nowhere.png", None, "Line 3: the data set has no file 'nowhere.png'"),
        ("pictures", None, "Line 3: the data set has no file"),
        ("../train.jsonl", None, "Line 3: '../train.jsonl' is not the path of a file"),
        ("/etc/hostname", None, "Line 3: '/etc/hostname' is not the path"),
        ("x" * 5000, None, "Line 3: the data set has no file"),
        ("broken.png", picture("red", 1)[:200], "Line 3: the picture cannot be read"),
        ("text.png", b"hello", "Line 3: the picture cannot be read"),
        ("empty.png", b"", "Line 3: the picture is empty"),
        ("data:image/png,hello", None, "Line 3: the data URL is not written in base64"),
        ("data:image/png;base64,§§§", None, "Line 3: the data URL is not valid base64"),
        (data_url(b"hello"), None, "Line 3: the picture cannot be read"),
        ("https://example.com/cat.png", None, "Line 3: the data set has no file"),
    ],
)
async def test_a_picture_that_cannot_be_seen_is_told_with_its_line(base, workspace, image, data, message):
    spoilt(workspace, image, data)
    with pytest.raises(InvalidRequest, match=message) as raised:
        await news(base, workspace, CheckTraining(recipe=RECIPE))
    assert raised.value.param == "image"


async def test_a_file_that_is_too_large_is_refused(base, workspace, monkeypatch):
    monkeypatch.setattr(media, "MAX_BYTES", 10_000)
    spoilt(workspace, "large.png", b"0" * 10_001)
    with pytest.raises(InvalidRequest, match="Line 3: the file has 10,001 bytes; at most 10,000 are read"):
        await news(base, workspace, CheckTraining(recipe=RECIPE))
    spoilt(workspace, data_url(b"0" * 12_000))
    with pytest.raises(InvalidRequest, match="Line 3: the file has"):
        await news(base, workspace, CheckTraining(recipe=RECIPE))


async def test_labels_and_bases_that_cannot_be_trained_are_told(base, workspace, tmp_path):
    one = lay_out(tmp_path / "two", 4, 0)
    (one / "train.jsonl").write_text((one / "train.jsonl").read_text().replace('"blue"', '"red"'))
    with pytest.raises(InvalidRequest, match="nothing to tell apart"):
        await news(base, one, CheckTraining(recipe=RECIPE))
    (workspace / "validation.jsonl").write_text(json.dumps({"image": "pictures/0.jpg", "label": "green"}))
    with pytest.raises(InvalidRequest, match="Line 1 of the validation rows: the label 'green'"):
        await news(base, workspace, CheckTraining(recipe=RECIPE))
    with pytest.raises(InvalidRequest, match="image processor"):
        await news(tiny_models.build("embed", tmp_path / "bert"), workspace, CheckTraining(recipe=RECIPE))
    with pytest.raises(InvalidRequest, match="leave max_tokens out"):
        await news(base, workspace, CheckTraining(recipe=msgspec.structs.replace(RECIPE, max_tokens=64)))
