"""The program that tries constraints out before a model is held to them, in a process of its own.

Its model is of one layer and knows only the vocabulary; its grammars are compiled by the same library. What crashes, takes too
long or too much memory ends here and not where all requests are answered. A line of standard input is a Constraint as JSON;
each is answered by a line with {"problem"}, empty for a form that text can be held to.
"""

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino as ov
import openvino_genai

from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.openvino_genai.constraints import structured_output

SECONDS = 1.5
"""Of all processors' time together: as long is the step that compiles it for real, with all other requests in it."""
SILENT = "silent_tokens.json"
"""The ids of tokens that spell nothing, beside the model."""

_SPARE_BYTES = 1 << 30
_TOKENS = 2


def main(directory: str, ends: frozenset[int]) -> None:
    """Answer lines until there are no more."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks, scheduler.max_num_seqs = 4, 1
    properties = {"INFERENCE_NUM_THREADS": 1, "sampler_num_threads": 1}
    pipeline = openvino_genai.ContinuousBatchingPipeline(directory, scheduler, "CPU", properties)
    silent = frozenset(json.loads((Path(directory) / SILENT).read_text("utf-8")))
    _limit()
    for number, line in enumerate(sys.stdin):
        # nothing handles the signal: it ends the process, however deep in a loop it is
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        problem = _problem(pipeline, number, msgspec.json.decode(line, type=Constraint), ends, silent)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps({"problem": problem}) + "\n")
        sys.stdout.flush()


def _problem(pipeline: Any, number: int, constraint: Constraint, ends: frozenset[int], silent: frozenset[int]) -> str:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.stop_token_ids, config.eos_token_id = _TOKENS, set(ends), min(ends)
    handle, written = None, []
    try:
        config.structured_output_config = structured_output(constraint)
        handle = pipeline.add_request(number, ov.Tensor(np.zeros((1, 1), np.int64)), config)
        while pipeline.has_non_finished_requests():
            pipeline.step()
        written = [token for output in handle.read_all() for token in output.generated_ids]
    except (RuntimeError, ValueError, MemoryError) as error:
        if handle is not None:
            handle.cancel()
            pipeline.step()
        return _said(str(error))
    return "no text fits it" if silent.difference(ends).intersection(written) else ""


def _said(error: str) -> str:
    """The library's words without its source's path and the time."""
    lines = [line for line in error.strip().splitlines() if line.strip()]
    return (
        lines[-1].rpartition(".cc:")[2].partition(": ")[2] if lines and ".cc:" in lines[-1] else lines[-1] if lines else "it cannot be read"
    )[:300]


def _limit() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is one more import
        most = int(file.read().split()[0]) * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], frozenset(map(int, sys.argv[2].split(","))))
