"""`yunmo train` without a server: recipes, what is wrong with them, and what people are told."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from yunmo.cli.following import duration_text, estimated, how_to_call, told
from yunmo.cli.main import app
from yunmo.cli.output import Failed
from yunmo.cli.train import recipe_of
from yunmo.core.training import METHODS

NOWHERE = ("--key", "ym_x", "--url", "http://127.0.0.1:1")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "C.UTF-8")
    for name in ("LC_ALL", "LC_MESSAGES", "YUNMO_URL", "YUNMO_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return lambda *arguments: CliRunner().invoke(app, ["train", *arguments, *NOWHERE])


def test_a_recipe_is_the_document_changed_by_the_options():
    document = {"method": "dpo", "epochs": 3, "lora": {"rank": 4, "alpha": 8.0}}
    given = {"epochs": 1, "lora.rank": 16, "pretraining.objective": "causal"}
    made = recipe_of("dpo", document, {name: value for name, value in given.items() if name != "pretraining.objective"})
    assert made == {"method": "dpo", "epochs": 1, "lora": {"rank": 16, "alpha": 8.0, "dropout": 0.0, "targets": (), "merge": False}}
    assert document["lora"]["rank"] == 4
    built = recipe_of("pretrain", {}, given | {"pretraining.architecture.family": "gpt2"})
    assert (built["pretraining"]["objective"], built["pretraining"]["architecture"]["family"]) == ("causal", "gpt2")
    assert recipe_of("seq2seq", {}, {}) == {"method": "seq2seq"}


@pytest.mark.parametrize(
    ("document", "given", "named"),
    [
        ({}, {"epoch": 1}, "epoch"),
        ({}, {"lora.ranks": 1}, "ranks"),
        ({"lora": 4}, {}, "lora"),
        ({}, {"warmup": 2}, "warmup"),
        ({"method": "dpo"}, {}, "dpo"),
        ({"epochs": "many"}, {}, "epochs"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_anything_is_sent(document, given, named):
    with pytest.raises(Failed, match=named):
        recipe_of("classification", document, given)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("magic", "rows.jsonl"), "magic"),
        (("classification", "nowhere.jsonl"), "nowhere.jsonl"),
        (("classification", "."), "yunmo push"),
        (("classification", "acme/"), "acme/"),
        (("classification", "rows.jsonl", "--recipe", "nowhere.yaml"), "nowhere.yaml"),
        (("classification", "rows.jsonl", "--recipe", "list.yaml"), "list.yaml"),
        (("classification", "rows.jsonl", "--recipe", "broken.yaml"), "broken.yaml"),
        (("classification", "rows.jsonl", "--recipe", "code.yaml"), "code.yaml"),
        (("classification", "empty.jsonl"), "empty.jsonl"),
        (("classification", "rows.jsonl", "--validation", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
def test_what_is_wrong_on_this_machine_is_said_without_a_server(arguments, named, run, tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.getcwd []\n")
    (tmp_path / "empty.jsonl").write_text("")
    done = run(*arguments)
    assert done.exit_code == 1
    assert named in done.stderr
    assert "Traceback" not in done.output
    assert "127.0.0.1" not in done.output


@pytest.mark.parametrize(
    ("option", "said"), [(("--set", "warmup"), "KEY=VALUE"), (("--epochs", "0"), "--epochs"), (("--lora", "x"), "--lora")]
)
def test_a_wrong_option_is_a_wrong_use(option, said, run):
    done = run("classification", "rows.jsonl", *option)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize("method", METHODS)
def test_the_command_that_calls_a_model_can_be_pasted_into_a_shell(method):
    words = shlex.split(how_to_call("http://cloud.test", "acme/result", method))
    assert words[0] == "curl"
    assert words[1].startswith("http://cloud.test/")
    body = words[words.index("-d") + 1] if "-d" in words else None
    assert "acme/result" in words[1] or json.loads(body)["model"] == "acme/result"


def test_an_estimate_is_told_as_a_table():
    estimate = {"rows": 1200, "validation_rows": 100, "cut_rows": 3, "tokens": 45_678, "steps": 300, "seconds": 4000.0}
    estimate |= {"memory_bytes": 812_000_000, "disk_bytes": 1_200_000_000, "parameters": 1000, "trained_parameters": 10}
    lines = estimated(estimate | {"recipe": {"batch_size": 8, "epochs": 2}})
    text = "\n".join(lines)
    for part in ("1,200 + 100 to validate, 3 are cut", "45,678", "300 × 8 (2 epochs)", "67 min", "812 MB", "1.2 GB", "10 (1.0%)"):
        assert part in text
    assert len({line.index("  ", 3) for line in lines}) > 0


def test_times_are_written_for_people():
    assert [duration_text(seconds) for seconds in (0.207, 9.04, 89, 91, 3600, 12_000)] == [
        "0.21 s",
        "9 s",
        "89 s",
        "2 min",
        "60 min",
        "3 h 20 min",
    ]


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (
            {"samples": 32, "agreement": 1.0, "drift": 1e-6, "is_passed": True, "engine": "onnx", "precision": "fp32"},
            "served as it was trained: 32",
        ),
        ({"samples": 32, "agreement": 0.5, "drift": 0.3, "is_passed": False, "engine": "onnx"}, "not served as it was trained"),
        ({"samples": 0, "agreement": 0.0, "drift": 0.0, "is_passed": False, "problem": "It does not load."}, "It does not load."),
        (None, "Call it"),
    ],
)
def test_the_end_says_how_good_the_model_is_and_whether_it_is_served_so(certificate, said, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    result = {
        "model": "acme/tone",
        "step": 24,
        "trained_tokens": 4156,
        "seconds": 1.0,
        "metrics": {"macro_f1": 0.75},
        "certificate": certificate,
    }
    text = told("http://cloud.test", {"result": result, "order": {"recipe": {"method": "classification"}}})
    assert text.startswith("acme/tone is there: 24 steps, 4,156 tokens, 1 s.\n  macro f1  0.75\n")
    assert said in text
    assert text.endswith('-d \'{"inputs": "…"}\'')
