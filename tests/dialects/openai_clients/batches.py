"""A customer's program with files, uploads and batches: `batches.py <base url> <key>`; prints what it saw as JSON.

Only calls that every version from 1.x on has are made here.
"""

import io
import json
import sys
import time

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])
seen = {"version": openai.__version__}


def lines(count, model="talk"):
    body = {"model": model, "messages": [{"role": "user", "content": "hello big world"}]}
    rows = [{"custom_id": f"row-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(count)]
    return "\n".join(json.dumps(row) for row in rows).encode()


def files():
    made = client.files.create(file=("训练.jsonl", io.BytesIO(b'{"a": 1}\n')), purpose="fine-tune")
    assert (made.filename, made.bytes, made.purpose, made.status) == ("训练.jsonl", 9, "fine-tune", "processed")
    assert client.files.retrieve(made.id).id == made.id
    assert client.files.content(made.id).read() == b'{"a": 1}\n'
    more = [client.files.create(file=(f"{n}.jsonl", b"{}"), purpose="user_data") for n in range(3)]
    listed = list(client.files.list(purpose="user_data", limit=2))  # follows `after` by itself
    assert [file.id for file in listed] == [file.id for file in reversed(more)], listed
    assert client.files.delete(made.id).deleted
    try:
        client.files.retrieve(made.id)
        raise AssertionError("a deleted file was found")
    except openai.NotFoundError as error:
        assert error.param == "file_id"  # noqa: PT017 - this program runs without pytest


def uploads():
    upload = client.uploads.create(filename="big.jsonl", bytes=6, purpose="user_data", mime_type="text/jsonl")
    parts = [client.uploads.parts.create(upload.id, data=data) for data in (b"abc", b"def")]
    done = client.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert (done.status, done.file.bytes) == ("completed", 6)
    assert client.files.content(done.file.id).read() == b"abcdef"
    assert (
        client.uploads.cancel(client.uploads.create(filename="x", bytes=1, purpose="batch", mime_type="text/plain").id).status
        == "cancelled"
    )


def batches():
    given = client.files.create(file=("in.jsonl", lines(50)), purpose="batch")
    assert given.expires_at - given.created_at == 30 * 24 * 3600
    batch = client.batches.create(
        input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"who": "anna"}
    )
    while batch.status not in {"completed", "failed", "expired", "cancelled"}:
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (50, 50, 0)
    assert batch.metadata == {"who": "anna"}
    assert batch.completed_at >= batch.in_progress_at >= batch.created_at
    rows = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert {row["custom_id"] for row in rows} == {f"row-{n}" for n in range(50)}
    assert all(row["response"]["body"]["choices"][0]["message"]["content"] == "hello big world" for row in rows)
    assert all(row["error"] is None and row["response"]["status_code"] == 200 for row in rows)
    assert batch.id in [each.id for each in client.batches.list(limit=1)]


def refused_batches():
    given = client.files.create(file=("in.jsonl", lines(2) + b'\n{"custom_id": "row-0"'), purpose="batch")
    batch = client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status not in {"completed", "failed"}:
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "failed"
    assert [(problem.line, problem.code) for problem in batch.errors.data] == [(3, "invalid_json_line")]


for step in (files, uploads, batches, refused_batches):
    step()
    seen[step.__name__] = True
print(json.dumps(seen))
