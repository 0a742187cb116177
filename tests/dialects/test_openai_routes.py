"""What the routes do beside their bodies: statuses, headers, streams that end early, files."""

import asyncio
import base64
import io
import json
import sys

import av
import numpy as np
import pytest
from openai_double import KEY, World, events_of

from yunmo.core.errors import EngineFailed, Overloaded, RateLimited
from yunmo.core.tasks import Embed, Speech, TextDelta, Transcribe

HI = [{"role": "user", "content": "hi you"}]
CHAT = "/v1/chat/completions"


@pytest.fixture
def world():
    return World()


async def test_a_success_carries_the_headers_that_clients_read(world):
    reply = await world.post(CHAT, {"model": "echo", "messages": HI})
    assert reply.headers["openai-version"] == "2020-10-01"
    assert reply.headers["openai-organization"] == "acme"
    assert int(reply.headers["openai-processing-ms"]) >= 0
    assert reply.headers["x-request-id"]
    assert reply.headers["x-ratelimit-limit-requests"] == "60"
    assert reply.headers["x-ratelimit-remaining-tokens"] == "990"
    assert reply.headers["x-ratelimit-reset-requests"] == "1s"
    assert reply.headers["x-ratelimit-reset-tokens"] == "600ms"


async def test_a_caller_without_limits_gets_no_limit_headers(world):
    world.inference.rates = None
    reply = await world.post(CHAT, {"model": "echo", "messages": HI})
    assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(("error", "status"), [(RateLimited("Wait."), 429), (Overloaded("Full.", retry_after_seconds=2), 503)])
async def test_a_refusal_of_a_stream_has_a_real_status(world, error, status):
    world.inference.error = error
    reply = await world.post(CHAT, {"model": "echo", "messages": HI, "stream": True})
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": HI}), ("/v1/completions", {"prompt": "a"})])
async def test_an_error_before_the_first_chunk_has_a_real_status_and_frees_the_engine(world, monkeypatch, path, body):
    async def fail(_answering):
        raise EngineFailed("It broke at once.")

    monkeypatch.setattr("openai_double.Answering.ready", fail)
    reply = await world.post(path, {"model": "echo", "stream": True, **body})
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "engine_failed"
    assert world.inference.begun[0].closed


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": HI}), ("/v1/completions", {"prompt": ["a", "b"]})])
async def test_every_answer_is_closed(world, path, body, stream):
    reply = await world.post(path, {"model": "echo", "stream": stream, **body})
    assert reply.status_code == 200
    assert world.inference.begun
    assert all(answering.closed for answering in world.inference.begun)


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"messages": HI}), ("/v1/completions", {"prompt": "a"})])
async def test_a_client_that_leaves_in_mid_stream_frees_the_engine(world, path, body):
    never = asyncio.Event()
    world.inference.extra_chunks = [never]
    sent = await _leave_after(world, path, {"model": "echo", "stream": True, **body}, b'" on"' if "prompt" in body else b"you")
    assert b"[DONE]" not in sent
    assert world.inference.begun[0].closed


async def test_a_stream_that_breaks_ends_with_the_error_and_without_done(world):
    reply = await world.post(CHAT, {"model": "broken", "messages": HI, "stream": True})
    events = events_of(reply)
    assert json.loads(events[-1])["error"]["code"] == "engine_failed"
    assert "[DONE]" not in events
    assert world.inference.begun[0].closed


async def test_a_stream_whose_engine_never_says_why_it_ended_still_finishes_each_choice(world, monkeypatch):
    async def unfinished(_answering):
        yield TextDelta(text="a")

    monkeypatch.setattr("openai_double.Answering.__aiter__", unfinished)
    reply = await world.post(CHAT, {"model": "echo", "messages": HI, "stream": True, "n": 2})
    ends = [json.loads(event)["choices"][0] for event in events_of(reply)[:-1] if '"finish_reason":"stop"' in event]
    assert [choice["index"] for choice in ends] == [0, 1]


async def test_one_failing_prompt_fails_the_request_with_its_own_error(world):
    reply = await world.post("/v1/completions", {"model": "broken", "prompt": ["a", "b", "c"]})
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "engine_failed"
    assert all(answering.closed for answering in world.inference.begun)


