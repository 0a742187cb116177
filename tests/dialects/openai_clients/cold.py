"""A customer's program that streams from models which have to be loaded first: `cold.py <base url>`; prints what it got as JSON."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-good", max_retries=0)


def chat(model="cold"):
    chunks = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def completions():
    return "".join(chunk.choices[0].text for chunk in client.completions.create(model="cold", prompt="hello", echo=True, stream=True))


def broken():
    try:
        chat("cold-broken")
    except openai.APIError as error:
        return error.message


with ThreadPoolExecutor(3) as threads:
    calls = {call.__name__: threads.submit(call) for call in (chat, completions, broken)}
    print(json.dumps({name: call.result() for name, call in calls.items()}))
