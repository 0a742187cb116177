import pytest

from running import running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("yunmo")) as running:
        yield running
