"""A CI job at a real server whose operator declared it in the settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from oidc_issuer import TokenIssuer
from running import running_server

ADDRESS = "https://models.example.com"


@pytest.fixture(scope="module")
def issuer():
    return TokenIssuer()


@pytest.fixture
def publisher(issuer, tmp_path):
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()))
    return {"issuer": issuer.url, "claims": {"repository": "acme/*"}, "project": "acme", "jwks": str(tmp_path / "jwks.json")}


def test_a_declared_job_logs_in_for_the_servers_public_address(issuer, publisher, tmp_path):
    environment = {"YUNMO_PUBLISHERS": json.dumps([publisher]), "YUNMO_HTTP__PUBLIC_URL": f"{ADDRESS}/"}
    with running_server(tmp_path / "data", environment) as server:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "resource": "acme/model",
        }
        given, refused = (
            httpx.post(f"{server.url}/oauth/token", data=form | {"subject_token": issuer.token(aud=each)}) for each in (ADDRESS, server.url)
        )
        key = given.json()["access_token"]
        whoami = httpx.get(f"{server.url}/api/whoami-v2", headers={"authorization": f"Bearer {key}"})
        assert whoami.json()["name"] == "acme"
        assert refused.json()["error"] == "invalid_grant"
        assert key not in server.log()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"jwks": None, "issuer": "http://ci.example.com"}, "'http://ci.example.com' is no https address"),
        ({"project": "a b"}, "cannot name a project"),
        ({"jwks": __file__}, "has no JSON Web Key Set"),
    ],
)
def test_a_publisher_that_cannot_be_keeps_the_server_from_starting(publisher, tmp_path, changed, why):
    environment = os.environ | {"YUNMO_PUBLISHERS": json.dumps([publisher | changed]), "YUNMO_HTTP__PUBLIC_URL": ADDRESS}
    command = [str(Path(sys.executable).parent / "yunmo"), "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "The publishers of the settings cannot be used: " in done.stderr
    assert why in done.stderr
