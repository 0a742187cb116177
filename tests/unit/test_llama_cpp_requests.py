"""Requests in llama.cpp's words, its chunks in ours, and tools for templates that know none."""

import json

import pytest

from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Generate, MediaPart, Message, OutputFormat, Sampling, TextDelta, Tool, ToolCall
from yunmo.core.tool_calls import Rewriting
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.answers import Answer
from yunmo.engines.llama_cpp.requests import chat_body, generate_body, with_seed, with_tools_written_out

HELLO = (Message("user", "Hello"),)
WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
TIME = Tool("time")


def deltas(answer, *chunks):
    return [delta for chunk in chunks for delta in answer.read(json.dumps(chunk).encode())]


def test_what_is_not_asked_for_is_left_to_the_model():
    assert chat_body(Chat(messages=HELLO)) == {"messages": [{"role": "user", "content": "Hello"}]}


def test_sampling_goes_under_llama_cpps_names():
    sampling = Sampling(max_tokens=5, temperature=0.0, top_k=3, repetition_penalty=1.2, stop=("\n",), logit_bias={"7": -100.0})
    body = generate_body(Generate(prompt="x", sampling=sampling), "x")
    assert body == {
        "prompt": "x",
        "max_tokens": 5,
        "temperature": 0.0,
        "top_k": 3,
        "repeat_penalty": 1.2,
        "repeat_last_n": 65536,
        "stop": ["\n"],
        "logit_bias": [[7, -100.0]],
    }


def test_seeds_of_any_size_fit_and_never_mean_random():
    for seed in (0, -1, 2**32 - 1, 2**64 + 5):
        sampling = Sampling(seed=seed)
        assert 0 <= with_seed({}, sampling, 0)["seed"] < 2**32 - 1
        assert with_seed({}, sampling, 0) != with_seed({}, sampling, 1)
    assert with_seed({}, Sampling(), 3) == {}


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Chat(messages=()), "messages"),
        (Chat(messages=HELLO, sampling=Sampling(max_tokens=0)), "max_tokens"),
        (Chat(messages=HELLO, sampling=Sampling(logit_bias={"cat": 1.0})), "logit_bias"),
        (Chat(messages=HELLO, tools=(WEATHER,), tool_choice="news"), "tool_choice"),
        (Chat(messages=HELLO, output_format=OutputFormat("json_schema", "{")), "response_format"),
        (Chat(messages=HELLO, output_format=OutputFormat("json_schema", "3")), "response_format"),
        (Chat(messages=HELLO, output_format=OutputFormat("grammar", "%llguidance {}")), "output_format"),
        (Chat(messages=HELLO, output_format=OutputFormat("grammar", " ")), "output_format"),
    ],
)
def test_a_senseless_field_is_refused_by_its_name(request_, param):
    with pytest.raises(InvalidRequest) as refusal:
        chat_body(request_)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "request_",
    [
        Chat(messages=HELLO, sampling=Sampling(beams=4)),
        Chat(messages=HELLO, output_format=OutputFormat("regex", "a+")),
        Chat(messages=(Message("user", "See", media=(MediaPart("image", b"x"),)),)),
    ],
)
def test_what_llama_cpp_lacks_is_refused_rather_than_ignored(request_):
    with pytest.raises(Unsupported):
        chat_body(request_)


def test_a_tool_chosen_by_name_is_the_only_one_and_required():
    body = chat_body(Chat(messages=HELLO, tools=(WEATHER, TIME), tool_choice="weather"))
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]


def test_with_the_choice_none_no_tools_are_sent():
    assert "tools" not in chat_body(Chat(messages=HELLO, tools=(WEATHER,), tool_choice="none"))


def test_a_conversation_with_tool_calls_keeps_their_ids():
    call = ToolCall("id1", "weather", '{"city":"Paris"}')
    turns = (*HELLO, Message("assistant", tool_calls=(call,)), Message("tool", "sunny", tool_call_id="id1"))
    sent = chat_body(Chat(messages=turns))["messages"]
    assert sent[1]["tool_calls"][0] == {"id": "id1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    assert sent[2] == {"role": "tool", "content": "sunny", "tool_call_id": "id1"}


def test_chunks_become_deltas_and_progress_reports_do_not():
    answer = Answer(None)
    found = deltas(
        answer,
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}], "prompt_progress": {"total": 3}},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}},
    )
    assert found == [TextDelta(reasoning="Hm."), TextDelta(text="Hi"), TextDelta(finish_reason="stop")]
    assert answer.usage() == Usage(input_tokens=9, output_tokens=2, cached_tokens=4)


def test_choices_share_the_price_of_their_prompt():
    answer = Answer(None, first_choice=4)
    (delta,) = deltas(
        answer,
        {"choices": [{"index": 1, "text": "b"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}},
    )
    assert delta == TextDelta(choice=5, text="b")
    assert answer.usage() == Usage(input_tokens=9, output_tokens=5, cached_tokens=0)


def test_alternatives_are_cut_to_what_was_asked():
    tokens = [
        {"id": 1, "token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": [{"id": 1, "token": "a", "bytes": [97], "logprob": -0.5}]}
    ]
    chunk = {"choices": [{"index": 0, "text": "a", "logprobs": {"content": tokens}}]}
    assert deltas(Answer(0), chunk)[0].logprobs[0].top == ()
    assert deltas(Answer(1), chunk)[0].logprobs[0].top[0].token == "a"
    assert deltas(Answer(None), chunk)[0].logprobs == ()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 400, "type": "exceed_context_size_error", "message": "", "n_prompt_tokens": 99, "n_ctx": 64}, ContextTooLong),
        ({"code": 400, "type": "invalid_request_error", "message": "bad"}, InvalidRequest),
        ({"code": 500, "type": "server_error", "message": "bad"}, EngineFailed),
    ],
)
def test_an_error_chunk_raises_our_error(error, expected):
    with pytest.raises(expected):
        deltas(Answer(None), {"error": error})