async def test_prompts_are_answered_in_their_order_a_few_at_a_time(world):
    prompts = [f"prompt {number}" for number in range(20)]
    reply = await world.post("/v1/completions", {"model": "echo", "prompt": prompts, "echo": True})
    texts = [choice["text"] for choice in reply.json()["choices"]]
    assert texts == [f"{prompt} and on" for prompt in prompts]
    assert [choice["index"] for choice in reply.json()["choices"]] == list(range(20))
    assert reply.json()["usage"]["prompt_tokens"] == 40


async def test_prompts_times_choices_are_bounded(world):
    assert (await world.post("/v1/completions", {"model": "echo", "prompt": ["a"] * 16, "n": 8})).status_code == 200
    reply = await world.post("/v1/completions", {"model": "echo", "prompt": ["a"] * 17, "n": 8})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "n")
    assert (await world.post("/v1/completions", {"model": "echo", "prompt": ["a"] * 129})).status_code == 400


@pytest.mark.parametrize("prefix", ["", "/hf-inference"])
@pytest.mark.parametrize("model", ["dummy", "tgi", "", "acme/echo"])
async def test_a_model_in_the_path_needs_no_model_in_the_body(world, prefix, model):
    reply = await world.post(f"{prefix}/models/acme/echo/v1/chat/completions", {"model": model, "messages": HI})
    assert reply.json()["model"] == "acme/echo"


async def test_a_model_of_one_segment_or_of_one_revision_can_be_in_the_path(world):
    assert (await world.post("/models/echo/v1/chat/completions", {"model": "tgi", "messages": HI})).json()["model"] == "echo"
    reply = await world.post("/models/acme/echo@main/v1/chat/completions", {"model": "acme/echo", "messages": HI})
    assert reply.json()["model"] == "acme/echo"


async def test_two_different_models_in_path_and_body_are_refused(world):
    reply = await world.post("/models/acme/echo/v1/chat/completions", {"model": "other", "messages": HI})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/audio/speech"])
async def test_a_missing_model_is_named(world, path):
    reply = await world.post(
        path, {"messages": HI} if path == CHAT else {"prompt": "a"} if path.endswith("/completions") else {"input": "a"}
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"model":"echo"}', b"[" * 100_000])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/audio/speech"])
async def test_a_body_that_cannot_be_read_is_the_callers_error(world, path, body):
    async with world.client() as client:
        reply = await client.post(path, content=body)
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_body_past_the_limit_is_not_read(world):
    async with world.client() as client:
        reply = await client.post(CHAT, content=b" " * (21 * 1024 * 1024))
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_base64_and_numbers_are_the_same_vectors(world):
    inputs = ["a", "abc", "x" * 37]
    numbers = (await world.post("/v1/embeddings", {"model": "echo", "input": inputs})).json()["data"]
    encoded = (await world.post("/v1/embeddings", {"model": "echo", "input": inputs, "encoding_format": "base64"})).json()["data"]
    for one, other in zip(numbers, encoded, strict=True):
        assert np.array_equal(np.float32(one["embedding"]), np.frombuffer(base64.b64decode(other["embedding"]), "<f4"))


async def test_a_text_too_long_to_embed_is_left_to_the_engine_to_refuse_and_never_cut(world):
    await world.post("/v1/embeddings", {"model": "echo", "input": [[1, 2]], "dimensions": 3})
    assert world.inference.begun[0].request == Embed(inputs=((1, 2),), truncate=False, dimensions=3)


async def test_more_than_2048_inputs_are_refused(world):
    assert (await world.post("/v1/embeddings", {"model": "echo", "input": ["a"] * 2048})).status_code == 200
    assert (await world.post("/v1/embeddings", {"model": "echo", "input": ["a"] * 2049})).status_code == 400


