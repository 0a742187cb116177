"""The real `huggingface_hub.InferenceClient` against our server on loopback, for each of its methods that we answer."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from hf_cloud import ALL_TASKS, KEY, make_cloud
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import (
    GenerationError,
    HfHubHTTPError,
    OverloadedError,
    RepositoryNotFoundError,
    ValidationError,
)
from PIL import Image

from yunmo.core import errors
from yunmo.core.tasks import (
    TASKS,
    Answers,
    Box,
    Choice,
    Choices,
    Detection,
    Detections,
    Entities,
    Entity,
    Filling,
    Fillings,
    Label,
    Labels,
    Mask,
    Masks,
    OutputFormat,
    PlacedWord,
    Span,
    Speech,
    TableAnswer,
    TextDelta,
    Texts,
    TokenLogprob,
    Transcript,
    TranscriptSegment,
    Vector,
    Vectors,
)
from yunmo.web.app import App
from yunmo.web.dialects.hf.dialect import HuggingFaceDialect
from yunmo.web.metrics import Metrics
from yunmo.web.server import serve

CATS = Labels(rows=((Label("cat", 0.75), Label("dog", 0.25)),))


def _png():
    file = io.BytesIO()
    Image.new("L", (4, 3), 255).save(file, "PNG")
    return file.getvalue()


def _vector(*numbers):
    return Vector(np.asarray(numbers, "<f4").tobytes(), (len(numbers),))


@pytest.fixture
def cloud():
    return make_cloud()


@pytest.fixture
async def url(cloud):
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    app = App(cloud, [HuggingFaceDialect(cloud)], Metrics())
    running = asyncio.create_task(serve(app, "127.0.0.1", 0, ready=port.set_result, stop=stop))
    yield f"http://127.0.0.1:{await asyncio.wait_for(port, 5)}"
    stop.set()
    await asyncio.wait_for(running, 10)


@pytest.fixture
def ask(cloud, url):
    """Call a method of the client on a model of one tag that answers with this output."""

    async def call(method, tag, output, *args, tasks=ALL_TASKS, **kwargs):
        cloud.inference.serve("acme/m", *tasks, tag=tag)
        outputs = output if isinstance(output, list) else [output]
        cloud.inference.answers = {task.request.__name__: outputs for task in TASKS.values()}
        client = InferenceClient(model=f"{url}/models/acme/m", token=KEY)
        reply = await asyncio.to_thread(lambda: _taken(getattr(client, method)(*args, **kwargs)))
        return reply, cloud.inference.asked[-1][1]

    return call


def _taken(reply):
    return list(reply) if hasattr(reply, "__next__") else reply


async def test_text_classification(ask):
    reply, request = await ask("text_classification", "text-classification", CATS, "meow", top_k=2)
    assert [(each.label, each.score) for each in reply] == [("cat", 0.75), ("dog", 0.25)]
    assert (request.texts, request.top_k) == (("meow",), 2)


async def test_zero_shot_classification(ask):
    reply, request = await ask("zero_shot_classification", "zero-shot-classification", CATS, "meow", ["cat", "dog"], multi_label=True)
    assert reply[0].label == "cat"
    assert (request.labels, request.multi_label) == (("cat", "dog"), True)


async def test_token_classification(ask):
    output = Entities(rows=((Entity("PER", 0.5, "Ada", 0, 3),),))
    reply, _ = await ask("token_classification", "token-classification", output, "Ada")
    assert (reply[0].entity_group, reply[0].word, reply[0].start, reply[0].end) == ("PER", "Ada", 0, 3)
    reply, request = await ask("token_classification", "token-classification", output, "Ada", aggregation_strategy="none")
    assert (reply[0].entity, request.aggregation) == ("PER", "none")


async def test_question_answering(ask):
    output = Answers(spans=(Span("Paris", 0.5, 3, 8), Span("In", 0.25, 0, 2)))
    reply, _ = await ask("question_answering", "question-answering", output, "Where?", "In Paris")
    assert (reply.answer, reply.start, reply.end) == ("Paris", 3, 8)
    reply, _ = await ask("question_answering", "question-answering", output, "Where?", "In Paris", top_k=2)
    assert [each.answer for each in reply] == ["Paris", "In"]


async def test_fill_mask(ask):
    output = Fillings(rows=((Filling("a cat", 0.5, 7, "cat"),),))
    reply, request = await ask("fill_mask", "fill-mask", output, "a [MASK]", targets=["cat"], top_k=1)
    assert (reply[0].token_str, reply[0].token, reply[0].sequence) == ("cat", 7, "a cat")
    assert request.targets == ("cat",)


async def test_feature_extraction(ask):
    output = Vectors(vectors=(_vector(0.5, -1), _vector(1, 2)))
    reply, request = await ask("feature_extraction", "sentence-similarity", output, ["a", "b"], normalize=True, dimensions=2)
    assert reply.dtype == np.float32
    assert reply.tolist() == [[0.5, -1.0], [1.0, 2.0]]
    assert (request.normalize, request.dimensions) == (True, 2)


async def test_sentence_similarity(ask):
    output = Vectors(vectors=(_vector(1, 0), _vector(3, 0), _vector(0, 2)))
    reply, request = await ask("sentence_similarity", "sentence-similarity", output, "a", ["b", "c"])
    assert reply == [1.0, 0.0]
    assert request.inputs == ("a", "b", "c")


async def test_summarization(ask):
    reply, _ = await ask("summarization", "summarization", Texts(texts=("short",)), "long", generate_parameters={"max_new_tokens": 5})
    assert reply.summary_text == "short"


async def test_translation(ask):
    reply, request = await ask("translation", "translation", Texts(texts=("你好",)), "Hallo", src_lang="de", tgt_lang="zh")
    assert (reply.translation_text, request.source, request.target) == ("你好", "de", "zh")


async def test_a_model_that_rewrites_texts_and_has_no_card_is_asked_by_the_clients_method_alone(cloud, url):
    cloud.inference.serve("acme/t5", "generate", "translate", "summarize", tag="text2text-generation")
    cloud.inference.answers["Generate"] = [Choices(choices=(Choice(text="Guten Tag", finish_reason="stop"),))]
    cloud.inference.answers["Translate"] = [Texts(texts=("Bonjour",))]
    async with AsyncInferenceClient(model=f"{url}/models/acme/t5", token=KEY) as client:
        assert (await client.translation("Good day")).translation_text == "Guten Tag"
        assert (await client.summarization("Good day")).summary_text == "Guten Tag"
        assert await client.text_generation("Good day") == "Guten Tag"
        assert (await client.translation("Good day", src_lang="en", tgt_lang="fr")).translation_text == "Bonjour"
    assert (cloud.inference.asked[-1][1].source, cloud.inference.asked[-1][1].target) == ("en", "fr")


@pytest.mark.parametrize(("first", "method"), [("summarize", "summarization"), ("translate", "translation")])
async def test_a_model_that_was_trained_for_one_of_them_is_asked_for_that_and_continues_texts_all_the_same(first, method, cloud, url):
    tasks = (first, *(task for task in ("summarize", "translate", "generate") if task != first))
    cloud.inference.serve("acme/t5", *tasks, tag="text2text-generation")
    cloud.inference.answers["Generate"] = [TextDelta(text="and so on", finish_reason="stop")]
    cloud.inference.answers["Summarize"] = [Texts(texts=("short",))]
    cloud.inference.answers["Translate"] = [Texts(texts=("Bonjour",))]
    async with AsyncInferenceClient(model=f"{url}/models/acme/t5", token=KEY) as client:
        reply = await getattr(client, method)("Good day")
        assert [reply.get("summary_text"), reply.get("translation_text")] == (
            ["short", None] if first == "summarize" else [None, "Bonjour"]
        )
        assert await client.text_generation("Good day") == (reply.get("summary_text") or reply.get("translation_text"))
        assert (await client.translation("Good day", src_lang="en", tgt_lang="fr")).translation_text == "Bonjour"
        await getattr(client, method)('a "stream": b', generate_parameters={"max_new_tokens": 3})
        assert "Generate" not in {type(request).__name__ for _, request in cloud.inference.asked}
        assert await client.text_generation("Good day", max_new_tokens=3) == "and so on"
        assert await client.text_generation("Good day", stream=False) == "and so on"
        assert [part async for part in await client.text_generation("Good day", stream=True)] == ["and so on"]


async def test_text_generation(ask):
    output = Choices(choices=(Choice(" upon", "stop"),))
    reply, request = await ask("text_generation", "text-generation", output, "Once", max_new_tokens=3, stop=["."])
    assert (reply, request.sampling.max_tokens, request.sampling.stop) == (" upon", 3, (".",))


async def test_text_generation_with_details_and_a_grammar(ask):
    output = Choices(choices=(Choice(" upon", "length", logprobs=(TokenLogprob(" upon", -0.5, 7),)),))
    grammar = {"type": "json", "value": {"type": "object"}}
    reply, request = await ask("text_generation", "text-generation", output, "Once", details=True, grammar=grammar)
    assert (reply.generated_text, reply.details.finish_reason, reply.details.tokens[0].id) == (" upon", "length", 7)
    assert request.output_format == OutputFormat("json_schema", '{"type":"object"}')


async def test_a_streamed_text_generation(ask):
    deltas = [TextDelta(text=" up"), TextDelta(text="on"), TextDelta(finish_reason="stop")]
    reply, _ = await ask("text_generation", "text-generation", deltas, "Once", stream=True)
    assert "".join(reply) == " upon"


async def test_a_streamed_text_generation_of_a_model_that_is_loaded_first(ask, cloud):
    cloud.inference.waits = asyncio.Event()
    deltas = [TextDelta(text=" upon"), TextDelta(text=" a", finish_reason="length")]
    reply, _ = await ask("text_generation", "text-generation", deltas, "Once", stream=True)
    assert "".join(reply) == " upon a"
    assert cloud.inference.begun[0].looks == 2, "no comment was sent"


async def test_a_streamed_text_generation_with_details(ask):
    deltas = [TextDelta(text=" up", logprobs=(TokenLogprob(" up", -0.5, 7),)), TextDelta(text="on", finish_reason="stop")]
    reply, _ = await ask("text_generation", "text-generation", deltas, "Once", stream=True, details=True)
    assert [(each.token.text, each.token.id) for each in reply] == [(" up", 7), ("on", -1)]
    assert (reply[-1].generated_text, reply[-1].details.finish_reason) == (" upon", "eos_token")


async def test_a_raw_recording_without_a_content_type(ask):
    output = Transcript(text="hello", language="en", duration=1.0)
    reply, request = await ask("automatic_speech_recognition", "automatic-speech-recognition", output, b"RIFF recording")
    assert (reply.text, request.audio) == ("hello", b"RIFF recording")


async def test_a_recording_with_timestamps(ask):
    output = Transcript(text="hello", language="en", duration=1.0, segments=(TranscriptSegment(id=0, start=0.0, end=1.0, text=" hello"),))
    reply, _ = await ask(
        "automatic_speech_recognition",
        "automatic-speech-recognition",
        output,
        b"RIFF recording",
        extra_body={"return_timestamps": True, "generation_parameters": {"num_beams": 2}},
    )
    assert [(each.text, each.timestamp) for each in reply.chunks] == [(" hello", [0.0, 1.0])]


async def test_audio_classification(ask):
    reply, request = await ask("audio_classification", "audio-classification", CATS, b"RIFF recording", top_k=2)
    assert (reply[0].label, request.audio, request.top_k) == ("cat", b"RIFF recording", 2)


async def test_text_to_speech(ask):
    reply, request = await ask(
        "text_to_speech", "text-to-speech", Speech(wav=b"RIFF", sampling_rate=16000), "hi", extra_body={"voice": "ada"}
    )
    assert (reply, request.voice) == (b"RIFF", "ada")


@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
async def test_image_classification(as_file, ask, tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(_png())
    image: bytes | Path = path if as_file else _png()
    reply, request = await ask("image_classification", "image-classification", CATS, image)
    assert (reply[0].label, request.image) == ("cat", _png())
    _, request = await ask("image_classification", "image-classification", CATS, image, top_k=1)
    assert (request.image, request.top_k) == (_png(), 1)


async def test_object_detection(ask):
    output = Detections(objects=(Detection("cat", 0.5, Box(1, 2, 3, 4)),))
    reply, request = await ask("object_detection", "object-detection", output, _png(), threshold=0.25)
    assert (reply[0].box.xmin, reply[0].box.ymax, request.threshold) == (1, 4, 0.25)


async def test_image_segmentation(ask):
    output = Masks(segments=(Mask("cat", _png(), 0.5),))
    reply, _ = await ask("image_segmentation", "image-segmentation", output, _png())
    assert (reply[0].label, reply[0].mask.size) == ("cat", (4, 3))


async def test_zero_shot_image_classification(ask):
    reply, request = await ask("zero_shot_image_classification", "zero-shot-image-classification", CATS, _png(), ["cat", "dog"])
    assert (reply[0].label, request.labels) == ("cat", ("cat", "dog"))


async def test_image_to_text(ask):
    reply, request = await ask("image_to_text", "image-to-text", Texts(texts=("a cat",)), _png())
    assert (reply.generated_text, request.image) == ("a cat", _png())


async def test_visual_question_answering(ask):
    reply, request = await ask("visual_question_answering", "visual-question-answering", CATS, _png(), "What is it?", top_k=2)
    assert [(each.answer, each.score) for each in reply] == [("cat", 0.75), ("dog", 0.25)]
    assert (request.image, request.question, request.top_k) == (_png(), "What is it?", 2)


async def test_document_question_answering(ask):
    output = Answers(spans=(Span("36.5", 0.5, 1, 1),))
    boxes = [["Total", [0, 0, 100, 20]], ["36.5", [120, 0, 200, 20]]]
    reply, request = await ask("document_question_answering", "document-question-answering", output, _png(), "Total?", word_boxes=boxes)
    assert (reply[0].answer, reply[0].score, reply[0].start, reply[0].end) == ("36.5", 0.5, 1, 1)
    assert (request.image, request.words[1]) == (_png(), PlacedWord("36.5", (120, 0, 200, 20)))


async def test_document_question_answering_by_a_model_that_writes_its_answer(ask):
    reply, request = await ask(
        "document_question_answering", "document-question-answering", Answers(spans=(Span("36.5", 0.5),)), _png(), "Total?"
    )
    assert (reply[0].answer, reply[0].score, reply[0].start, request.words) == ("36.5", 0.5, None, None)


@pytest.mark.parametrize("names_model", [False, True])
async def test_table_question_answering(names_model, ask, url):
    output = TableAnswer(answer="SUM > 3, 4", cells=("3", "4"), coordinates=((0, 1), (1, 1)), aggregator="SUM")
    table = {"name": ["cat", "dog"], "count": ["3", "4"]}
    more = {"model": f"{url}/models/acme/m"} if names_model else {}  # which the client also sends as a parameter
    reply, request = await ask("table_question_answering", "table-question-answering", output, table, "How many?", **more)
    assert (reply.answer, reply.cells, reply.coordinates, reply.aggregator) == ("SUM > 3, 4", ["3", "4"], [[0, 1], [1, 1]], "SUM")
    assert (request.columns, request.rows, request.question) == (("name", "count"), (("cat", "3"), ("dog", "4")), "How many?")


_TEXT_TAGS = ("text-classification", "text-generation")
_FILE_TAGS = ("image-classification", "automatic-speech-recognition")
_NOBODYS = {
    "text_to_image": (("a cat",), (*_TEXT_TAGS, *_FILE_TAGS)),
    "image_to_image": ((_png(), "a dog"), (*_TEXT_TAGS, *_FILE_TAGS)),
    "tabular_classification": (({"a": ["1"]},), (*_TEXT_TAGS, *_FILE_TAGS)),
    # to a model that takes files, this call is the same as one for the model's own task
    "audio_to_audio": ((b"RIFF recording",), _TEXT_TAGS),
}


@pytest.mark.parametrize(("method", "tag"), [(method, tag) for method, (_, tags) in _NOBODYS.items() for tag in tags])
async def test_what_no_model_here_does_is_refused_with_what_the_model_does(method, tag, cloud, url):
    cloud.inference.serve("acme/m", *ALL_TASKS, tag=tag)
    client = InferenceClient(model=f"{url}/models/acme/m", token=KEY)
    with pytest.raises(HfHubHTTPError, match=f"(?s)422.*'acme/m' does .*{tag}"):
        await asyncio.to_thread(getattr(client, method), *_NOBODYS[method][0])
    assert cloud.inference.asked == []


async def test_a_picture_is_not_taken_for_a_picture_to_change(cloud, url):
    cloud.inference.serve("acme/m", "classify-image", tag="image-classification")
    client = InferenceClient(model=f"{url}/models/acme/m", token=KEY)
    with pytest.raises(HfHubHTTPError, match="Nothing here makes pictures: 'acme/m' does image-classification"):
        await asyncio.to_thread(client.image_to_image, _png())  # whose body is the picture alone


async def test_the_client_itself_refuses_tabular_regression_for_a_url(url):
    with pytest.raises(ValueError, match="tabular-regression"):
        InferenceClient(model=f"{url}/models/acme/m", token=KEY).tabular_regression({"a": ["1"]})


async def test_the_endpoints_info_and_health(cloud, url):
    cloud.inference.serve("acme/m", "classify", tag="text-classification")
    client = InferenceClient(model=f"{url}/models/acme/m", token=KEY, provider="hf-inference")
    info = await asyncio.to_thread(client.get_endpoint_info)
    assert (info["model_id"], info["model_sha"], info["model_pipeline_tag"]) == ("acme/m", "c0ffee", "text-classification")
    assert await asyncio.to_thread(client.health_check)
    cloud.inference.serve("acme/m", "classify", state="failed")
    assert not await asyncio.to_thread(client.health_check)


async def test_a_name_without_a_namespace_and_one_with_a_revision(cloud, url):
    cloud.inference.serve("echo", "classify")
    cloud.inference.serve("acme/m", "classify")
    cloud.inference.answers = {"Classify": [CATS]}
    for name in ("echo", "acme/m@v1.0", "acme/m@refs%2Fpr%2F1"):
        async with AsyncInferenceClient(model=f"{url}/models/{name}", token=KEY) as client:
            assert (await client.text_classification("x"))[0].label == "cat"
    assert [model for model, _ in cloud.inference.asked] == ["echo", "acme/m@v1.0", "acme/m@refs/pr/1"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ContextTooLong("The prompt has 9 tokens too many."), ValidationError),
        (errors.Overloaded("The queue is full."), OverloadedError),
        (errors.EngineFailed("The model failed."), GenerationError),
        (errors.ModelNotFound("There is no model."), RepositoryNotFoundError),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_the_client_raises_its_own_exception_for_an_error_of_text_generation(error, expected, cloud, ask):
    cloud.inference.refusal = error
    with pytest.raises(expected, match=error.message):
        await ask("text_generation", "text-generation", CATS, "x")


async def test_an_unsupported_parameter_is_neither_dropped_nor_retried(cloud, ask):
    with pytest.raises(ValidationError, match="best_of"):
        await ask("text_generation", "text-generation", CATS, "x", best_of=3)
    assert cloud.inference.asked == []


async def test_a_limited_caller_reads_when_to_come_back(cloud, ask):
    cloud.inference.refusal = errors.RateLimited("Too many requests.", retry_after_seconds=7)
    with pytest.raises(HfHubHTTPError, match="Retry after 7 seconds"):
        await ask("text_classification", "text-classification", CATS, "x")


async def test_a_wrong_key_is_said_so(cloud, url):
    client = InferenceClient(model=f"{url}/models/acme/m", token="ym_wrong")
    with pytest.raises(HfHubHTTPError, match="401"):
        await asyncio.to_thread(client.text_classification, "x")
