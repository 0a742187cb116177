"""A real S3 server for tests: rclone over a directory with the bucket `bucket`."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "key", "secret-of-the-tests"


@contextlib.contextmanager
def serving_s3(root: Path) -> Iterator[str]:
    """The server's URL for the length of a block."""
    (root / "bucket").mkdir()
    program = Path(sys.executable).parent / "rclone"
    command = [program, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", root]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "RCLONE_CONFIG": "/dev/null"})
    try:
        for line in process.stderr or ():
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise AssertionError("rclone did not start")
        yield found[0]
    finally:
        process.kill()
        process.communicate()
