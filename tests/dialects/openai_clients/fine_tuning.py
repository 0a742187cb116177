"""A customer's program with fine-tuning: `fine_tuning.py <base url> <key> <model> <rows.jsonl>`; prints what it saw as JSON.

Only calls that every version from 1.x on has are made here.
"""

import json
import sys
import time
from pathlib import Path

import openai

url, key, base, rows = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
jobs = client.fine_tuning.jobs
seen = {"version": openai.__version__}
HYPERPARAMETERS = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": "auto"}
ENDED = {"succeeded", "failed", "cancelled"}


def method(**hyperparameters):
    return {"type": "classification", "classification": {"hyperparameters": HYPERPARAMETERS | hyperparameters}}


def upload(content):
    return client.files.create(file=("rows.jsonl", content), purpose="fine-tune").id


def wait(job, statuses, seconds=300):
    deadline = time.monotonic() + seconds
    while job.status not in statuses:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
        job = jobs.retrieve(job.id)
    return job


def trained():
    file = upload(Path(rows).read_bytes())
    job = jobs.create(
        model=base, training_file=file, suffix="tone", seed=3, method=method(learning_rate=0.001), extra_body={"metadata": {"by": "sdk"}}
    )
    assert (job.object, job.status, job.model, job.seed) == ("fine_tuning.job", "validating_files", base, 3)
    assert job.hyperparameters.n_epochs == 2
    assert job.hyperparameters.learning_rate_multiplier == "auto"
    job = wait(job, ENDED)
    assert job.status == "succeeded", job
    assert job.hyperparameters.learning_rate_multiplier == 1.0
    assert job.finished_at >= job.created_at
    assert job.trained_tokens > 0
    assert (job.training_file, job.error) == (file, None)

    events = list(jobs.list_events(job.id, limit=2))  # follows `after` by itself
    assert len({event.id for event in events}) == len(events) > 4
    assert [event.created_at for event in events] == sorted((event.created_at for event in events), reverse=True)
    assert {"message", "metrics"} == {event.type for event in events}
    assert any("train_loss" in event.data for event in events if event.type == "metrics")

    kept = list(jobs.checkpoints.list(job.id, limit=1))
    assert [each.fine_tuning_job_id for each in kept] == [job.id] * 2
    assert kept[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    assert kept[0].step_number == 2 * kept[1].step_number
    assert kept[1].metrics.valid_loss > 0

    table = client.files.retrieve(job.result_files[0])
    assert table.purpose == "fine-tune-results"
    assert client.files.content(table.id).text.startswith("step,train_loss,")

    for name in (job.fine_tuned_model, kept[1].fine_tuned_model_checkpoint):
        judged = client.moderations.create(model=name, input="the cat is good").results[0]
        assert set(judged.category_scores.model_dump(exclude_none=True, by_alias=True)) >= {"good", "bad"}, judged

    assert job.id in [each.id for each in jobs.list(limit=1)]
    assert client.models.delete(job.fine_tuned_model).deleted
    try:
        client.models.delete(job.fine_tuned_model)
        raise AssertionError("a deleted model was found")
    except openai.NotFoundError as error:
        assert error.body["code"] == "repository_not_found"  # noqa: PT017 - this program runs without pytest


def stopped():
    job = jobs.create(model=base, training_file=upload(Path(rows).read_bytes()), method=method(n_epochs=1000))
    job = wait(job, {"running", *ENDED})
    assert job.status == "running", job
    while not any(event.type == "metrics" for event in jobs.list_events(job.id, limit=3).data):
        time.sleep(0.1)
    jobs.pause(job.id)
    assert wait(jobs.retrieve(job.id), {"queued"}).finished_at is None
    at = jobs.list_events(job.id, limit=1).data[0].id
    assert jobs.resume(job.id).status == "queued"
    wait(jobs.retrieve(job.id), {"running"})
    while jobs.list_events(job.id, limit=1).data[0].id == at:
        time.sleep(0.1)
    assert jobs.cancel(job.id).status == "cancelled"
    assert jobs.retrieve(job.id).fine_tuned_model is None


def refused():
    job = jobs.create(model=base, training_file=upload(b'{"text": "a", "label": "x"}\n{"text": 3}\n'), method=method())
    job = wait(job, ENDED)
    assert job.status == "failed"
    assert (job.error.code, job.error.param) == ("invalid_request", "training_file")
    assert "Line 2" in job.error.message
    assert "'text'" in job.error.message
    for fields, param in [
        ({"method": method(colour="red")}, "method.classification.hyperparameters.colour"),
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method.type"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"suffix": "x" * 65}, "suffix"),
    ]:
        try:
            jobs.create(**{"model": base, "training_file": job.training_file, **fields})
            raise AssertionError(f"{fields} was taken")
        except openai.BadRequestError as error:
            assert error.param == param  # noqa: PT017 - this program runs without pytest


for step in (trained, stopped, refused):
    step()
    seen[step.__name__] = True
print(json.dumps(seen))
