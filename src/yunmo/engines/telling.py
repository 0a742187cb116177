"""The other end of `making`: how the programs begin, end and say how far they are, one JSON object a line."""

import ctypes
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable

from yunmo.core.errors import YunmoError

_PR_SET_PDEATHSIG = 1


def run_program(work: Callable[[], object]) -> None:
    """Work quietly, and die with the parent; the exit code is 1, after a line with the problem, if it could not be done."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    warnings.simplefilter("ignore")  # the exporters' own, and tracing's about shapes that verification checks
    logging.disable(logging.WARNING)
    try:
        work()
    except YunmoError as error:
        _print(problem=error.message)
        sys.exit(1)


def say(step: str, share: float) -> None:
    """Tell what is done now, and the share of all that is done."""
    _print(step=step, share=round(share, 3))


def _print(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
