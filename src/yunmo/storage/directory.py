"""The server's data directory: its folders, its secrets, and the lock that keeps a second server out."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


class CannotStart(Exception):
    """The data directory or another file cannot be used; the message says why, and what to do."""


def data_directory(given: Path) -> Path:
    """The directory with its folders, made if need be. Raises CannotStart."""
    data = given.absolute()
    try:
        for folder in ("", "secrets", "cache", "logs"):
            (data / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "lock").touch()
    except OSError as error:
        raise CannotStart(
            f"The data directory {data} cannot be used: {error.strerror} ({error.filename}). "
            "Name one that this user may write to with --data or YUNMO_DATA."
        ) from error
    return data.resolve()


@contextlib.contextmanager
def only_one_server(data: Path) -> Iterator[None]:
    """Hold the directory for this process. Raises CannotStart while another one does."""
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"Another yunmo serve uses {data}. Stop it, or choose another directory with --data.") from error
        yield


def secret(file: Path) -> bytes:
    """The file's bytes, drawn at random the first time."""
    if not file.exists():
        write_secret(file, secrets.token_bytes(32))
    return file.read_bytes()


def write_secret(file: Path, content: bytes) -> None:
    """Write the file whole, for this user's eyes alone."""
    temporary = file.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
