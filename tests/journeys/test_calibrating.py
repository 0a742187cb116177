"""Calibration of a deployed model on a real server, by the command line and by itself."""

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest
from huggingface_hub import HfApi

from running import running_server

MODEL = "acme/tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(data, tiny_model):
    with running_server(data) as started:
        hub = HfApi(endpoint=started.url, token=started.new_key("acme"))
        hub.create_repo(MODEL)
        hub.upload_folder(folder_path=str(tiny_model("classify")), repo_id=MODEL)
        started.deploy(MODEL, pinned=True)
        yield started


def test_before_it_is_calibrated_a_deployment_says_so_and_has_no_picture(server):
    with server.client() as client:
        view = client.get(_path()).json()
        assert (view["state"], view["chosen"], view["calibration"]) == ("none", None, None)
        assert client.get(_path(".svg")).status_code == 404


@pytest.mark.parametrize(("wish", "field"), [({"seconds": 1}, "seconds"), ({"aim": "beauty"}, "options"), ({"speed": 1}, "speed")])
def test_wishes_that_cannot_be_are_refused_and_change_nothing(server, wish, field):
    with server.client() as client:
        reply = client.post(_path(), json=wish)
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["param"] == field
        assert client.get(_path()).json()["aim"] == "throughput"


def test_a_model_with_one_way_to_run_it_has_nothing_to_calibrate(server):
    server.deploy("echo")
    with server.client() as client:
        reply = client.post("/admin/deployments/echo/calibration", json={})
    assert reply.status_code == 400
    assert "nothing to calibrate" in reply.json()["error"]["message"]


def test_the_command_measures_every_plan_while_the_model_serves_and_the_best_takes_over(server, data, tmp_path):
    before = server.deployment(MODEL)["plan"]
    picture = tmp_path / "plans.svg"
    command = _yunmo(server, data, "calibrate", MODEL, "--aim", "latency", "--plot", str(picture), "--json")
    answered = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, server.client() as client:
        while process.poll() is None or not _serves(server, view := client.get(_path()).json()):
            reply = client.post(f"/models/{MODEL}", json={"inputs": f"text {answered}"})
            assert reply.status_code == 200, reply.text
            answered += 1
        told = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert answered > 10
    assert (told["state"], told["aim"]) == ("done", "latency")
    trials = told["calibration"]["trials"]
    assert trials[0]["plan"] == before
    assert {trial["plan"]["precision"] for trial in trials} > {"fp32"}
    assert all(trial["pace"]["per_second"] > 0 for trial in trials if trial["verdict"] == "fit")
    assert view["chosen"] == told["chosen"]
    assert ET.fromstring(picture.read_bytes()).tag.endswith("svg")
    table = subprocess.run(_yunmo(server, data, "calibrate", MODEL, "--show"), capture_output=True, text=True, check=True).stdout
    assert table.count("fp32") >= 2
    assert "\n* " in table


def test_a_restarted_server_calibrates_what_it_serves_by_itself_once_and_remembers_it(tmp_path, tiny_model):
    settings = {"YUNMO_SERVING__CALIBRATE": "true", "YUNMO_SERVING__CALIBRATE_SECONDS": "15", "YUNMO_SERVING__CALIBRATE_WAIT_SECONDS": "1"}
    with running_server(tmp_path, settings) as first:
        hub = HfApi(endpoint=first.url, token=first.key)
        hub.create_repo("admin/tiny")
        hub.upload_folder(folder_path=str(tiny_model("classify")), repo_id="admin/tiny")
        first.deploy("admin/tiny", "tiny")
        measured = _calibrated(first, "tiny")
    with running_server(tmp_path, settings) as second, second.client() as client:
        assert client.post("/models/tiny", json={"inputs": "hello"}).status_code == 200
        assert second.deployment("tiny")["plan"] == measured["chosen"]
        again = client.get("/admin/deployments/tiny/calibration").json()
    assert (again["state"], again["calibration"]) == ("done", measured["calibration"])


def _calibrated(server, name):
    deadline = time.monotonic() + 120
    with server.client() as client:
        while time.monotonic() < deadline:
            view = client.get(f"/admin/deployments/{name}/calibration").json()
            if view["state"] == "done":
                return view
            assert view["state"] in {"none", "running"}, view["step"]
            time.sleep(0.1)
    raise AssertionError(f"{name} was not calibrated by itself: {view}")


def _serves(server, view):
    deployment = server.deployment(MODEL)
    return view["state"] == "done" and deployment["plan"] == view["chosen"] and len(deployment["replicas"]) == 1


def _path(suffix=""):
    return f"/admin/deployments/{MODEL.replace('/', '%2F')}/calibration{suffix}"


def _yunmo(server, data, *arguments):
    program = [sys.executable, "-c", "from yunmo.cli.main import main; main()", *arguments]
    return [*program, "--url", server.url, "--data", str(data)]
