"""Files and batches on a real server: with every major version of the official client, beside people who wait, and under kill -9."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from running import running_server, start_server
from yunmo.cli.main import app

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "dialects" / "openai_clients" / "batches.py"
PYTHONS = {
    "installed": Path(sys.executable),
    **{f"openai-{major}": ROOT / ".clients" / f"openai-{major}" / "bin" / "python" for major in (1, 2, 3)},
}
ENDED = {"completed", "failed", "expired", "cancelled"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        running.deploy("echo", "talk", options={"tasks": ["chat", "embed"]})
        running.deploy("echo", "slow", options={"tasks": ["chat"], "delay_seconds": 0.05, "slots": 4})
        running.deploy("echo", "single", options={"tasks": ["chat"], "delay_seconds": 0.05, "slots": 1})
        running.deploy("echo", "picky", options={"tasks": ["chat"], "error_on": "bad"})
        yield running


def row(number, model, text="hello", url=CHAT, **fields):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body}


def upload(client, rows, purpose="batch"):
    text = rows if isinstance(rows, bytes) else "\n".join(json.dumps(each) for each in rows).encode()
    reply = client.post("/v1/files", files={"file": ("in.jsonl", text)}, data={"purpose": purpose})
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def begin(client, rows, endpoint=CHAT, **options):
    file = upload(client, rows)
    body = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}
    reply = client.post("/v1/batches", json=body, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


def wait(client, batch, seconds=60):
    deadline = time.monotonic() + seconds
    while batch["status"] not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
        batch = client.get(f"/v1/batches/{batch['id']}").json()
    return batch


def output(client, file_id):
    return [json.loads(line) for line in client.get(f"/v1/files/{file_id}/content").text.splitlines()]


@pytest.mark.parametrize("name", PYTHONS)
def test_the_official_clients_keep_files_and_run_batches(server, name):
    if not PYTHONS[name].exists():
        pytest.skip(f"there is no environment .clients/{name}")
    command = [str(PYTHONS[name]), str(PROGRAM), server.url, server.new_key(f"customer-{name}", "infer")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert all(seen[step] for step in ("files", "uploads", "batches", "refused_batches"))
    assert name == "installed" or seen["version"].startswith(name.removeprefix("openai-") + ".")


def test_what_fails_is_written_down_apart_with_the_error_that_a_request_would_get(server):
    with server.client() as client:
        texts = ["good", "bad", "good"]
        batch = wait(client, begin(client, [row(n, "picky", text) for n, text in enumerate(texts)] + [row(3, "no/such")]))
        assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
        assert batch["usage"]["total_tokens"] > 0
        failed = {each["custom_id"]: each["response"] for each in output(client, batch["error_file_id"])}
        assert {each["custom_id"] for each in output(client, batch["output_file_id"])} == {"row-0", "row-2"}
        assert (failed["row-1"]["status_code"], failed["row-1"]["body"]["error"]["code"]) == (500, "engine_failed")
        assert (failed["row-3"]["status_code"], failed["row-3"]["body"]["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("rows", "line", "param"),
    [
        ([row(0, "talk"), row(0, "talk")], 2, "custom_id"),
        ([row(0, "talk", url="/v1/embeddings")], 1, "url"),
        ([{**row(0, "talk"), "method": "GET"}], 1, "method"),
        ([row(0, "talk", stream=True)], 1, "body.stream"),
        ([{**row(0, "talk"), "body": {}}], 1, "body"),
        ([{"custom_id": "a"}], 1, None),
        (b"\n\n", None, None),
        (b'{"custom_id": "a"', 1, None),
        (b"[1, 2]", 1, None),
    ],
)
def test_a_batch_that_cannot_be_run_says_which_line_and_why(server, rows, line, param):
    with server.client() as client:
        batch = wait(client, begin(client, rows))
        assert (batch["status"], batch["output_file_id"]) == ("failed", None)
        [problem] = batch["errors"]["data"]
        assert (problem["line"], problem["param"]) == (line, param)
        assert len(problem["message"]) > 10


def test_a_batch_is_refused_before_it_begins_when_its_file_will_not_do(server):
    with server.client() as client:
        wrong = upload(client, [row(0, "talk")], purpose="fine-tune")
        good = upload(client, [row(0, "talk")])
        body = {"input_file_id": good, "endpoint": CHAT, "completion_window": "24h"}
        for change, status, param in [
            ({"input_file_id": wrong}, 400, "input_file_id"),
            ({"input_file_id": "file-none"}, 404, "file_id"),
            ({"endpoint": "/v1/files"}, 400, "endpoint"),
            ({"completion_window": "1h"}, 400, "completion_window"),
            ({"colour": "red"}, 400, "colour"),
            ({"metadata": {"k": "v" * 513}}, 400, "metadata[...]"),
        ]:
            reply = client.post("/v1/batches", json=body | change)
            assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


def test_another_project_sees_neither_files_nor_batches(server):
    with server.client() as mine, server.client() as theirs:
        theirs.headers["authorization"] = f"Bearer {server.new_key('strangers')}"
        batch = wait(mine, begin(mine, [row(0, "talk")]))
        for path in (f"/v1/files/{batch['input_file_id']}", f"/v1/files/{batch['output_file_id']}/content", f"/v1/batches/{batch['id']}"):
            assert mine.get(path).status_code == 200
            assert theirs.get(path).status_code == 404
        assert theirs.post(f"/v1/batches/{batch['id']}/cancel").status_code == 404
        assert theirs.get("/v1/files").json()["data"] == theirs.get("/v1/batches").json()["data"] == []


def test_a_cancelled_batch_keeps_the_answers_so_far(server):
    with server.client() as client:
        batch = begin(client, [row(n, "slow", "a b c d") for n in range(1000)])
        while client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] < 4:
            time.sleep(0.05)
        asked = time.monotonic()
        assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] in {"cancelling", "cancelled"}
        batch = wait(client, batch)
        assert time.monotonic() - asked < 5
        assert batch["status"] == "cancelled"
        answered = output(client, batch["output_file_id"])
        assert 4 <= len(answered) == batch["request_counts"]["completed"] < 1000
        assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "cancelled"


def test_the_same_idempotency_key_makes_one_batch(server):
    with server.client() as client:
        body = {"input_file_id": upload(client, [row(0, "talk")]), "endpoint": CHAT, "completion_window": "24h"}
        headers = {"idempotency-key": "once"}
        made = {client.post("/v1/batches", json=body, headers=headers).json()["id"] for _ in range(5)}
        assert len(made) == 1
        other = client.post("/v1/batches", json=body | {"metadata": {"a": "b"}}, headers=headers)
        assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")


def test_people_who_wait_go_before_a_batch(server):
    """The model answers one at a time: a person beside a batch that sends all it may would wait for several of its lines."""
    with server.client() as client:
        body = row(0, "single", "a b c d")["body"]

        def median_wait():
            waits = []
            for _ in range(7):
                asked = time.monotonic()
                assert client.post(CHAT, json=body).status_code == 200
                waits.append(time.monotonic() - asked)
            return sorted(waits)[3]

        alone = median_wait()
        batch = begin(client, [row(n, "single", "a b c d") for n in range(400)])
        while client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] == 0:
            time.sleep(0.05)
        beside = median_wait()
        seen = client.post(f"/v1/batches/{batch['id']}/cancel").json()
        assert seen["status"] in {"cancelling", "in_progress"}, "there was no batch to give way"
        assert beside < 1.5 * alone, f"{beside:.2f} s beside a batch, {alone:.2f} s alone"


def test_a_batch_goes_on_after_kill_9_with_no_line_lost_or_doubled(tmp_path):
    server = start_server(tmp_path)
    try:
        server.deploy("echo", "talk", options={"tasks": ["chat"], "delay_seconds": 0.01, "slots": 8})
        with server.client() as client:
            batch = begin(client, [row(n, "talk", f"number {n} of many") for n in range(1500)])
            kills = 0
            while kills < 2:
                counts = client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]
                if counts["completed"] >= 200 * (kills + 1):
                    assert counts["completed"] < 1500, "it ended before it was killed"
                    server.kill()
                    kills += 1
                    server = start_server(tmp_path, port=int(server.url.rpartition(":")[2]))
                time.sleep(0.1)
            batch = wait(client, batch, 120)
            assert batch["request_counts"] == {"total": 1500, "completed": 1500, "failed": 0}
            answered = output(client, batch["output_file_id"])
            assert sorted(int(each["custom_id"][4:]) for each in answered) == list(range(1500))
            for each in answered:
                assert each["response"]["body"]["choices"][0]["message"]["content"] == f"number {each['custom_id'][4:]} of many"
    finally:
        server.kill()


def test_what_a_batch_has_not_answered_within_its_window_is_told_in_its_error_file(server):
    with server.client() as client:
        batch = begin(client, [row(n, "slow") for n in range(300)])
        job = batch["id"].removeprefix("batch_")
        while client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] < 4:
            time.sleep(0.05)
        client.post(f"/admin/jobs/{job}/pause").raise_for_status()
        while client.get(f"/admin/jobs/{job}").json()["status"] != "paused":
            time.sleep(0.05)
        done = client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"]
        with contextlib.closing(sqlite3.connect(server.data / "yunmo.db", timeout=30)) as database, database:
            changed = database.execute("UPDATE job SET created_at = created_at - ? WHERE id = ?", (25 * 3600 * 1_000_000, job))
            assert changed.rowcount == 1
        client.post(f"/admin/jobs/{job}/resume").raise_for_status()
        batch = wait(client, batch)
        assert batch["status"] == "expired"
        assert batch["expired_at"] > batch["expires_at"]
        assert batch["request_counts"] == {"total": 300, "completed": done, "failed": 300 - done}
        assert len(output(client, batch["output_file_id"])) == done
        late = output(client, batch["error_file_id"])
        assert len(late) == 300 - done
        assert {each["error"]["code"] for each in late} == {"batch_expired"}
        assert all(each["response"] is None for each in late)


# ------------------------------------------------------------ as jobs


@pytest.fixture
def yunmo(server, monkeypatch, tmp_path):
    """Run a command as the operator; what it printed on standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YUNMO_URL", server.url)
    monkeypatch.setenv("YUNMO_DATA", str(server.data))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*arguments, exit_code=0):
        done = CliRunner().invoke(app, ["jobs", *arguments], catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done.output

    return run


def test_a_batch_is_listed_shown_and_waited_for_as_a_job(server, yunmo):
    with server.client() as client:
        batch = begin(client, [row(n, "talk") for n in range(20)])
        job = batch["id"].removeprefix("batch_")
        assert "has succeeded" in yunmo("wait", job, "--timeout", "60")
        listed = json.loads(yunmo("list", "--kind", "batch", "--state", "succeeded", "--json"))
        assert job in [each["id"] for each in listed]
        assert "20/20 requests" in yunmo("show", job)
        assert json.loads(yunmo("show", job, "--json"))["result"]["completed"] == 20
        assert yunmo("logs", job) == ""
        assert "not ended" not in yunmo("cancel", job, exit_code=1)


def test_a_batch_that_cannot_be_run_ends_the_wait_with_its_reason(server, yunmo):
    with server.client() as client:
        batch = begin(client, b"not json")
    assert "Line 1" in yunmo("wait", batch["id"].removeprefix("batch_"), exit_code=1)


def test_a_batch_is_paused_resumed_and_cancelled_from_the_command_line(server, yunmo):
    with server.client() as client:
        batch = begin(client, [row(n, "slow", "a b c d") for n in range(300)])
        job = batch["id"].removeprefix("batch_")
        while client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] < 4:
            time.sleep(0.05)
        yunmo("pause", job)
        while json.loads(yunmo("show", job, "--json"))["status"] != "paused":
            time.sleep(0.1)
        done = client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"]
        time.sleep(0.5)
        assert client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] == done < 300
        assert "not ended" in yunmo("wait", job, "--timeout", "0.1", exit_code=1)
        yunmo("resume", job)
        while client.get(f"/v1/batches/{batch['id']}").json()["request_counts"]["completed"] == done:
            time.sleep(0.05)
        yunmo("cancel", job)
        assert wait(client, batch)["status"] == "cancelled"


def test_a_job_is_streamed_until_it_has_ended_and_only_to_its_own_project(server):
    with server.client() as client:
        batch = begin(client, [row(n, "slow", "a b") for n in range(8)])
        path = f"/admin/jobs/{batch['id'].removeprefix('batch_')}"
        seen = []
        with client.stream("GET", f"{path}/stream") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            seen = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
        assert seen[-1]["status"] == "succeeded"
        assert seen[-1]["progress"]["done"] == 8
        strangers = {"authorization": f"Bearer {server.new_key('strangers')}"}
        for method, address in [("GET", path), ("GET", f"{path}/stream"), ("GET", f"{path}/events"), ("POST", f"{path}/cancel")]:
            assert client.request(method, address, headers=strangers).status_code == 404
        assert client.get("/admin/jobs", headers=strangers).json() == {"data": [], "has_more": False}
        assert client.get("/admin/jobs", params={"state": "odd"}).status_code == 400
        assert client.get("/admin/jobs", params={"limit": "0"}).status_code == 400