async def test_without_a_model_and_a_deployment_for_it_the_missing_model_is_named(world):
    del world.inference.served["moderation"]
    reply = await world.post("/v1/moderations", {"input": "a"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")
    assert (await world.post("/v1/moderations", {"input": "a", "model": "none-such"})).status_code == 404


async def test_pictures_cannot_be_moderated(world):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    reply = await world.post("/v1/moderations", {"input": [part]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


async def _listen(world, path="/v1/audio/transcriptions", files=None, **form):
    async with world.client() as client:
        return await client.post(path, data={"model": "echo", **form}, files={"file": ("a.wav", b"RIFF")} if files is None else files)


async def test_every_field_of_a_transcription_reaches_the_task(world):
    form = {"language": "zh", "prompt": "云模", "temperature": "0.4", "response_format": "verbose_json", "chunking_strategy": "auto"}
    reply = await _listen(world, **form, **{"timestamp_granularities[]": ["word", "segment"]})
    assert {"words", "segments"} <= set(reply.json())
    assert world.inference.begun[0].request == Transcribe(
        audio=b"RIFF", language="zh", prompt="云模", temperature=0.4, word_timestamps=True, skip_silence=True
    )


async def test_a_translation_is_into_english(world):
    await _listen(world, "/v1/audio/translations", prompt="x")
    assert world.inference.begun[0].request == Transcribe(audio=b"RIFF", prompt="x", to_english=True)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"response_format": "docx"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"include[]": "logprobs"}, "include"),
        ({"colour": "red"}, "colour"),
        ({"model": ""}, "model"),
    ],
)
async def test_a_wrong_field_of_a_form_is_refused_by_its_name(world, form, param):
    reply = await _listen(world, **form)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("files", [{"other": ("a.wav", b"x")}, {"file": ("a.wav", b"")}, {"file": (None, b"text")}])
async def test_a_recording_must_be_a_file_called_file(world, files):
    assert (await _listen(world, files=files)).status_code == 400


async def test_the_deltas_of_a_transcript_joined_are_its_text(world):
    events = [json.loads(event) for event in events_of(await _listen(world, stream="true"))]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"] == "Hello there. Good --> bye."
    assert events[-1]["usage"] == {"type": "duration", "seconds": 3.0}


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav"])
async def test_speech_comes_in_the_form_that_was_asked_for(world, form):
    reply = await world.post("/v1/audio/speech", {"model": "echo", "input": "ten chars.", "voice": "alloy", "response_format": form})
    assert reply.status_code == 200
    with av.open(io.BytesIO(reply.content)) as recording:
        heard = sum(frame.samples / frame.sample_rate for frame in recording.decode(audio=0))
        assert {"opus": "ogg", "flac": "flac", "wav": "wav", "mp3": "mp3", "aac": "aac"}[form] in recording.format.name
    assert 0.9 < heard < 1.2


async def test_raw_speech_is_24_khz_whatever_the_model_speaks_at(world):
    reply = await world.post("/v1/audio/speech", {"model": "echo", "input": "ten chars.", "voice": {"id": "a"}, "response_format": "pcm"})
    samples = np.frombuffer(reply.content, "<i2")
    assert abs(len(samples) - 24_000) < 100
    crossings = np.count_nonzero(np.diff(np.signbit(samples)))
    assert abs(crossings - 880) < 10  # a tone of 440 Hz


async def test_speech_can_come_as_events(world):
    reply = await world.post(
        "/v1/audio/speech", {"model": "echo", "input": "ten chars.", "voice": "a", "response_format": "wav", "stream_format": "sse"}
    )
    events = [json.loads(event) for event in events_of(reply)]
    recording = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert recording.startswith(b"RIFF")
    assert events[-1] == {"type": "speech.audio.done", "usage": {"input_tokens": 2, "output_tokens": 5, "total_tokens": 7}}


async def test_without_encoders_compressed_speech_is_refused_before_the_model_speaks(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    reply = await world.post("/v1/audio/speech", {"model": "echo", "input": "a", "voice": "a"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "response_format")
    assert "wav and pcm" in reply.json()["error"]["message"]
    assert not world.inference.begun
    assert (await world.post("/v1/audio/speech", {"model": "echo", "input": "a", "response_format": "wav"})).status_code == 200


async def test_an_answer_of_the_wrong_kind_is_our_error(world, monkeypatch):
    async def whole(_answering):
        return Speech(wav=b"", sampling_rate=1)

    monkeypatch.setattr("openai_double.Answering.whole", whole)
    for path, body in (
        (CHAT, {"messages": HI}),
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/moderations", {"input": "a"}),
    ):
        reply = await world.post(path, {"model": "echo", **body})
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")


async def _leave_after(world, path, body, marker):
    """Ask as a client that closes its connection once it has read `marker`; all that it was sent."""
    left = asyncio.Event()
    sent = bytearray()
    raw = json.dumps(body).encode()
    requests = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive():
        if requests:
            return requests.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.extend(message.get("body", b""))
        if marker in sent:
            left.set()

    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-length", str(len(raw)).encode())]
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST", "path": path, "raw_path": path.encode()}
    await asyncio.wait_for(world.app({**scope, "query_string": b"", "headers": headers}, receive, send), 10)
    return bytes(sent)
