"""From JSON bodies to tasks, and from transcripts to subtitles: no server needed."""

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import (
    Choice,
    Choices,
    Generate,
    Label,
    MediaPart,
    OutputFormat,
    TokenLogprob,
    Tool,
    ToolCall,
    Transcript,
    TranscriptSegment,
    fold,
)
from yunmo.web.dialects.openai.chat_request import chat_request
from yunmo.web.dialects.openai.chat_wire import CHAT_REFUSED, ChatBody, ChatCompletion
from yunmo.web.dialects.openai.completions import Completion, CompletionBody
from yunmo.web.dialects.openai.embeddings import EmbeddingBody, EmbeddingReply
from yunmo.web.dialects.openai.fields import decode
from yunmo.web.dialects.openai.models import ModelList
from yunmo.web.dialects.openai.moderations import ModerationBody, ModerationReply, _result
from yunmo.web.dialects.openai.prompts import prompts_of
from yunmo.web.dialects.openai.speech import SpeechBody
from yunmo.web.dialects.openai.streams import deltas
from yunmo.web.dialects.openai.transcripts import srt, vtt

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def chat(**fields):
    body = {"model": "m", "messages": HI, **fields}
    return chat_request(decode(json.dumps(body).encode(), ChatBody, CHAT_REFUSED))


def test_every_sampling_field_reaches_the_task():
    task = chat(
        temperature=0.5,
        top_p=0.9,
        top_k=-1,
        min_p=0.1,
        repetition_penalty=1.2,
        frequency_penalty=-1,
        presence_penalty=2,
        logit_bias={"7": -100},
        seed=42,
        stop=["a", "b"],
        n=3,
        max_tokens=9,
        max_completion_tokens=5,
        logprobs=True,
        top_logprobs=4,
        parallel_tool_calls=False,
    )
    sampling = task.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 0, 0.1)
    assert (sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty) == (1.2, -1, 2)
    assert (sampling.logit_bias, sampling.seed, sampling.stop, sampling.max_tokens) == ({"7": -100.0}, 42, ("a", "b"), 5)
    assert (task.choices, task.top_logprobs, task.parallel_tool_calls) == (3, 4, False)


def test_what_is_not_said_stays_the_models_default():
    assert chat(temperature=None, stop=None, tools=None, response_format=None, n=None, seed=None) == chat()
    assert chat().sampling == msgspec.convert({}, type(chat().sampling))


def test_messages_keep_their_order_media_and_calls():
    picture = base64.b64encode(b"png").decode()
    task = chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}], "name": "Li"},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        ]
    )
    system, user, assistant, tool = task.messages
    assert (system.role, system.content) == ("system", "Be brief.")
    assert (user.content, user.media, user.name) == (None, (MediaPart("image", b"png"),), "Li")
    assert (assistant.content, assistant.tool_calls) == (None, (ToolCall("c1", "look_up", '{"a":1}'),))
    assert (tool.content, tool.tool_call_id) == ("x\ny", "c1")


def test_tools_keep_their_schema_as_it_was_written():
    schema = '{"type":"object","properties":{"z":{},"a":{}}}'
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]}'
    task = chat_request(decode(body % schema.encode(), ChatBody, CHAT_REFUSED))
    assert task.tools == (Tool("f", "", schema),)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (None, "auto"),
        ({"type": "function", "function": {"name": "look_up"}}, "look_up"),
    ],
)
def test_the_tool_choice_is_a_word_or_a_name(choice, expected):
    assert chat(tools=[TOOL], tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, OutputFormat("json")),
        ({"type": "json_object", "value": {"a": 1}}, OutputFormat("json_schema", '{"a": 1}')),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"a": 1}}},
            OutputFormat("json_schema", '{"a": 1}'),
        ),
        ({"type": "json", "value": {"a": 1}}, OutputFormat("json_schema", '{"a": 1}')),
        ({"type": "regex", "value": "a+"}, OutputFormat("regex", "a+")),
    ],
)
def test_response_formats_become_output_formats(form, expected):
    assert chat(response_format=form).output_format == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%", "format": "wav"}}]}]},
            "messages[0].content[0].input_audio.data",
        ),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"n": 0}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]}, "tools[0].function.parameters"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "regex"}}, "response_format.value"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields, param):
    with pytest.raises(InvalidRequest) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("name", sorted(CHAT_REFUSED))
