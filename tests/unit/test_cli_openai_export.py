"""What somebody took along from OpenAI is read without trusting it, and becomes requests of our own."""

import json
import re

import pytest
from typer.testing import CliRunner

from yunmo.cli.main import app
from yunmo.cli.openai_export import planned, read_export
from yunmo.cli.output import Failed

JOB = {"object": "fine_tuning.job", "id": "ftjob-1", "created_at": 1, "model": "gpt-4o-mini-2024-07-18", "status": "succeeded"}
JOB |= {"training_file": "file-a", "validation_file": None, "seed": 1, "hyperparameters": {"n_epochs": 3}}


@pytest.fixture
def export(tmp_path):
    (tmp_path / "file-a.jsonl").write_text("{}\n")

    def write(*jobs, files=(), name="jobs.json", wrap=list):
        (tmp_path / name).write_text(json.dumps(wrap(jobs)))
        (tmp_path / "files.json").write_text(json.dumps(list(files)))
        return tmp_path

    return write


def plans(folder, bases=None, base="acme/base"):
    return planned(read_export(folder), bases or {}, base)


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        lambda jobs: jobs[0],
        lambda jobs: {"object": "list", "data": list(jobs), "has_more": False},
        lambda jobs: [{"object": "list", "data": list(jobs), "has_more": True}, {"object": "list", "data": [], "has_more": False}],
    ],
)
def test_a_list_a_page_and_a_list_of_pages_are_read(export, wrap):
    [plan] = plans(export(JOB, wrap=wrap))
    assert (plan.id, plan.problem, plan.files["training_file"].name) == ("ftjob-1", "", "file-a.jsonl")
    assert plan.body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}


def test_the_list_of_jobs_alone_has_its_files_beside_it(export):
    folder = export(JOB, name="my-list.txt")
    assert plans(folder / "my-list.txt")[0].files["training_file"] == folder / "file-a.jsonl"


def test_jobs_are_made_in_the_order_of_old(export):
    newest_first = [JOB | {"id": f"ftjob-{n}", "created_at": n} for n in (3, 2, 1)]
    assert [plan.id for plan in plans(export(*newest_first))] == ["ftjob-1", "ftjob-2", "ftjob-3"]


def test_a_method_keeps_the_hyperparameters_that_we_know_and_tells_the_others(export):
    given = {"n_epochs": 2, "beta": 0.2, "batch_size": None, "compute_multiplier": 3}
    [plan] = plans(export(JOB | {"method": {"type": "dpo", "dpo": {"hyperparameters": given}}}))
    assert plan.body["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "beta": 0.2}}}
    assert any("compute_multiplier" in note for note in plan.notes)


def test_a_file_is_found_by_its_id_or_by_the_name_that_it_had(export, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "talks.jsonl").write_text("{}")
    files = [{"object": "file", "id": "file-b", "filename": "talks.jsonl"}]
    [plan] = plans(export(JOB | {"validation_file": "file-b"}, files=files))
    assert plan.files["validation_file"] == tmp_path / "files" / "talks.jsonl"


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "..", "files/../../secret.jsonl"])
def test_a_name_in_an_export_leads_to_no_other_folder(export, tmp_path, name):
    (tmp_path.parent / "secret.jsonl").write_text("{}")
    [plan] = plans(export(JOB | {"training_file": name}))
    assert plan.files == {}
    [plan] = plans(export(JOB | {"training_file": "file-b"}, files=[{"object": "file", "id": "file-b", "filename": name}]))
    assert plan.files == {}
    assert "file-b" in plan.problem


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-4o-mini-2024-07-18", "acme/mini"),
        ("gpt-4o-2024-08-06", "acme/large"),
        ("ft:gpt-4o-mini-2024-07-18:acme:old:abc", "acme/mini"),
        ("ft:gpt-4o-mini-2024-07-18:acme:old:xyz", "acme/own"),
        ("davinci-002", "acme/base"),
    ],
)
def test_the_longest_name_that_fits_decides_the_base(export, model, base):
    bases = {"gpt-4o": "acme/large", "gpt-4o-mini": "acme/mini", "ft:gpt-4o-mini-2024-07-18:acme:old:xyz": "acme/own"}
    [plan] = plans(export(JOB | {"model": model}), bases)
    assert plan.body["model"] == base
    assert bool(plan.notes) == model.startswith("ft:")


@pytest.mark.parametrize(
    ("fields", "suffix"),
    [
        ({"user_provided_suffix": "support"}, "support"),
        ({"fine_tuned_model": "ft:gpt-4o-mini-2024-07-18:acme:tone:abc"}, "tone"),
        ({"fine_tuned_model": "ft:gpt-4o-mini-2024-07-18:acme::abc"}, None),
        ({}, None),
    ],
)
def test_the_suffix_stays(export, fields, suffix):
    assert plans(export(JOB | fields))[0].body.get("suffix") == suffix


def test_metadata_stays_beside_the_old_id_and_within_the_limit(export):
    [plan] = plans(export(JOB | {"metadata": {f"k{n}": "v" for n in range(16)}}))
    assert plan.body["metadata"]["openai_job_id"] == "ftjob-1"
    assert len(plan.body["metadata"]) == 16


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "reinforcement"),
        ({"training_file": "file-lost"}, "file-lost"),
        ({"training_file": None}, "None"),
        ({"validation_file": "file-lost"}, "file-lost"),
        ({"model": "gpt-4o"}, "--map gpt-4o="),
        ({"model": None, "method": [], "hyperparameters": [], "metadata": [], "fine_tuned_model": 7}, "--base"),
    ],
)
def test_a_job_that_cannot_be_made_says_why(export, fields, said):
    [plan] = plans(export(JOB | fields), base=None if "model" in fields else "acme/base")
    assert said in plan.problem


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"data": 7}', '[{"object": "file", "id": "file-a"}]', "[" * 100_000])
def test_a_file_without_jobs_is_refused_by_its_name(tmp_path, content):
    (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(Failed, match=re.escape(str(tmp_path))):
        read_export(tmp_path)
    with pytest.raises(Failed, match="nowhere"):
        read_export(tmp_path / "nowhere")


def test_a_dry_run_asks_no_server(export, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    folder = export(JOB, JOB | {"id": "ftjob-2", "training_file": "file-lost"}, JOB | {"id": "ftjob-3", "status": "failed"})
    command = ["import", "openai", str(folder), "--map", "gpt-4o=acme/chat", "--dry-run", "--url", "http://127.0.0.1:1", "--key", "ym_x"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, "one of them cannot be made"
    for part in ("would be made", "cannot be made", "skipped", "acme/chat", "file-a.jsonl", "file-lost"):
        assert part in done.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json", "--all"]).stdout)
    assert [each["state"] for each in told] == ["possible", "impossible", "possible"]
    assert told[0]["body"]["model"] == "acme/chat"
