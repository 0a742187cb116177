"""The engine's answers are those of the library's own pipelines, where it has them."""

import asyncio
import io

import msgspec
import numpy as np
import pytest
from PIL import Image

import tiny_models
from yunmo.core.engine import Engine, Hardware
from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported, YunmoError
from yunmo.core.tasks import (
    Answer,
    Chat,
    Classify,
    ClassifyAudio,
    ClassifyImage,
    ClassifyImageZeroShot,
    ClassifyTokens,
    ClassifyZeroShot,
    Describe,
    Detect,
    Embed,
    FillMask,
    Generate,
    Message,
    Sampling,
    Segment,
    Speak,
    Summarize,
    Transcribe,
    Translate,
    fold,
)
from yunmo.engines.transformers.kind import describe_directory, kind

PICTURE = tiny_models.png(40, 30)
TEXT = "paris is the capital of france"


@pytest.fixture(scope="module")
def loaded(tiny_model):
    """The engine of a tiny model by its name; each loaded once."""
    engines = {}

    def load(name: str):
        if name not in engines:
            directory = tiny_model(name)
            offer = kind.offer(describe_directory(directory), Hardware(cores=1, memory_bytes=8 << 30))
            engines[name] = kind.load(directory, directory, offer.plan, lambda _what, _share: None)
        return engines[name]

    yield load
    for engine in engines.values():
        closing = engine.close()
        if closing is not None:
            asyncio.run(closing)


@pytest.fixture(scope="module")
def pipeline(tiny_model):
    from transformers import pipeline as library

    made = {}

    def make(task: str, name: str):
        if (task, name) not in made:
            made[task, name] = library(task, model=str(tiny_model(name)))
        return made[task, name]

    return make


def run(engine, request):
    """The output and the usage; raises the engine's error."""
    if isinstance(engine, Engine):

        async def collect():
            return [chunk async for chunk in engine.stream(request)]

        *chunks, usage = asyncio.run(collect())
        return fold(request, chunks), usage
    result = engine.run(0, [request])[0]
    if isinstance(result, YunmoError):
        raise result
    return result


def rows(labels):
    return [(each.label, pytest.approx(each.score, abs=1e-6)) for each in labels]


def pairs(found):
    return [(each["label"], each["score"]) for each in found]


@pytest.mark.parametrize("name", ["classify", "classify-many", "cross-encoder"])
@pytest.mark.parametrize("function", [None, "softmax", "sigmoid", "none"])
def test_classify(loaded, pipeline, name, function):
    output, usage = run(loaded(name), Classify(texts=(TEXT,), function=function))
    expected = pipeline("text-classification", name)(TEXT, top_k=None, function_to_apply=function)
    assert rows(output.rows[0]) == pairs(expected)
    assert usage.characters == len(TEXT)
    assert usage.input_tokens == 8


def test_classify_a_pair(loaded, pipeline):
    output, _ = run(loaded("cross-encoder"), Classify(texts=((TEXT, "berlin"),)))
    expected = pipeline("text-classification", "cross-encoder")({"text": TEXT, "text_pair": "berlin"}, top_k=None)
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("multi_label", [True, False])
def test_classify_zero_shot(loaded, pipeline, multi_label):
    request = ClassifyZeroShot(texts=(TEXT,), labels=("politics", "sports, games", "cooking"), multi_label=multi_label)
    output, _ = run(loaded("entailment"), request)
    expected = pipeline("zero-shot-classification", "entailment")(TEXT, list(request.labels), multi_label=multi_label)
    assert rows(output.rows[0]) == list(zip(expected["labels"], expected["scores"], strict=True))


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_classify_tokens(loaded, pipeline, aggregation):
    text = "paris and berlinx are cities"
    output, _ = run(loaded("classify-tokens"), ClassifyTokens(texts=(text,), aggregation=aggregation))
    expected = pipeline("token-classification", "classify-tokens")(text, aggregation_strategy=aggregation)
    assert len(expected) > 0
    got = [(each.label, each.word, each.start, each.end, each.index) for each in output.rows[0]]
    assert got == [
        (each.get("entity_group") or each["entity"], each["word"], each["start"], each["end"], each.get("index")) for each in expected
    ]
    assert [each.score for each in output.rows[0]] == pytest.approx([float(each["score"]) for each in expected], abs=1e-6)


