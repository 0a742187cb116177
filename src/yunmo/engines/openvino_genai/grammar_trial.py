"""The program that tries constraints out before a model is held to them, in a process of its own.

Its model is of one layer and knows only the vocabulary; its grammars are compiled by the same library. It speaks as
`chats.trying` does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai

from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.chats.trying import answer_lines, said
from yunmo.engines.openvino_genai.constraints import structured_output

SILENT = "silent_tokens.json"
"""The ids of tokens that spell nothing, beside the model."""

_TOKENS = 2


def main(directory: str, ends: frozenset[int]) -> None:
    """Answer lines until there are no more."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks, scheduler.max_num_seqs = 4, 1
    properties = {"INFERENCE_NUM_THREADS": 1, "sampler_num_threads": 1}
    pipeline = openvino_genai.ContinuousBatchingPipeline(directory, scheduler, "CPU", properties)
    silent = frozenset(json.loads((Path(directory) / SILENT).read_text("utf-8")))
    answer_lines(lambda number, constraint: _problem(pipeline, number, constraint, ends, silent))


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
        return said(error)
    return "no text fits it" if silent.difference(ends).intersection(written) else ""


if __name__ == "__main__":
    main(sys.argv[1], frozenset(map(int, sys.argv[2].split(","))))
