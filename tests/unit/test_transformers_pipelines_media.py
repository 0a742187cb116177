"""The engine's answers about pictures and sound are those of the library's own pipelines."""

import asyncio
import io

import msgspec
import numpy as np
import pytest
from PIL import Image
from transformers_answers import pairs, rows, run

import tiny_models
from yunmo.core.engine import Hardware
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import (
    Answer,
    AnswerDocument,
    AnswerImage,
    AnswerTable,
    Chat,
    Classify,
    ClassifyAudio,
    ClassifyImage,
    ClassifyImageZeroShot,
    ClassifyTokens,
    Describe,
    Detect,
    Embed,
    FillMask,
    Message,
    PlacedWord,
    Sampling,
    Segment,
    Speak,
    Summarize,
    Transcribe,
)
from yunmo.engines.transformers.kind import describe_directory, kind

PICTURE = tiny_models.png(40, 30)
TEXT = "paris is the capital of france"


@pytest.mark.parametrize("function", [None, "sigmoid", "none"])
def test_classify_image(tiny_engine, tiny_pipeline, function):
    output, _ = run(tiny_engine("vit"), ClassifyImage(image=PICTURE, top_k=2, function=function))
    expected = tiny_pipeline("image-classification", "vit")(Image.open(io.BytesIO(PICTURE)), top_k=2, function_to_apply=function)
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_classify_image_zero_shot(tiny_engine, tiny_pipeline, name):
    output, _ = run(tiny_engine(name), ClassifyImageZeroShot(image=PICTURE, labels=("cat", "a red car", "dog")))
    image = Image.open(io.BytesIO(PICTURE))
    expected = tiny_pipeline("zero-shot-image-classification", name)(image, candidate_labels=["cat", "a red car", "dog"])
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("name", ["yolos", "detr"])
def test_detect(tiny_engine, tiny_pipeline, name):
    output, _ = run(tiny_engine(name), Detect(image=PICTURE, threshold=0.0))
    expected = tiny_pipeline("object-detection", name)(Image.open(io.BytesIO(PICTURE)), threshold=0.0)
    assert len(expected) > 0
    got = sorted((each.label, each.box.xmin, each.box.ymin, each.box.xmax, each.box.ymax) for each in output.objects)
    assert got == sorted((each["label"], *(each["box"][side] for side in ("xmin", "ymin", "xmax", "ymax"))) for each in expected)
    scores = [each.score for each in output.objects]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("name", "subtask"), [("segformer", "semantic"), ("mask2former", "semantic"), ("mask2former", "instance")])
def test_segment(tiny_engine, tiny_pipeline, name, subtask):
    output, _ = run(tiny_engine(name), Segment(image=PICTURE, subtask=subtask, threshold=0.0, mask_threshold=0.1))
    library = tiny_pipeline("image-segmentation", name)
    expected = library(Image.open(io.BytesIO(PICTURE)), subtask=subtask, threshold=0.0, mask_threshold=0.1)
    assert len(output.segments) == len(expected) > 0
    got = [(each.label, np.asarray(Image.open(io.BytesIO(each.png))).tolist()) for each in output.segments]
    for each in expected:
        assert (each["label"], np.asarray(each["mask"]).tolist()) in got
    assert Image.open(io.BytesIO(output.segments[0].png)).size == (40, 30)


def test_a_semantic_model_does_no_other_segmentation(tiny_engine):
    with pytest.raises(Unsupported, match="it can do semantic"):
        run(tiny_engine("segformer"), Segment(image=PICTURE, subtask="panoptic"))


@pytest.mark.parametrize("name", ["blip", "vit-gpt2", "git"])
def test_describe(tiny_engine, tiny_model, name):
    import torch
    import transformers

    directory = tiny_model(name)
    model = transformers.AutoModelForImageTextToText.from_pretrained(directory)
    pixels = transformers.AutoImageProcessor.from_pretrained(directory)(images=Image.open(io.BytesIO(PICTURE)), return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**pixels, max_new_tokens=6)
    expected = transformers.AutoTokenizer.from_pretrained(directory).decode(ids[0], skip_special_tokens=True).strip()
    output, usage = run(tiny_engine(name), Describe(image=PICTURE, sampling=Sampling(max_tokens=6)))
    assert output.texts == (expected,)
    assert usage.output_tokens > 0


@pytest.mark.parametrize("name", ["blip", "git"])
def test_a_description_continues_its_prompt(tiny_engine, name):
    output, _ = run(tiny_engine(name), Describe(image=PICTURE, prompt="a photo of", sampling=Sampling(max_tokens=4)))
    assert output.texts[0].startswith("a photo of")


def test_a_captioner_without_prompts_says_so(tiny_engine):
    with pytest.raises(Unsupported, match="without a prompt"):
        run(tiny_engine("vit-gpt2"), Describe(image=PICTURE, prompt="a photo of"))


@pytest.mark.parametrize("name", ["wav2vec2", "hubert"])
def test_transcribe_letter_by_letter(tiny_engine, tiny_pipeline, name):
    sound = tiny_models.wav(1.0)
    output, usage = run(tiny_engine(name), Transcribe(audio=sound, word_timestamps=True))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    expected = tiny_pipeline("automatic-speech-recognition", name)(samples, return_timestamps="word")
    assert output.text == expected["text"].strip()
    words = [(word.word.strip(), (word.start, word.end)) for segment in output.segments for word in segment.words]
    assert words == [(word["text"], word["timestamp"]) for word in expected["chunks"]]
    assert usage.seconds == output.duration == 1.0