def test_classify_tokens_of_a_long_text_in_windows(loaded, pipeline):
    text = "paris is the capital of france and " * 15
    output, _ = run(loaded("classify-tokens"), ClassifyTokens(texts=(text,), stride=8))
    expected = pipeline("token-classification", "classify-tokens")(text, aggregation_strategy="simple", stride=8)
    assert [(each.start, each.end) for each in output.rows[0]] == [(each["start"], each["end"]) for each in expected]


@pytest.mark.parametrize("targets", [None, ("dog", "cat")])
def test_fill_mask(loaded, pipeline, targets):
    text = "the quick brown [MASK] jumps"
    output, _ = run(loaded("fill-mask"), FillMask(texts=(text,), targets=targets, top_k=2))
    expected = pipeline("fill-mask", "fill-mask")(text, top_k=2, targets=list(targets) if targets else None)
    got = [(each.sequence, each.token, each.token_text) for each in output.rows[0]]
    assert got == [(each["sequence"], each["token"], each["token_str"]) for each in expected]


def test_embed_without_pooling_is_the_feature_extraction(loaded, pipeline):
    output, usage = run(loaded("embed"), Embed(inputs=(TEXT,), pooled=False))
    expected = np.array(pipeline("feature-extraction", "embed")(TEXT)[0], dtype=np.float32)
    vector = output.vectors[0]
    assert np.allclose(np.frombuffer(vector.data, "<f4").reshape(vector.shape), expected, atol=1e-5)
    assert usage.input_tokens == vector.shape[0]


def test_embed_pools_and_normalizes_as_the_repository_says(loaded, pipeline):
    mean = np.array(pipeline("feature-extraction", "sentence-embedder")(TEXT)[0]).mean(axis=0)
    own, _ = run(loaded("sentence-embedder"), Embed(inputs=(TEXT,)))
    assert np.allclose(np.frombuffer(own.vectors[0].data, "<f4"), mean / np.linalg.norm(mean), atol=1e-5)
    raw, _ = run(loaded("sentence-embedder"), Embed(inputs=(TEXT,), normalize=False, dimensions=4))
    assert np.allclose(np.frombuffer(raw.vectors[0].data, "<f4"), mean[:4], atol=1e-5)


def test_embed_cuts_a_long_text_at_the_published_length_only_if_told(loaded):
    long = "hello " * 100
    _, usage = run(loaded("sentence-embedder"), Embed(inputs=(long,)))
    assert usage.input_tokens == 32
    with pytest.raises(ContextTooLong, match="at most 32"):
        run(loaded("sentence-embedder"), Embed(inputs=(long,), truncate=False))


def test_answers_stand_in_the_context_best_first(loaded):
    context = "paris is the capital of france and berlin is the capital of germany " * 6
    output, _ = run(loaded("answer"), Answer(question="what is berlin", context=context, top_k=4, max_window_tokens=32, stride_tokens=8))
    scores = [span.score for span in output.spans]
    assert 1 <= len(scores) <= 4
    assert scores == sorted(scores, reverse=True)
    assert len({(span.start, span.end) for span in output.spans}) == len(scores)
    for span in output.spans:
        assert context[span.start : span.end] == span.answer
        assert span.answer == span.answer.strip()


def test_the_best_answer_is_where_the_logits_are_highest(loaded, tiny_model):
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    directory, context = tiny_model("answer"), "the house is red and the dog sleeps in the sun"
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    encoded = tokenizer("who sleeps", context, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**encoded)
    inside = [index for index, sequence in enumerate(encoded.encodings[0].sequence_ids) if sequence == 1]
    first, last = max(
        ((i, j) for i in inside for j in inside if i <= j < i + 15),
        key=lambda span: float(outputs.start_logits[0, span[0]] + outputs.end_logits[0, span[1]]),
    )
    start, end = (
        encoded.word_to_chars(0, encoded.token_to_word(first), 1).start,
        encoded.word_to_chars(0, encoded.token_to_word(last), 1).end,
    )
    output, _ = run(loaded("answer"), Answer(question="who sleeps", context=context))
    assert (output.spans[0].start, output.spans[0].end) == (start, end)