def test_a_field_that_would_change_the_answer_is_refused_with_a_reason_and_harmless_as_null(name):
    assert chat(**{name: None}) == chat()
    with pytest.raises(Unsupported, match=f"'{name}' is not supported: .+") as caught:
        chat(**{name: {"some": "thing"}})
    assert caught.value.param == name


def test_values_that_change_nothing_are_accepted():
    assert chat(store=False, modalities=["text"], best_of=1, user="u", metadata={"a": "b"}, service_tier="default") == chat()


@given(st.lists(st.text(min_size=1), min_size=1) | st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1), min_size=1))
def test_prompts_of_one_kind_stay_as_they_are(items):
    assert [list(each) if isinstance(each, tuple) else each for each in prompts_of(items, "input", 10_000, may_be_empty=False)] == items


@pytest.mark.parametrize("items", [["a", 1], ["a", [1]], [1, [1]], [[]], ["a", ""], [""], ["x"] * 11])
def test_mixed_empty_or_too_many_prompts_are_refused(items):
    with pytest.raises(InvalidRequest) as caught:
        prompts_of(items, "input", 10, may_be_empty=False)
    assert caught.value.param == "input"


def test_subtitles_count_hours_and_never_contain_a_false_arrow():
    segments = (
        TranscriptSegment(id=0, start=0.0, end=59.9996, text=" one\n\ntwo "),
        TranscriptSegment(id=1, start=3661.5, end=3662.25, text="a --> b"),
    )
    transcript = Transcript(text="", language="en", duration=1.0, segments=segments)
    assert srt(transcript) == "1\n00:00:00,000 --> 00:01:00,000\none two\n\n2\n01:01:01,500 --> 01:01:02,250\na -> b\n\n"
    assert vtt(transcript) == "WEBVTT\n\n00:00:00.000 --> 00:01:00.000\none two\n\n01:01:01.500 --> 01:01:02.250\na -> b\n\n"


@pytest.mark.parametrize("label", ["safe", "not toxic", "non-toxic", "no_violation", "neutral", "OK"])
def test_a_label_that_says_all_is_well_never_flags(label):
    assert not _result((Label(label, 0.99),)).flagged


@pytest.mark.parametrize("label", ["toxic", "not safe", "nsfw", "notorious", "nonsense", "unsafe", "LABEL_1"])
def test_any_other_label_flags_from_one_half(label):
    assert _result((Label(label, 0.5),)).flagged
    assert not _result((Label(label, 0.49),)).flagged


async def test_an_answer_that_comes_whole_streams_to_the_same_answer():
    whole = Choices(
        choices=(
            Choice("one", "stop", "because", (), (TokenLogprob("one", -0.1),)),
            Choice("", "tool_calls", "", (ToolCall("c", "f", "{}"), ToolCall("d", "g", "[]"))),
        )
    )

    async def answering():
        yield whole

    pieces = [delta async for delta in deltas(answering())]
    assert fold(Generate(prompt="", choices=2), pieces) == whole


def test_every_body_and_reply_has_a_json_schema():
    kinds = [
        ChatBody,
        ChatCompletion,
        CompletionBody,
        Completion,
        EmbeddingBody,
        EmbeddingReply,
        ModerationBody,
        ModerationReply,
        ModelList,
        SpeechBody,
    ]
    _, components = msgspec.json.schema_components(kinds)
    assert "messages" in components["ChatBody"]["properties"]
