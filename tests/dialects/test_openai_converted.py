"""A decoder pushed as safetensors, by transformers itself, chats through OpenAI's client on llama.cpp; what cannot be converted chats all the same."""

import os
import subprocess
import sys

import openai
import pytest

import tiny_decoders
from running import running_server

PUSH = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, name = sys.argv[1:]
AutoModelForCausalLM.from_pretrained(folder).push_to_hub(name)
AutoTokenizer.from_pretrained(folder).push_to_hub(name)
"""
ASKED = [{"role": "user", "content": "hello world how are you"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        yield running


@pytest.fixture(scope="module")
def key(server):
    return server.new_key("acme", "infer", "read", "write")


def push(server, key, directory, name):
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": key, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    subprocess.run([sys.executable, "-c", PUSH, str(directory), name], env=environment, check=True, timeout=120)


def test_a_pushed_llama_chats_on_llama_cpp(server, key, tmp_path):
    push(server, key, tiny_decoders.build("llama", tmp_path / "llama"), "acme/llama")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, timeout=150, max_retries=0)
    chat = client.chat.completions.create(model="acme/llama", messages=ASKED, max_tokens=8, logit_bias={"1": -100})
    assert chat.choices[0].finish_reason == "length"
    assert chat.usage.completion_tokens == 8
    view = server.deployment("acme/llama")
    assert (view["engine"], view["plan"]["precision"], view["tasks"]) == ("llama_cpp", "F16", ["chat", "generate"])

    streamed = client.chat.completions.create(model="acme/llama", messages=ASKED, max_tokens=8, logit_bias={"1": -100}, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)
    assert text == chat.choices[0].message.content


def test_one_whose_tokenizer_llama_cpp_does_not_have_chats_on_transformers(server, key, tmp_path):
    directory = tiny_decoders.build("llama-unigram", tmp_path / "unigram")
    (directory / "chat_template.jinja").write_text("{% for each in messages %}{{ each.content }}{% endfor %}")
    push(server, key, directory, "acme/unigram")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, timeout=150, max_retries=0)
    chat = client.chat.completions.create(model="acme/unigram", messages=ASKED, max_tokens=8)
    assert chat.usage.completion_tokens > 0
    assert server.deployment("acme/unigram")["engine"] == "transformers"
    assert "type Unigram" in server.log()