# ---------------------------------------------------------------- tools without a template for them


def rewriting(**changes):
    return Rewriting.of(Chat(messages=(Message("system", "Be kind."), *HELLO), tools=(WEATHER, TIME), **changes))


def test_the_tools_are_written_into_the_system_message_and_the_answer_gets_a_schema():
    chat = Chat(messages=(Message("system", "Be kind."), *HELLO), tools=(WEATHER,), tool_choice="required", parallel_tool_calls=False)
    body = with_tools_written_out(chat_body(chat), Rewriting.of(chat))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)
    assert body["messages"][0]["content"].startswith("Be kind.")
    assert '"weather"' in body["messages"][0]["content"]
    calls = body["response_format"]["json_schema"]["schema"]["properties"]["tool_calls"]
    assert calls["maxItems"] == 1
    assert calls["items"]["properties"]["name"] == {"const": "weather"}


def test_references_inside_a_tools_parameters_still_find_their_definitions():
    parameters = {"type": "object", "properties": {"at": {"$ref": "#/$defs/place"}, "$ref": {}}, "$defs": {"place": {"type": "string"}}}
    chat = Chat(messages=HELLO, tools=(TIME, Tool("go", parameters=json.dumps(parameters))))
    schema = Rewriting.of(chat).schema()
    written = json.dumps(schema)
    (reference,) = (each for each in written.split('"') if each.endswith("/place"))
    found = schema
    for name in reference.removeprefix("#/").split("/"):
        found = found[int(name)] if isinstance(found, list) else found[name]
    assert found == {"type": "string"}


def test_earlier_calls_and_answers_become_plain_turns():
    call = ToolCall("id1", "weather", '{"city":"Paris"}')
    chat = Chat(messages=(*HELLO, Message("assistant", tool_calls=(call,)), Message("tool", "sunny", tool_call_id="id1")), tools=(WEATHER,))
    system, _, called, answered = with_tools_written_out(chat_body(chat), Rewriting.of(chat))["messages"]
    assert system["role"] == "system"
    assert json.loads(called["content"]) == {"tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}]}
    assert answered == {"role": "user", "content": "The function answered: sunny"}


def test_the_json_answer_is_told_as_calls_when_it_is_whole():
    reader = rewriting()
    assert reader.read(TextDelta(text='{"tool_calls":[{"name":"weather",')) is None
    told = reader.read(TextDelta(text='"arguments":{"city":"北京"}}]}', finish_reason="stop"))
    (call,) = told.tool_calls
    assert (call.index, call.name, call.arguments) == (0, "weather", '{"city": "北京"}')
    assert call.id.startswith("call_")
    assert (told.text, told.finish_reason) == ("", "tool_calls")


def test_the_json_answer_is_told_as_text_when_the_model_speaks_itself():
    told = rewriting().read(TextDelta(choice=2, text='{"response":"Good day."}', finish_reason="stop"))
    assert told == TextDelta(choice=2, text="Good day.", finish_reason="stop")


@pytest.mark.parametrize(
    ("cut", "said"),
    [('{"response":"Good', "Good"), ('{"response": "a \\u00', "a "), ('{"response":"a\\', "a"), ('{"response"', ""), ("Good", "Good")],
)
def test_text_that_was_cut_off_is_told_as_far_as_it_came(cut, said):
    told = rewriting().read(TextDelta(text=cut, finish_reason="length"))
    assert (told.text, told.tool_calls, told.finish_reason) == (said, (), "length")


def test_half_a_character_that_was_escaped_is_left_out():
    told = rewriting().read(TextDelta(text='{"response":"so \\ud83d', finish_reason="length"))
    assert told.text == "so "


@pytest.mark.parametrize(
    ("cut", "calls"),
    [
        ('{"tool_calls":[{"na', []),
        ('{"tool_calls":[{"name":"weather","arguments":{"city":"Par', [("weather", '{"city":"Par')]),
        (
            '{"tool_calls":[{"name":"weather","arguments":{"city":"Paris"}},{"name":"time","arguments":{"zo',
            [("weather", '{"city":"Paris"}'), ("time", '{"zo')],
        ),
    ],
)
def test_calls_that_were_cut_off_are_told_as_far_as_they_came_and_never_as_text(cut, calls):
    told = rewriting().read(TextDelta(text=cut, finish_reason="length"))
    assert [(call.name, call.arguments) for call in told.tool_calls] == calls
    assert (told.text, told.finish_reason) == ("", "length")


def test_tools_and_a_response_format_together_are_refused():
    with pytest.raises(Unsupported):
        rewriting(output_format=OutputFormat("json"))
