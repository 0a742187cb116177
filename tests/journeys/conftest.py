import pytest
from typer.testing import CliRunner

from running import running_server
from yunmo.cli.main import app


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        yield running


@pytest.fixture
def yunmo(server, monkeypatch, tmp_path):
    """Run a command as the operator on the server's machine; what it printed on standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YUNMO_URL", server.url)
    monkeypatch.setenv("YUNMO_DATA", str(server.data))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("YUNMO_KEY", raising=False)
    monkeypatch.delenv("LC_ALL", raising=False)

    def run(*arguments, exit_code=0, given=None):
        done = CliRunner().invoke(app, [*arguments], input=given, catch_exceptions=False)
        assert done.exit_code == exit_code, done.output
        return done if exit_code else done.stdout

    return run
