"""A customer's program: run by each major version of the official client as `journey.py <base url>`; prints what it saw as JSON.

Only calls that every version from 1.x on has are made here.
"""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

BASE, KEY = sys.argv[1], "sk-good"
HI = [{"role": "user", "content": "hi you"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks up",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
        },
    }
]
client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
seen = {"version": openai.__version__}


class Said(BaseModel):
    text: str
    form: str


def models():
    assert "acme/echo" in [model.id for model in client.models.list()]
    assert client.models.retrieve("acme/echo").owned_by == "acme"


def chat():
    reply = client.chat.completions.create(model="echo", messages=HI, n=2, temperature=0, user="u", store=False, extra_body={"top_k": 5})
    assert [choice.message.content for choice in reply.choices] == ["You said hi you"] * 2
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (2, 5, 1)
    assert reply.system_fingerprint == "fp_0123456789ab"
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=HI)
    assert raw.headers["x-ratelimit-remaining-requests"] == "59"
    assert raw.parse().choices[0].finish_reason == "stop"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def logprobs():
    reply = client.chat.completions.create(model="echo", messages=HI, logprobs=True, top_logprobs=2)
    first = reply.choices[0].logprobs.content[0]
    assert (first.token, first.logprob, bytes(first.bytes), first.top_logprobs[1].logprob) == ("You", -0.5, b"You", -9999.0)


def stream():
    chunks = list(client.chat.completions.create(model="echo", messages=HI, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "You said hi you"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 5)
    assert len({chunk.id for chunk in chunks}) == 1


def tools():
    asked = client.chat.completions.create(model="echo", messages=HI, tools=TOOLS).choices[0]
    call = asked.message.tool_calls[0]
    assert (asked.finish_reason, call.function.name, json.loads(call.function.arguments)) == ("tool_calls", "look_up", {"text": "hi you"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "found it"}
    answered = client.chat.completions.create(model="echo", messages=[*HI, asked.message, result], tools=TOOLS)
    assert answered.choices[0].message.content == "You said found it"
    pieces = [
        chunk.choices[0].delta.tool_calls for chunk in client.chat.completions.create(model="echo", messages=HI, tools=TOOLS, stream=True)
    ]
    arguments = "".join(piece[0].function.arguments for piece in pieces if piece)
    assert json.loads(arguments) == {"text": "hi you"}


def structured():
    completions = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    parsed = completions(model="echo", messages=HI, response_format=Said).choices[0].message.parsed
    assert parsed == Said(text="hi you", form="json_schema")
    plain = client.chat.completions.create(model="echo", messages=HI, response_format={"type": "json_object"})
    assert json.loads(plain.choices[0].message.content)["form"] == "json"


def completions():
    reply = client.completions.create(model="echo", prompt=["Once", "Twice"], n=2, logprobs=1, echo=True)
    assert [(choice.index, choice.text) for choice in reply.choices] == [
        (0, "Once and on"),
        (1, "Once and on"),
        (2, "Twice and on"),
        (3, "Twice and on"),
    ]
    assert reply.choices[0].logprobs.text_offset == [0, 4, 8]
    chunks = client.completions.create(model="echo", prompt="Once", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == " and on"


def embeddings():
    default = client.embeddings.create(model="echo", input=["ab", "abc"])
    assert [each.embedding for each in default.data] == [[0.25] * 4, [0.375] * 4]
    assert client.embeddings.create(model="echo", input=["ab", "abc"], encoding_format="float").data[1].embedding == [0.375] * 4
    assert len(client.embeddings.create(model="echo", input=[[1, 2], [3]], dimensions=7).data[0].embedding) == 7


def audio():
    def listen(**options):
        return client.audio.transcriptions.create(model="echo", file=("speech.wav", b"RIFF"), **options)

    assert listen().text == "Hello there. Good --> bye."
    assert listen(response_format="text").strip() == "Hello there. Good --> bye."
    assert listen(response_format="srt").startswith("1\n00:00:00,000 --> 00:00:01,250\n")
    assert listen(response_format="vtt").startswith("WEBVTT\n\n00:00:00.000")
    verbose = listen(response_format="verbose_json", timestamp_granularities=["word", "segment"], language="de", temperature=0.2)
    assert (verbose.language, float(verbose.duration), verbose.words[1].word) == ("de", 3.0, "there.")
    assert (verbose.segments[1].start, verbose.segments[1].no_speech_prob) == (1.5, 0.0)
    events = list(listen(stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text
    assert client.audio.translations.create(model="echo", file=("speech.wav", b"RIFF")).text == "Hello there. Good --> bye."
    speech = client.audio.speech.create(model="echo", input="ten chars.", voice="alloy", response_format="wav")
    assert speech.read().startswith(b"RIFF")


def moderations():
    result = client.moderations.create(input=["I kill you", "I like you"]).results
    assert [each.flagged for each in result] == [True, False]


def errors():
    def caught(kind, call):
        try:
            call()
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    def ask(asker=client, **options):
        return asker.chat.completions.create(**{"model": "echo", "messages": HI, **options})

    missing = caught(openai.NotFoundError, lambda: ask(model="gpt-9"))
    assert (missing.code, missing.param, bool(missing.request_id)) == ("model_not_found", "model", True)
    bad = caught(openai.BadRequestError, lambda: ask(n=99))
    assert (bad.param, bad.type) == ("n", "invalid_request_error")
    assert caught(openai.BadRequestError, lambda: ask(extra_body={"nonsense": 1})).param == "nonsense"
    caught(openai.AuthenticationError, lambda: ask(openai.OpenAI(base_url=f"{BASE}/v1", api_key="sk-wrong")))
    caught(openai.PermissionDeniedError, lambda: ask(openai.OpenAI(base_url=f"{BASE}/v1", api_key="sk-without-scopes")))
    caught(openai.InternalServerError, lambda: ask(model="broken"))
    broken = caught(openai.APIError, lambda: list(ask(model="broken", stream=True)))
    assert broken.code == "engine_failed"


def retries():
    messages = [{"role": "user", "content": "once"}]
    impatient = client.with_options(max_retries=0)
    try:
        impatient.chat.completions.create(model="limited-once", messages=messages)
        raise AssertionError("the first call was not limited")
    except openai.RateLimitError as error:
        assert error.response.headers["retry-after-ms"] == "30"  # noqa: PT017 - this program runs without pytest
    messages[0]["content"] = "twice"
    reply = client.chat.completions.create(model="limited-once", messages=messages)
    assert reply.choices[0].message.content == "You said twice"


async def asynchronous():
    async with openai.AsyncOpenAI(base_url=f"{BASE}/v1", api_key=KEY) as asker:
        stream = await asker.chat.completions.create(model="echo", messages=HI, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "You said hi you"


for step in (models, chat, logprobs, stream, tools, structured, completions, embeddings, audio, moderations, errors, retries):
    step()
    seen[step.__name__] = True
asyncio.run(asynchronous())
print(json.dumps(seen))