def test_an_impossible_question_may_have_no_answer(loaded):
    output, _ = run(loaded("answer"), Answer(question="who", context="the dog", top_k=50, handle_impossible=True))
    assert [(span.start, span.end) for span in output.spans if not span.answer] == [(0, 0)]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba"])
def test_greedy_generation(loaded, pipeline, name):
    output, usage = run(loaded(name), Generate(prompt="hello world how", sampling=Sampling(max_tokens=10)))
    expected = pipeline("text-generation", name)("hello world how", max_new_tokens=10, do_sample=False, return_full_text=False)
    assert output.choices[0].text == expected[0]["generated_text"]
    assert usage.input_tokens > 0
    assert usage.output_tokens == 10


def test_a_chat_is_rendered_as_the_library_renders_it(loaded, pipeline):
    messages = [{"role": "system", "content": "be {{ kind }}"}, {"role": "user", "content": 'hello <world> & "co"'}]
    request = Chat(messages=tuple(Message(**message) for message in messages), sampling=Sampling(max_tokens=10))
    output, _ = run(loaded("chat"), request)
    expected = pipeline("text-generation", "chat")(messages, max_new_tokens=10, do_sample=False)
    assert output.choices[0].text == expected[0]["generated_text"][-1]["content"]


def written(directory, text, class_name, **options):
    """What the library's model class writes; options as its old pipelines gave them."""
    import torch
    import transformers

    tokenizer = options.pop("tokenizer", None) or transformers.AutoTokenizer.from_pretrained(directory)
    model = getattr(transformers, class_name).from_pretrained(directory)
    with torch.inference_mode():
        ids = model.generate(**tokenizer(text, return_tensors="pt"), **options)
    return tokenizer.decode(ids[0], skip_special_tokens=True).strip()


@pytest.mark.filterwarnings("ignore:Recommended")
@pytest.mark.parametrize("beams", [None, 1, 3])
def test_translate_with_a_model_of_one_pair(loaded, tiny_model, beams):
    output, _ = run(loaded("marian"), Translate(texts=("the house is wonderful",), sampling=Sampling(max_tokens=12, beams=beams)))
    expected = written(tiny_model("marian"), "the house is wonderful", "MarianMTModel", max_new_tokens=12, num_beams=beams or 2)
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="en to de only"):
        run(loaded("marian"), Translate(texts=("a",), source="en", target="fr"))


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("en-US", "fr"), ("eng", "ger")])
def test_translate_by_instruction(loaded, tiny_model, source, target):
    language = {"de": "German", "fr": "French", "ger": "German"}[target]
    output, _ = run(loaded("t5"), Translate(texts=("the house",), source=source, target=target))
    expected = written(tiny_model("t5"), f"translate English to {language}: the house", "T5ForConditionalGeneration", max_new_tokens=16)
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="en to de, en to fr"):
        run(loaded("t5"), Translate(texts=("a",), source="en", target="it"))


@pytest.mark.parametrize(
    ("name", "source", "target", "codes"),
    [
        ("m2m100", "en", "de", ("en", "de")),
        ("nllb", "en", "zh-TW", ("eng_Latn", "zho_Hant")),
        ("nllb", "fra_Latn", "deu_Latn", ("fra_Latn", "deu_Latn")),
        ("mbart", "de-DE", "fr", ("de_DE", "fr_XX")),
    ],
)
def test_translate_with_language_codes(loaded, tiny_model, name, source, target, codes):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model(name), src_lang=codes[0])
    tokenizer.src_lang = codes[0]
    first = tokenizer.get_lang_id(codes[1]) if name == "m2m100" else tokenizer.convert_tokens_to_ids(codes[1])
    options = {"tokenizer": tokenizer, "forced_bos_token_id": first, "max_new_tokens": 8, "num_beams": 1}
    expected = written(tiny_model(name), "hello world", "AutoModelForSeq2SeqLM", **options)
    output, _ = run(loaded(name), Translate(texts=("hello world",), source=source, target=target, sampling=Sampling(max_tokens=8)))
    assert output.texts[0] == expected
    with pytest.raises(InvalidRequest, match="it knows"):
        run(loaded(name), Translate(texts=("a",), source="en", target="xx"))
    with pytest.raises(InvalidRequest, match="name the source and the target"):
        run(loaded(name), Translate(texts=("a",)))


