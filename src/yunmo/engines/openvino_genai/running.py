"""The thread that steps OpenVINO GenAI's continuous batching: the only one that ever touches the pipeline.

A step holds Python's interpreter lock (2026.4), so the event loop runs between steps; that is why `batch_tokens` bounds them.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, Unavailable, YunmoError
from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.chats.generations import Generation, Written
from yunmo.engines.openvino_genai.constraints import structured_output
from yunmo.engines.openvino_genai.kind import BATCH_TOKENS, GRAMMARS, cache_blocks

_PATIENCE_SECONDS = 0.02
"""How long a step waits for requests that are being read: they would wait for all of it."""

_GRAMMARS = GRAMMARS // 2
"""The library keeps every grammar that it ever compiled: after so many the model is loaded anew when nobody is using it, after twice
as many nobody is let in until then."""


_FP32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
_INT8 = {"KV_CACHE_PRECISION": "u8"}


class Running:
    """A loaded model and its thread."""

    def __init__(self, graph: Path, plan: Plan, context_tokens: int) -> None:
        self._graph = graph
        self._plan = plan
        self._context_tokens = context_tokens
        self._pipeline = self._load()
        self._awake = threading.Condition()
        self._arriving = 0
        self._waiting: list[Generation] = []
        self._active: list[Generation] = []
        self._grammars: set[Constraint] = set()
        self._stopped: YunmoError | None = None
        self._requests = 0
        self._thread = threading.Thread(target=self._run, name="openvino-genai", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Around the reading of a request: the next step waits a moment for it."""
        with self._awake:
            self._arriving += 1
        try:
            yield
        finally:
            with self._awake:
                self._arriving -= 1
                self._awake.notify()

    def submit(self, generation: Generation) -> None:
        """Begin a generation as soon as there is a place."""
        with self._awake:
            if self._stopped is not None:
                raise self._stopped
            self._waiting.append(generation)
            self._awake.notify()

    def close(self) -> None:
        """End what is under way and free the model."""
        with self._awake:
            self._stopped = self._stopped or Unavailable("The model is being unloaded; ask again.")
            self._awake.notify()
        self._thread.join()

    def _load(self) -> Any:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = cache_blocks(self._plan.slots, self._context_tokens)
        scheduler.max_num_seqs = self._plan.slots
        scheduler.max_num_batched_tokens = int(self._plan.options.get("batch_tokens", BATCH_TOKENS))
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        precision = _FP32 if self._plan.precision == "fp32" else _INT8
        properties = {"INFERENCE_NUM_THREADS": self._plan.threads, "sampler_num_threads": 1} | precision
        try:
            return openvino_genai.ContinuousBatchingPipeline(str(self._graph), scheduler, "CPU", properties)
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO GenAI does not load the model: {error}") from error

    def _run(self) -> None:
        try:
            while self._admit():
                self._pipeline.step()
                self._active = [generation for generation in self._active if not self._is_over(generation)]
                time.sleep(0)  # the event loop waits for the interpreter's lock
        except (RuntimeError, EngineFailed) as error:
            self._stopped = EngineFailed(f"OpenVINO GenAI failed and takes no more requests; restart the deployment. It said: {error}")
        self._end()

    def _admit(self) -> bool:
        """Wait for work and take it in; False when the model is to be closed."""
        with self._awake:
            self._awake.wait_for(lambda: self._waiting or self._stopped or self._pipeline.has_non_finished_requests())
            self._awake.wait_for(lambda: not self._arriving or self._stopped, _PATIENCE_SECONDS)
            if self._stopped is not None:
                return False
            is_busy = self._pipeline.has_non_finished_requests()
            if is_busy and len(self._grammars) > 2 * _GRAMMARS:
                return True
            taken, self._waiting = self._waiting, []
        if not is_busy and len(self._grammars) > _GRAMMARS:
            self._grammars.clear()
            self._pipeline = None
            self._pipeline = self._load()
        for generation in taken:
            if not generation.cancelled:
                self._begin(generation)
        return True

    def _begin(self, generation: Generation) -> None:
        self._requests += 1
        ids = ov.Tensor(np.asarray([generation.prompt], np.int64))
        try:
            if generation.constraint is not None:
                self._grammars.add(generation.constraint)
                generation.config.structured_output_config = structured_output(generation.constraint)
            generation.handle = self._pipeline.add_request(self._requests, ids, generation.config)
        except RuntimeError as error:
            generation.failed(EngineFailed(f"OpenVINO GenAI refused the request: {error}"))
            return
        self._active.append(generation)

    def _is_over(self, generation: Generation) -> bool:
        """Hand on the tokens of this step. What was cancelled is dropped by the next one."""
        if generation.cancelled:
            generation.handle.cancel()
            return True
        tokens: list[int] = []
        logprobs: list[float] = []
        while generation.handle.can_read():
            for output in generation.handle.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs
        status = generation.handle.get_status()
        if status == openvino_genai.GenerationStatus.IGNORED:
            generation.failed(Unavailable("There is no memory left for the keys and values of this request; ask again later."))
            return True
        is_last = bool(status == openvino_genai.GenerationStatus.FINISHED)
        if tokens or is_last:
            generation.told(Written(tokens, logprobs, is_last))
        return is_last

    def _end(self) -> None:
        """Tell everybody, and free the pipeline with nothing left in it."""
        with self._awake:
            assert self._stopped is not None
            error, told = self._stopped, [*self._active, *self._waiting]
            self._waiting = []
        for generation in told:
            generation.failed(error)
        for generation in self._active:
            generation.handle.cancel()
        with contextlib.suppress(RuntimeError):
            if self._pipeline is not None and self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        self._active = []
        self._pipeline = None
