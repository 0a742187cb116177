"""Two real replicas of a real (tiny) decoder: a chat goes on where its beginning was read."""

import openai
import pytest
from huggingface_hub import HfApi

import tiny_decoders
from running import running_server

MODEL = "acme/llama"
RULES = "You are the assistant of a shop. " * 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    key = server.new_key("acme", "infer", "read", "write")
    directory = tiny_decoders.build("llama", tmp_path_factory.mktemp("model") / "llama", max_position_embeddings=2048)
    hub = HfApi(endpoint=server.url, token=key)
    hub.create_repo(MODEL)
    hub.upload_folder(folder_path=str(directory), repo_id=MODEL)
    server.deploy(MODEL, replicas=2, pinned=True)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, timeout=100, max_retries=0) as opened:
        yield opened


def ask(client, *turns, **options):
    messages = [{"role": "system", "content": RULES}, *({"role": "user", "content": turn} for turn in turns)]
    return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4, **options)


def outstanding(server):
    return {replica["pid"]: replica["outstanding"] for replica in server.deployment(MODEL)["replicas"]}


def test_a_second_request_finds_the_prefix_that_the_busier_of_two_replicas_has_read(server, client):
    long = {"model": MODEL, "max_tokens": 1500, "logit_bias": {"1": -100}}
    occupying = client.chat.completions.create(messages=[{"role": "user", "content": "hello"}], stream=True, **long)
    next(iter(occupying))
    first = ask(client, "hello")
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    occupying.close()
    for turns in (["how are you"], ["hello world", "and again"], ["what else"]):
        again = ask(client, *turns)
        assert again.usage.prompt_tokens_details.cached_tokens > 0.8 * first.usage.prompt_tokens, turns
    assert len(outstanding(server)) == 2