def test_a_long_recording_is_transcribed_in_windows(tiny_engine):
    output, _ = run(tiny_engine("wav2vec2"), Transcribe(audio=tiny_models.wav(70.0, 8000)))
    assert len(output.segments) >= 2
    assert output.segments[-1].end <= output.duration == 70.0
    assert all(before.end <= after.start + 1e-6 for before, after in zip(output.segments, output.segments[1:], strict=False))


def test_transcribe_with_whisper(tiny_engine, tiny_pipeline):
    sound = tiny_models.wav(1.0)
    output, _ = run(tiny_engine("whisper"), Transcribe(audio=sound, language="english"))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    library = tiny_pipeline("automatic-speech-recognition", "whisper")
    expected = library(samples, return_timestamps=True, generate_kwargs={"language": "en", "task": "transcribe", "num_beams": 1})
    assert [segment.text for segment in output.segments] == [chunk["text"] for chunk in expected["chunks"] if chunk["text"]]
    assert output.language == "en"
    with pytest.raises(InvalidRequest, match="not a language of this model"):
        run(tiny_engine("whisper"), Transcribe(audio=sound, language="klingon"))


def test_what_a_speller_cannot_do_is_refused(tiny_engine):
    for more in ({"to_english": True}, {"prompt": "names"}, {"beams": 4}, {"temperature": 0.5}):
        with pytest.raises(Unsupported):
            run(tiny_engine("wav2vec2"), Transcribe(audio=tiny_models.wav(0.2), **more))


@pytest.mark.parametrize("name", ["wav2vec2-classifier", "ast"])
def test_classify_audio(tiny_engine, tiny_pipeline, name):
    sound = tiny_models.wav(1.0)
    output, usage = run(tiny_engine(name), ClassifyAudio(audio=sound, top_k=2))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    assert rows(output.rows[0]) == pairs(tiny_pipeline("audio-classification", name)(samples, top_k=2))
    assert usage.seconds == 1.0


def test_speak(tiny_engine):
    import wave

    output, usage = run(tiny_engine("vits"), Speak(text="hello world"))
    with wave.open(io.BytesIO(output.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, output.sampling_rate)
        assert file.getnframes() / output.sampling_rate == pytest.approx(usage.seconds)
    assert output == run(tiny_engine("vits"), Speak(text="hello world"))[0]
    slow, _ = run(tiny_engine("vits"), Speak(text="hello world", speed=0.25))
    assert len(slow.wav) > len(output.wav)


def test_voices_are_told_apart_and_unknown_ones_refused(tiny_engine):
    first, _ = run(tiny_engine("vits-speakers"), Speak(text="hello world", voice="0"))
    second, _ = run(tiny_engine("vits-speakers"), Speak(text="hello world", voice="2"))
    assert first != second
    with pytest.raises(InvalidRequest, match="0 to 2"):
        run(tiny_engine("vits-speakers"), Speak(text="hello world", voice="3"))


HALF = {
    "classify": Classify(texts=(TEXT,)),
    "classify-tokens": ClassifyTokens(texts=(TEXT,)),
    "answer": Answer(question="who", context=TEXT),
    "fill-mask": FillMask(texts=("hello [MASK]",)),
    "embed": Embed(inputs=(TEXT,)),
    "chat": Chat(messages=(Message(role="user", content="hi"),), sampling=Sampling(max_tokens=3), top_logprobs=1),
    "t5": Summarize(texts=(TEXT,)),
    "vit": ClassifyImage(image=PICTURE),
    "clip": ClassifyImageZeroShot(image=PICTURE, labels=("a", "b")),
    "detr": Detect(image=PICTURE, threshold=0.0),
    "segformer": Segment(image=PICTURE),
    "blip": Describe(image=PICTURE, prompt="a", sampling=Sampling(max_tokens=3)),
    "git": Describe(image=PICTURE, sampling=Sampling(max_tokens=3)),
    "vit-gpt2": Describe(image=PICTURE, sampling=Sampling(max_tokens=3)),
    "vilt": AnswerImage(image=PICTURE, question="what is this"),
    "blip-questions": AnswerImage(image=PICTURE, question="what is this"),
    "layoutlmv3": AnswerDocument(image=PICTURE, question="who", words=(PlacedWord("paris", (0, 0, 100, 50)),)),
    "donut": AnswerDocument(image=PICTURE, question="who"),
    "tapas": AnswerTable(question="how many", columns=("dog",), rows=(("red",), ("lazy",))),
    "whisper": Transcribe(audio=tiny_models.wav(0.5)),
    "wav2vec2": Transcribe(audio=tiny_models.wav(0.5)),
    "ast": ClassifyAudio(audio=tiny_models.wav(0.5)),
}


@pytest.mark.parametrize("name", list(HALF))
def test_models_run_in_bf16_too(tiny_model, name):
    directory = tiny_model(name)
    offer = kind.offer(describe_directory(directory), Hardware(cores=1, memory_bytes=8 << 30))
    engine = kind.load(directory, directory, msgspec.structs.replace(offer.plan, precision="bf16"), lambda _what, _share: None)
    try:
        output, _ = run(engine, HALF[name])
        assert output
    finally:
        closing = engine.close()
        if closing is not None:
            asyncio.run(closing)
