"""Conversations as a trainer reads them: what is learnt is told token by token, and prompts are those that engines serve."""

import json

import msgspec
import pytest
from transformers import AutoTokenizer

import tiny_decoders
from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Conversation
from yunmo.core.tasks import Chat
from yunmo.engines.chats.asking import asked
from yunmo.engines.chats.text import Text
from yunmo.engines.trainer.conversations import Conversations, learnt_turns, message_of, tool_of

CHATML = """\
{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' }}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}
{{- 'Call them in <tool_call></tool_call>.<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA3 = """\
{{- bos_token }}{% for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
MISTRAL = """\
{{- bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}
{%- else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"""
THINKING = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{{- message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
OPEN_THOUGHT = THINKING.replace("assistant\\n' }}{% endif %}", "assistant\\n<think>\\n' }}{% endif %}").replace(
    "<think>\\n\\n</think>\\n\\n", ""
)
PLAIN = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TOOL = {"type": "function", "function": {"name": "look", "description": "looks", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def reading(tmp_path):
    made = []

    def read(template, tokenizer="smollm", special=SPECIAL):
        tiny_decoders.TOKENIZERS[tokenizer](tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        loaded.chat_template = template
        loaded.add_special_tokens({"additional_special_tokens": special})
        loaded.bos_token = {"llama2": "<s>", "gemma": "<bos>"}.get(tokenizer, "<|begin|>")
        loaded.save_pretrained(tmp_path)
        made.append(Conversations(loaded, {loaded.eos_token_id}))
        return made[-1], loaded

    yield read
    for each in made:
        each.close()


def conversation(*turns, **more):
    messages = [{"role": role, "content": content, **(rest[0] if rest else {})} for role, content, *rest in turns]
    row = msgspec.convert({"messages": messages, **more}, Conversation)
    row.check()
    return row


def examples(conversations, row):
    tools = [tool_of(tool, place) for place, tool in enumerate(row.tools or ())]
    return conversations.examples([message_of(turn) for turn in row.messages], tools, learnt_turns(row.messages))


def marked(tokenizer, example):
    """The text with what is learnt between « and », as the tokens have it."""
    assert len(example["input_ids"]) == len(example["labels"])
    text, was_learnt = "", False
    for token, label in zip(example["input_ids"], example["labels"], strict=True):
        assert label in {token, -100}
        if (label != -100) != was_learnt:
            was_learnt = not was_learnt
            text += "«" if was_learnt else "»"
        text += tokenizer.decode([token])
    return text + ("»" if was_learnt else "")


TURNS = (("system", "be kind"), ("user", "hello"), ("assistant", "hello world"), ("user", "how are you"), ("assistant", "i am fine"))


def test_chatml_is_learnt_from_where_the_assistant_speaks_to_the_end_of_its_turn(reading):
    conversations, tokenizer = reading(CHATML)
    [example] = examples(conversations, conversation(*TURNS))
    assert marked(tokenizer, example) == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\n«hello world<|im_end|>»\n<|im_start|>user\nhow are you<|im_end|>\n"
        "<|im_start|>assistant\n«i am fine<|im_end|>»\n"
    )
    assert conversations.new_ends == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_llama_3s_form_is_learnt_to_its_own_end_of_turn(reading):
    conversations, tokenizer = reading(LLAMA3, "llama3")
    [example] = examples(conversations, conversation(*TURNS[1:]))
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    assert marked(tokenizer, example) == (
        f"<|begin|>{head.format('user')}hello<|eot_id|>{head.format('assistant')}«hello world<|eot_id|>»"
        f"{head.format('user')}how are you<|eot_id|>{head.format('assistant')}«i am fine<|eot_id|>»"
    )


def test_mistrals_form_with_pieces_that_begin_with_a_space_is_the_whole_texts_tokens(reading):
    conversations, tokenizer = reading(MISTRAL, "llama2", ["[INST]", "[/INST]"])
    [example] = examples(conversations, conversation(*TURNS[1:]))
    whole = tokenizer.apply_chat_template([{"role": role, "content": content} for role, content in TURNS[1:]], tokenize=False)
    assert example["input_ids"] == tokenizer(whole, add_special_tokens=False)["input_ids"]
    learnt = [token for token in example["labels"] if token != -100]
    assert (
        "".join(tokenizer.convert_ids_to_tokens(learnt)).replace("▁", " ") == "  hello world</s>  i am fine</s>"
    )  # as after any special token


def test_messages_of_weight_0_are_read_and_not_learnt(reading):
    conversations, tokenizer = reading(CHATML)
    row = conversation(*TURNS[1:2], ("assistant", "hello world", {"weight": 0}), *TURNS[3:])
    [example] = examples(conversations, row)
    assert "assistant\nhello world<|im_end|>\n" in marked(tokenizer, example)
    assert marked(tokenizer, example).count("«") == 1


def test_calls_of_tools_are_learnt_in_the_templates_form_and_answers_of_tools_are_not(reading):
    conversations, tokenizer = reading(CHATML)
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"place": "paris"}'}}
    row = conversation(
        ("user", "where"),
        ("assistant", None, {"tool_calls": [call]}),
        ("tool", "france", {"tool_call_id": "c1"}),
        ("assistant", "france"),
        tools=[TOOL],
    )
    [example] = examples(conversations, row)
    assert (
        '<|im_start|>assistant\n«\n<tool_call>\n{"name": "look", "arguments": {"place": "paris"}}\n</tool_call><|im_end|>»\n'
        "<|im_start|>tool\nfrance<|im_end|>\n<|im_start|>assistant\n«france<|im_end|>»\n"
    ) in marked(tokenizer, example)


def test_where_a_template_knows_no_tools_answers_are_learnt_in_the_form_that_serving_holds_them_to(reading):
    conversations, tokenizer = reading(LLAMA3, "llama3")
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"place": "paris"}'}}
    row = conversation(
        ("user", "where"),
        ("assistant", None, {"tool_calls": [call]}),
        ("tool", "france", {"tool_call_id": "c1"}),
        ("assistant", "france"),
        tools=[TOOL],
    )
    [example] = examples(conversations, row)
    text = marked(tokenizer, example)
    assert "You can call these functions:" in text
    assert '«{"tool_calls": [{"name": "look", "arguments": {"place": "paris"}}]}<|eot_id|>»' in text
    assert '«{"response": "france"}<|eot_id|>»' in text


@pytest.mark.parametrize(("template", "tools"), [(CHATML, ()), (CHATML, (TOOL,)), (LLAMA3, ()), (LLAMA3, (TOOL,)), (PLAIN, ())])
def test_what_is_read_before_an_answer_is_the_prompt_that_engines_serve(reading, tmp_path, template, tools):
    conversations, tokenizer = reading(template, "llama3")
    row = conversation(*TURNS[:3], tools=list(tools) or None)
    [example] = examples(conversations, row)
    before = next(place for place, label in enumerate(example["labels"]) if label != -100)
    text = Text(tmp_path, len(tokenizer))
    try:
        messages = tuple(message_of(turn) for turn in row.messages[:-1])
        served = asked(text, Chat(messages=messages, tools=tuple(tool_of(tool, 0) for tool in tools))).prompt
    finally:
        text.close()
    assert example["input_ids"][:before] == served


def test_an_answer_that_is_written_otherwise_later_is_learnt_as_it_is_when_it_is_answered(reading):
    conversations, tokenizer = reading(THINKING)
    first, second = (marked(tokenizer, each) for each in examples(conversations, conversation(*TURNS[1:])))
    assert first == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n«<think>\n\n</think>\n\nhello world<|im_end|>»\n"
    assert "assistant\nhello world<|im_end|>" in second
    assert second.endswith("«<think>\n\n</think>\n\ni am fine<|im_end|>»\n")


def test_a_prompt_that_opens_a_thought_is_told_and_learnt_from_where_both_agree(reading):
    conversations, tokenizer = reading(OPEN_THOUGHT)
    [example] = examples(conversations, conversation(*TURNS[1:3]))
    assert marked(tokenizer, example).endswith("assistant\n«hello world<|im_end|>»\n")
    assert "begins an answer otherwise" in conversations.notes[0]


def test_a_template_that_ends_no_turn_still_teaches_to_stop(reading):
    conversations, tokenizer = reading(PLAIN)
    [example] = examples(conversations, conversation(*TURNS[1:]))
    assert marked(tokenizer, example).endswith("assistant: «i am fine\n<|end|>»")


@pytest.mark.parametrize(("special", "end"), [(["<|im_start|>", "<|im_end|>"], "<|im_end|>"), ([], "<|end|>")])
def test_a_base_without_a_template_gets_chatml_with_an_end_that_is_one_token(reading, special, end):
    conversations, tokenizer = reading(None, special=special)
    [example] = examples(conversations, conversation(*TURNS[1:3]))
    assert marked(tokenizer, example) == f"<|im_start|>user\nhello{end}\n<|im_start|>assistant\n«hello world{end}»\n"
    assert tokenizer.chat_template
    assert "no chat template" in conversations.notes[0]


def test_a_base_that_begins_its_texts_with_a_token_gets_chatml_that_does(reading):
    conversations, tokenizer = reading(None, "gemma")
    [example] = examples(conversations, conversation(*TURNS[1:3]))
    assert marked(tokenizer, example).startswith("<bos><|im_start|>user\n")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no ' + messages[0].role) }}", "no user"),
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "did not end within its time"),
        ("{{ messages[-1].content }}", "cannot be learnt"),
    ],
)
def test_a_template_that_fails_or_hangs_or_forgets_is_told(reading, template, reason):
    conversations, _ = reading(template)
    with pytest.raises(InvalidRequest, match=reason):
        examples(conversations, conversation(("user", "x"), ("assistant", "y")))


def test_a_tool_that_is_none_is_told_with_its_place():
    with pytest.raises(InvalidRequest, match="A tool is") as caught:
        tool_of(json.loads('{"name": "look"}'), 2)
    assert caught.value.param == "tools[2]"
