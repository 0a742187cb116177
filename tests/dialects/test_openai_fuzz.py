"""Whatever a client sends, it is answered with a success or a 4xx that has the error's four keys."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_double import World

FIELDS = {
    "/v1/chat/completions": [
        *(
            "messages",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "n",
            "stop",
            "seed",
            "max_tokens",
            "max_completion_tokens",
            "stream",
            "stream_options",
        ),
        *(
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "metadata",
            "user",
            "store",
        ),
        *("frequency_penalty", "repetition_penalty", "audio", "modalities", "functions", "prediction", "service_tier"),
    ],
    "/v1/completions": [
        "prompt",
        "echo",
        "logprobs",
        "n",
        "best_of",
        "suffix",
        "stream",
        "stream_options",
        "max_tokens",
        "logit_bias",
        "stop",
        "seed",
    ],
    "/v1/embeddings": ["input", "encoding_format", "dimensions", "user"],
    "/v1/moderations": ["input", "user"],
    "/v1/audio/speech": ["input", "voice", "speed", "stream_format", "instructions"],
}
SOUND = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}]},
    "/v1/completions": {"prompt": "a"},
    "/v1/embeddings": {"input": "a"},
    "/v1/moderations": {"input": "a"},
    "/v1/audio/speech": {"input": "a", "response_format": "wav"},
}
WORDS = st.sampled_from(
    [
        *("", "auto", "none", "required", "function", "json_object", "json_schema", "regex", "text", "image_url", "input_audio"),
        *("user", "assistant", "tool", "system", "developer", "wav", "base64", "float", "data:image/png;base64,QQ=="),
        *("\x00", "\u202e", "a" * 3000, "1" * 400),
    ]
)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, -1, 2**31, 2**63, -(2**63), 1e308])
)
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | st.text(st.characters(codec="utf-8"), max_size=20)
KEYS = WORDS | st.sampled_from(
    [
        *(
            "role",
            "content",
            "type",
            "text",
            "name",
            "function",
            "arguments",
            "parameters",
            "tool_calls",
            "tool_call_id",
            "id",
            "image_url",
        ),
        *("url", "input_audio", "data", "format", "schema", "json_schema", "value", "include_usage", "refusal", "strict", "description"),
    ]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": WORDS | st.just("user"), "content": VALUES}, optional={"tool_calls": VALUES, "tool_call_id": SCALARS, "name": SCALARS}
    ),
    max_size=3,
)


@st.composite
def bodies(draw, path):
    """A sound body with a few fields replaced by anything."""
    names = draw(st.lists(st.sampled_from(FIELDS[path]) | st.text(max_size=5), max_size=3, unique=True))
    changed = {name: draw(MESSAGES | VALUES if name == "messages" else VALUES) for name in names}
    return {"model": "echo", **SOUND[path], **changed}


@pytest.mark.parametrize("path", FIELDS)
def test_no_json_body_is_ever_our_error(path):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(path))
    def ask(body):
        _check(_post(path, json.dumps(body).encode()))

    ask()


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60) | st.text().map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(sorted(FIELDS)),
)
def test_no_bytes_are_ever_our_error(body, path):
    _check(_post(path, body))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["language", "prompt", "temperature", "response_format", "timestamp_granularities[]", "stream", "chunking_strategy", "x"]
        ),
        st.text(st.characters(codec="utf-8"), max_size=10)
        | st.sampled_from(["word", "true", "auto", "nan", "srt", "verbose_json", "1e999"]),
        max_size=3,
    )
)
def test_no_form_is_ever_our_error(form):
    _check(_post("/v1/audio/transcriptions", None, data={"model": "echo", **form}, files={"file": ("a", b"x")}))


def _check(reply):
    assert reply.status_code in {200, 400, 404, 413}, reply.text
    if reply.status_code != 200:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    elif reply.headers["content-type"].startswith("text/event-stream"):
        assert '"error"' not in reply.text


def _post(path, content, **form):

    async def post():
        async with World().client() as client:
            return await client.post(path, content=content, **form) if content is not None else await client.post(path, **form)

    return asyncio.run(post())