def test_summarize_with_the_models_own_settings(loaded, tiny_model):
    text = "my dog likes to eat fish"
    output, _ = run(loaded("t5"), Summarize(texts=(text,)))
    expected = written(tiny_model("t5"), f"summarize: {text}", "T5ForConditionalGeneration", max_new_tokens=20, num_beams=2)
    assert output.texts[0] == expected


def test_a_long_text_is_cut_only_if_told(loaded):
    long = "my dog likes to eat fish " * 40
    with pytest.raises(ContextTooLong):
        run(loaded("bart"), Summarize(texts=(long,)))
    _, usage = run(loaded("bart"), Summarize(texts=(long,), truncate=True, sampling=Sampling(max_tokens=3)))
    assert usage.input_tokens == 64


@pytest.mark.parametrize("function", [None, "sigmoid", "none"])
def test_classify_image(loaded, pipeline, function):
    output, _ = run(loaded("vit"), ClassifyImage(image=PICTURE, top_k=2, function=function))
    expected = pipeline("image-classification", "vit")(Image.open(io.BytesIO(PICTURE)), top_k=2, function_to_apply=function)
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_classify_image_zero_shot(loaded, pipeline, name):
    output, _ = run(loaded(name), ClassifyImageZeroShot(image=PICTURE, labels=("cat", "a red car", "dog")))
    image = Image.open(io.BytesIO(PICTURE))
    expected = pipeline("zero-shot-image-classification", name)(image, candidate_labels=["cat", "a red car", "dog"])
    assert rows(output.rows[0]) == pairs(expected)


@pytest.mark.parametrize("name", ["yolos", "detr"])
def test_detect(loaded, pipeline, name):
    output, _ = run(loaded(name), Detect(image=PICTURE, threshold=0.0))
    expected = pipeline("object-detection", name)(Image.open(io.BytesIO(PICTURE)), threshold=0.0)
    assert len(expected) > 0
    got = sorted((each.label, each.box.xmin, each.box.ymin, each.box.xmax, each.box.ymax) for each in output.objects)
    assert got == sorted((each["label"], *(each["box"][side] for side in ("xmin", "ymin", "xmax", "ymax"))) for each in expected)
    scores = [each.score for each in output.objects]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("name", "subtask"), [("segformer", "semantic"), ("mask2former", "semantic"), ("mask2former", "instance")])
def test_segment(loaded, pipeline, name, subtask):
    output, _ = run(loaded(name), Segment(image=PICTURE, subtask=subtask, threshold=0.0, mask_threshold=0.1))
    library = pipeline("image-segmentation", name)
    expected = library(Image.open(io.BytesIO(PICTURE)), subtask=subtask, threshold=0.0, mask_threshold=0.1)
    assert len(output.segments) == len(expected) > 0
    got = [(each.label, np.asarray(Image.open(io.BytesIO(each.png))).tolist()) for each in output.segments]
    for each in expected:
        assert (each["label"], np.asarray(each["mask"]).tolist()) in got
    assert Image.open(io.BytesIO(output.segments[0].png)).size == (40, 30)


def test_a_semantic_model_does_no_other_segmentation(loaded):
    with pytest.raises(Unsupported, match="it can do semantic"):
        run(loaded("segformer"), Segment(image=PICTURE, subtask="panoptic"))


@pytest.mark.parametrize("name", ["blip", "vit-gpt2", "git"])
def test_describe(loaded, tiny_model, name):
    import torch
    import transformers

    directory = tiny_model(name)
    model = transformers.AutoModelForImageTextToText.from_pretrained(directory)
    pixels = transformers.AutoImageProcessor.from_pretrained(directory)(images=Image.open(io.BytesIO(PICTURE)), return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**pixels, max_new_tokens=6)
    expected = transformers.AutoTokenizer.from_pretrained(directory).decode(ids[0], skip_special_tokens=True).strip()
    output, usage = run(loaded(name), Describe(image=PICTURE, sampling=Sampling(max_tokens=6)))
    assert output.texts == (expected,)
    assert usage.output_tokens > 0


