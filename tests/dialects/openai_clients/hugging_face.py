"""Hugging Face's client chats with a model by its address: `hugging_face.py <base url>`; prints what it saw as JSON."""

import json
import sys

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

BASE = sys.argv[1]
HI = [{"role": "user", "content": "hi you"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "said", "schema": {"type": "object"}}}

for address in (
    f"{BASE}/models/acme/echo",
    f"{BASE}/models/acme/echo/v1",
    f"{BASE}/hf-inference/models/echo",
    f"{BASE}/models/echo/v1/chat/completions",
):
    client = InferenceClient(base_url=address, api_key="sk-good")
    reply = client.chat_completion(HI, max_tokens=9, temperature=0.5, seed=1, stop=["x"])
    assert reply.choices[0].message.content == "You said hi you", reply
    assert reply.usage.total_tokens == 5
    text = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat_completion(HI, stream=True))
    assert text == "You said hi you"
    structured = json.loads(client.chat_completion(HI, response_format=SCHEMA).choices[0].message.content)
    assert structured["form"] == "json_schema", structured
    call = client.chat_completion(HI, tools=TOOLS, tool_choice="auto").choices[0].message.tool_calls[0]
    assert call.function.name == "look_up"

try:
    InferenceClient(base_url=f"{BASE}/models/no/such", api_key="sk-good").chat_completion(HI)
    raise AssertionError("an unknown model answered")
except HfHubHTTPError as error:
    assert error.response.status_code == 404  # noqa: PT017 - this program runs without pytest
print(json.dumps({"chat": True}))
