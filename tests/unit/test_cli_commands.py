"""What holds for every command, and the rules of the command line that need no server."""

import importlib.util
import json
import subprocess
import sys

import pytest
import structlog
import typer
from typer.testing import CliRunner

from yunmo.cli.deployments import _news, pairs
from yunmo.cli.main import app
from yunmo.cli.output import size_text

HEAVY = {
    "torch",
    "transformers",
    "huggingface_hub",
    "sqlalchemy",
    "pydantic",
    "httpx",
    "rich",
    "onnxruntime",
    "xllamacpp",
    "starlette",
    "numpy",
}
NOWHERE = "http://127.0.0.1:1"


def commands(prefix=(), command=None):
    command = command or typer.main.get_command(app)
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from commands((*prefix, name), child)
        else:
            yield (*prefix, name), child


ALL = dict(commands())


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty directory without any setting from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("YUNMO_URL", "YUNMO_DATA", "YUNMO_KEY", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "200")
    yield lambda *arguments: CliRunner().invoke(app, [*arguments])
    structlog.reset_defaults()  # `serve` has the log written to the runner's stream, which is closed by now


def test_the_command_line_loads_no_heavy_library_before_a_command_needs_it():
    program = "import sys, yunmo.cli.main; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_the_command_line_is_imported_in_a_fraction_of_a_second():
    program = "import time; begin = time.process_time(); import yunmo.cli.main; print(time.process_time() - begin)"
    times = [float(subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True).stdout) for _ in range(3)]
    assert min(times) < 0.4


@pytest.mark.parametrize("name", ALL, ids=" ".join)
def test_every_command_shows_examples_of_itself_and_a_chinese_line_in_its_help(name, run):
    shown = run(*name, "--help").output
    assert f"yunmo {' '.join(name)}" in shown.partition("Examples:")[2]
    assert any("一" <= character <= "鿿" for character in shown)


@pytest.mark.parametrize("name", [name for name in ALL if name != ("serve",)], ids=" ".join)
def test_every_client_command_answers_machines_in_json(name):
    assert "--json" in {option for parameter in ALL[name].params for option in parameter.opts}


def test_the_table_of_contents_has_every_promised_command():
    promised = {
        "serve",
        "push",
        "pull",
        "convert",
        "deploy",
        "undeploy",
        "ps",
        "logs",
        "calibrate",
        "promote",
        "train",
        "evaluate",
        "usage",
        "audit",
        "doctor",
    }
    promised |= {"translate text", "translate file", *(f"translate routes {act}" for act in ("list", "add", "remove"))}
    promised |= {"import openai", "starter list", "starter install"}
    promised |= {f"jobs {act}" for act in ("list", "show", "logs", "cancel", "pause", "resume", "wait")}
    promised |= {f"key {act}" for act in ("create", "list", "revoke")} | {f"alias {act}" for act in ("set", "list", "remove")}
    assert {" ".join(name) for name in ALL} == promised


def test_an_option_of_a_plan_is_json_where_it_can_be_and_text_elsewhere():
    assert pairs(["slots=4", "precision=int8", "pad=false", "template=a=b", "cap=null"], "--option", "slots=4") == {
        "slots": 4,
        "precision": "int8",
        "pad": False,
        "template": "a=b",
        "cap": None,
    }


@pytest.mark.parametrize("given", ["slots", "=4"])
def test_an_option_without_key_and_value_is_a_wrong_use(given, run):
    done = run("deploy", "echo", "--option", given)
    assert done.exit_code == 2
    assert "KEY=VALUE" in done.output


def test_an_unknown_scope_is_a_wrong_use_that_names_the_known_ones(run):
    done = run("key", "create", "--project", "acme", "--scope", "everything")
    assert done.exit_code == 2
    assert "infer, read, write, admin" in done.output


def test_a_followed_log_shows_only_what_is_new_even_when_its_window_has_moved():
    assert _news("one\n", "one\ntwo\n") == "two\n"
    assert _news("one\ntwo\n", "two\nthree\n") == "two\nthree\n"
    long = "".join(f"line {number}\n" for number in range(1000))
    assert _news(long, long[500:] + "news\n") == "news\n"