@pytest.mark.parametrize("name", ["blip", "git"])
def test_a_description_continues_its_prompt(loaded, name):
    output, _ = run(loaded(name), Describe(image=PICTURE, prompt="a photo of", sampling=Sampling(max_tokens=4)))
    assert output.texts[0].startswith("a photo of")


def test_a_captioner_without_prompts_says_so(loaded):
    with pytest.raises(Unsupported, match="without a prompt"):
        run(loaded("vit-gpt2"), Describe(image=PICTURE, prompt="a photo of"))


@pytest.mark.parametrize("name", ["wav2vec2", "hubert"])
def test_transcribe_letter_by_letter(loaded, pipeline, name):
    sound = tiny_models.wav(1.0)
    output, usage = run(loaded(name), Transcribe(audio=sound, word_timestamps=True))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    expected = pipeline("automatic-speech-recognition", name)(samples, return_timestamps="word")
    assert output.text == expected["text"].strip()
    words = [(word.word.strip(), (word.start, word.end)) for segment in output.segments for word in segment.words]
    assert words == [(word["text"], word["timestamp"]) for word in expected["chunks"]]
    assert usage.seconds == output.duration == 1.0


def test_a_long_recording_is_transcribed_in_windows(loaded):
    output, _ = run(loaded("wav2vec2"), Transcribe(audio=tiny_models.wav(70.0, 8000)))
    assert len(output.segments) >= 2
    assert output.segments[-1].end <= output.duration == 70.0
    assert all(before.end <= after.start + 1e-6 for before, after in zip(output.segments, output.segments[1:], strict=False))


def test_transcribe_with_whisper(loaded, pipeline):
    sound = tiny_models.wav(1.0)
    output, _ = run(loaded("whisper"), Transcribe(audio=sound, language="english"))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    library = pipeline("automatic-speech-recognition", "whisper")
    expected = library(samples, return_timestamps=True, generate_kwargs={"language": "en", "task": "transcribe", "num_beams": 1})
    assert [segment.text for segment in output.segments] == [chunk["text"] for chunk in expected["chunks"] if chunk["text"]]
    assert output.language == "en"
    with pytest.raises(InvalidRequest, match="not a language of this model"):
        run(loaded("whisper"), Transcribe(audio=sound, language="klingon"))


def test_what_a_speller_cannot_do_is_refused(loaded):
    for more in ({"to_english": True}, {"prompt": "names"}, {"beams": 4}, {"temperature": 0.5}):
        with pytest.raises(Unsupported):
            run(loaded("wav2vec2"), Transcribe(audio=tiny_models.wav(0.2), **more))


@pytest.mark.parametrize("name", ["wav2vec2-classifier", "ast"])
def test_classify_audio(loaded, pipeline, name):
    sound = tiny_models.wav(1.0)
    output, usage = run(loaded(name), ClassifyAudio(audio=sound, top_k=2))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    assert rows(output.rows[0]) == pairs(pipeline("audio-classification", name)(samples, top_k=2))
    assert usage.seconds == 1.0


def test_speak(loaded):
    import wave

    output, usage = run(loaded("vits"), Speak(text="hello world"))
    with wave.open(io.BytesIO(output.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, output.sampling_rate)
        assert file.getnframes() / output.sampling_rate == pytest.approx(usage.seconds)
    assert output == run(loaded("vits"), Speak(text="hello world"))[0]
    slow, _ = run(loaded("vits"), Speak(text="hello world", speed=0.25))
    assert len(slow.wav) > len(output.wav)


def test_voices_are_told_apart_and_unknown_ones_refused(loaded):
    first, _ = run(loaded("vits-speakers"), Speak(text="hello world", voice="0"))
    second, _ = run(loaded("vits-speakers"), Speak(text="hello world", voice="2"))
    assert first != second
    with pytest.raises(InvalidRequest, match="0 to 2"):
        run(loaded("vits-speakers"), Speak(text="hello world", voice="3"))


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
