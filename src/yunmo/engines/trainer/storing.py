"""A disk that is full while something is written: told as what it is."""

import contextlib
import errno
import shutil
from collections.abc import Iterator

from safetensors import SafetensorError

from yunmo.core.errors import InsufficientStorage
from yunmo.engines.trainer.workspace import Workspace

_LEAST_BYTES = 16 * 1024 * 1024
_MIB = 1024 * 1024


@contextlib.contextmanager
def told_if_full(workspace: Workspace) -> Iterator[None]:
    """Raise InsufficientStorage where writing failed for want of room: libraries say it each in a way of its own.

    What was there before is left as it was.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        free = shutil.disk_usage(workspace.root).free
        is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if not is_full and "No space left" not in str(error) and free >= _LEAST_BYTES:
            raise
        shutil.rmtree(workspace.unfinished, ignore_errors=True)
        raise InsufficientStorage(
            f"The disk is full: {free // _MIB} MiB are free where the training keeps its checkpoints. "
            "The checkpoint before this one is whole; make room and resume the job."
        ) from error