def test_sizes_are_written_for_people():
    assert [size_text(size) for size in (0, 999, 1500, 91_568_974, 2_500_000_000, 7e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "92 MB",
        "2.5 GB",
        "7.0 TB",
    ]


def test_without_a_key_a_command_says_where_it_looked(run):
    done = run("ps")
    assert done.exit_code == 1
    assert "yunmo-data/secrets/admin-key" in done.stderr


def test_without_a_server_a_command_says_how_to_start_one(run):
    done = run("ps", "--url", NOWHERE, "--key", "ym_x")
    assert done.exit_code == 1
    assert "yunmo serve" in done.stderr
    assert done.stdout == ""


def test_machines_get_errors_as_json_on_standard_output(run):
    done = run("ps", "--url", NOWHERE, "--key", "ym_x", "--json")
    assert done.exit_code == 1
    assert NOWHERE in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("ps", "--nonsense"), "--nonsense"),
        (("push", "."), "REPO"),
        (("pull", "acme/m", "--type", "film"), "film"),
        (("nonsense",), "nonsense"),
        (("logs", "echo", "-n", "many"), "--lines"),
    ],
)
def test_machines_are_told_a_wrong_use_as_json_too(arguments, named, run):
    done = run(*arguments, "--json", "--key", "ym_x")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "wrong_use"
    assert named in error["message"]
    assert done.stderr == ""


def test_help_is_help_even_for_machines(run):
    done = run("ps", "--json", "--help")
    assert done.exit_code == 0
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("name", ["acme", "acme/", "/model", "a/b/c", ""])
def test_pushing_to_what_is_no_ns_name_is_refused_before_any_server_is_asked(name, run):
    done = run("push", ".", name, "--key", "ym_x", "--url", NOWHERE, "--json")
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid_request"
    assert "acme/" in error["message"]


@pytest.mark.parametrize("place", ["/proc/nope", "a-file", "a-file/below"])
def test_a_data_directory_that_cannot_be_is_named_without_a_traceback(place, run, tmp_path):
    (tmp_path / "a-file").write_text("")
    done = run("serve", "--data", place, "--port", "0")
    assert done.exit_code == 1
    assert place in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.output


def test_a_misspelt_variable_stops_the_server_before_it_starts(run, monkeypatch):
    monkeypatch.setenv("YUNMO_SERVIN__IDLE_SECONDS", "5")
    done = run("serve", "--port", "0")
    assert done.exit_code == 1
    assert "YUNMO_SERVING__IDLE_SECONDS" in done.stderr


def test_messages_are_chinese_for_a_chinese_locale(run, monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "没有云模服务器应答" in run("ps", "--url", NOWHERE, "--key", "ym_x").stderr
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "No Yunmo server answers" in run("ps", "--url", NOWHERE, "--key", "ym_x").stderr


def test_the_catalogue_is_described_in_the_users_language(run, monkeypatch):
    assert "Speech to text" in run("starter", "list").output
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "语音识别" in run("starter", "list").output


def test_pushing_a_directory_that_is_not_there_names_it(run):
    done = run("push", "nowhere", "acme/model", "--key", "ym_x")
    assert done.exit_code == 1
    assert "nowhere" in done.stderr


def test_doctor_works_without_a_server_and_takes_a_missing_one_for_no_fault(run):
    done = run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert {"server", "sqlite", "engines", "processor", "memory", "disk", "isolation"} <= found.keys()
    assert found["sqlite"]["verdict"] == "good"
    assert any("echo" in finding["message"] for finding in json.loads(done.stdout)["findings"] if finding["name"] == "engines")


def test_doctor_sends_who_lacks_vllm_to_the_guide_and_not_to_pip(run, monkeypatch):
    monkeypatch.setattr("yunmo.core.plugins.engines", lambda: {"vllm": None})
    monkeypatch.setattr("yunmo.cloud.system._is_installed", lambda _name: False)
    done = run("doctor", "--json")
    (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["name"] == "engines" and each["verdict"] == "note"]
    assert "vllm" in finding["message"]
    assert finding["advice"] == "docs/guide.md, vLLM (serving.pythons)"


def test_an_engine_with_an_environment_of_its_own_counts_as_installed():
    from yunmo.cloud.system import look_at_engines

    (here,), (elsewhere,) = look_at_engines(("vllm",)), look_at_engines(("vllm",), elsewhere={"vllm"})
    assert elsewhere.is_installed
    assert here.is_installed == (importlib.util.find_spec("vllm") is not None)


def test_doctor_finds_a_named_server_that_does_not_answer_wrong(run):
    done = run("doctor", "--url", NOWHERE, "--json")
    assert done.exit_code == 1
    assert {finding["name"]: finding["verdict"] for finding in json.loads(done.stdout)["findings"]}["server"] == "wrong"
