import concurrent.futures
import json
import os
import time
from pathlib import Path

import pytest

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, MediaPart, Message, ToolCall
from yunmo.engines.chats.templates import Renderer, values_of

CHAT = Chat(
    messages=(Message(role="system", content="be kind"), Message(role="user", content="hi <b>\n"), Message(role="assistant", content="yes"))
)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def rendered(renderer, request=CHAT):
    return renderer.render([values_of(each) for each in request.messages])


@pytest.fixture
def render():
    made = []

    def text_of(template: str, request: Chat = CHAT) -> str:
        made.append(Renderer(template, SPECIAL))
        return rendered(made[-1], request)

    yield text_of
    for renderer in made:
        renderer.close()


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ bos_token + m.role + ': ' + m['content'] }}\n{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
        "{%- set ns = namespace(n=0) -%}{%- for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% if loop.last %}{% break %}{% endif %}{%- endfor %}",
        "{{ messages | tojson }} {{ messages | tojson(indent=2) }} {{ dict(a=1) }} {{ messages[0].content | upper | trim }}",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ tools is none }}{{ unknown is defined }}",
        "{% macro show(m) %}[{{ m.role }}]{% endmacro %}{% for m in messages %}{{ show(m) }}{% endfor %}",
    ],
)
def test_templates_render_as_the_library_renders_them(render, template):
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": message.role, "content": message.content} for message in CHAT.messages]
    expected, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **SPECIAL)
    assert render(template) == expected[0]


def test_tool_calls_of_the_past_reach_the_template_as_objects(render):
    call = ToolCall(id="1", name="look", arguments='{"place": "x"}')
    request = Chat(
        messages=(Message(role="assistant", tool_calls=(call,)), Message(role="tool", content="y", tool_call_id="1", name="look"))
    )
    found = json.loads(render("{{ messages | tojson }}", request))
    assert found[0]["tool_calls"][0]["function"] == {"name": "look", "arguments": {"place": "x"}}
    assert (found[1]["tool_call_id"], found[1]["name"]) == ("1", "look")


def test_a_templates_own_refusal_reaches_the_caller(render):
    with pytest.raises(InvalidRequest, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{{ lipsum.__globals__ }}",
        "{% set ns = namespace(__class__=1) %}{{ ns }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% if %}",
    ],
)
def test_escapes_from_the_sandbox_are_refused(render, template):
    try:
        text = render(template)
    except InvalidRequest:
        return
    assert "class" not in text
    assert "root:" not in text


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ 'A' * 2000000000 }}",
        "{% set ns = namespace(s='A') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_a_template_without_end_is_stopped_and_the_next_chat_goes_on(template):
    evil, good = Renderer(template, SPECIAL), Renderer("{{ messages[1].content }}", SPECIAL)
    try:
        began = time.monotonic()
        with pytest.raises(InvalidRequest, match="template"):
            rendered(evil)
        assert time.monotonic() - began < 25
        assert evil._program._process is None or evil._program._process.poll() is None
        assert rendered(good) == "hi <b>\n"
    finally:
        evil.close()
        good.close()


def test_an_evil_templates_process_is_gone_after_it_was_stopped():
    renderer = Renderer("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", SPECIAL)
    pids = []
    ask = renderer._program.ask

    def noting(question):
        answer = ask(question)
        pids.append(renderer._program._process)
        return answer

    renderer._program.ask = noting
    with pytest.raises(InvalidRequest, match="time and memory"):
        rendered(renderer)
    assert pids == [None]


def test_the_process_sees_neither_secrets_nor_more_than_it_needs(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    renderer = Renderer("x", SPECIAL)
    rendered(renderer)
    assert "hidden" not in Path(f"/proc/{renderer._program._process.pid}/environ").read_text("utf-8")
    renderer.close()
    assert renderer._program._process is None


def test_chats_at_the_same_time_get_their_own_prompts():
    renderer = Renderer("{{ messages[0].content }}", SPECIAL)
    texts = [f"text {number}" * (number + 1) for number in range(30)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: rendered(renderer, Chat(messages=(Message(role="user", content=text),))), texts))
    renderer.close()
    assert found == texts


def test_a_dead_process_is_started_again():
    renderer = Renderer("{{ messages[0].role }}", SPECIAL)
    assert rendered(renderer) == "system"
    os.kill(renderer._program._process.pid, 9)
    renderer._program._process.wait()
    assert rendered(renderer) == "system"
    renderer.close()


def test_pictures_are_refused_by_a_text_model(render):
    with pytest.raises(Unsupported, match="text only"):
        render("x", Chat(messages=(Message(role="user", media=(MediaPart(kind="image", data=b"x"),)),)))
