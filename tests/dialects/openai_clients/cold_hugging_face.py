"""The same with Hugging Face's client: `cold_hugging_face.py <base url>`."""

import json
import sys

from huggingface_hub import InferenceClient

client = InferenceClient(base_url=f"{sys.argv[1]}/v1", api_key="sk-good")
chunks = client.chat_completion([{"role": "user", "content": "hello"}], model="cold", stream=True)
print(json.dumps({"chat": "".join(chunk.choices[0].delta.content or "" for chunk in chunks)}))
