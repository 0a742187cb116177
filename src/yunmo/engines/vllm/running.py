"""The thread that loads and steps vLLM's engine: the only one that ever touches it.

The engine is the one that vLLM runs in the process of its caller. Its asynchronous engine would put the model into a child
process of its own, outside of the worker's memory limit, and living on when the gateway is killed.
"""

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from vllm import EngineArgs
from vllm.inputs.engine import tokens_input
from vllm.v1.engine.llm_engine import LLMEngine

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable, YunmoError
from yunmo.engines.chats.generations import Generation, Written
from yunmo.engines.vllm.decoders import Decoder
from yunmo.engines.vllm.kind import VllmOptions, cache_bytes
from yunmo.engines.vllm.requests import MOST_LOGPROBS, structured_output

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_BLOCK_TOKENS = {"cpu": 32, "cuda": 16}
_SHARE_FREE = 0.05
"""vLLM asks for a share of the GPU to be free, though it is told what to take; others may have the rest."""

_PATIENCE_SECONDS = 0.001
"""How long nothing is done where a step had nothing to do: a grammar is still being compiled."""


class Running:
    """A loaded model and its thread."""

    def __init__(self, directory: Path, decoder: Decoder, plan: Plan, options: VllmOptions, context_tokens: int) -> None:
        self._awake = threading.Condition()
        self._waiting: list[Generation] = []
        self._active: dict[str, Generation] = {}
        self._stopped: YunmoError | None = None
        self._requests = 0
        self._thread = ThreadPoolExecutor(1, "vllm")
        arguments = _arguments(directory, decoder, plan, options, context_tokens)
        self._engine: Any = self._thread.submit(_loaded, arguments, plan.threads).result()
        self._thread.submit(self._run)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Around the reading of a request; a step is too short to wait for it."""
        yield

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
        self._thread.shutdown()

    def _run(self) -> None:
        try:
            while self._admit():
                outputs = self._engine.step()
                for output in outputs:
                    self._tell(output)
                time.sleep(0 if outputs else _PATIENCE_SECONDS)  # the event loop waits for the interpreter's lock
        finally:  # whatever vLLM raised: nobody who reads a stream must wait for ever
            self._end(sys.exception())

    def _admit(self) -> bool:
        """Wait for work, begin what is new, drop what nobody wants; False once closed."""
        with self._awake:
            while self._stopped is None and not self._waiting and not self._active:
                self._awake.wait()
            if self._stopped is not None:
                return False
            taken, self._waiting = self._waiting, []
        unwanted = [name for name, generation in self._active.items() if generation.cancelled]
        if unwanted:
            self._engine.abort_request(unwanted)
            for name in unwanted:
                del self._active[name]
        for generation in taken:
            if not generation.cancelled:
                self._begin(generation)
        return True

    def _begin(self, generation: Generation) -> None:
        self._requests += 1
        name = str(self._requests)
        if generation.constraint is not None:
            generation.config.structured_outputs = structured_output(generation.constraint)
        try:
            self._engine.add_request(name, tokens_input(list(generation.prompt)), generation.config)
        except ValueError as error:
            generation.failed(InvalidRequest(f"vLLM refuses the request: {error}"))
            return
        self._active[name] = generation

    def _tell(self, output: Any) -> None:
        """Hand on the tokens of this step. What was cancelled is dropped by the next one."""
        generation = self._active.get(output.request_id)
        if generation is None:
            return
        (written,) = output.outputs
        if output.finished:
            del self._active[output.request_id]
        if written.finish_reason not in {None, "stop", "length"}:
            generation.failed(EngineFailed(f"vLLM ended the request: {written.finish_reason}"))
            return
        tokens = list(written.token_ids)
        if tokens or output.finished:
            generation.told(_written(tokens, written.logprobs, generation.config.logprobs, is_last=output.finished))

    def _end(self, cause: BaseException | None) -> None:
        """Tell everybody, and free the engine."""
        with self._awake:
            if cause is not None:
                self._stopped = EngineFailed(
                    f"vLLM failed and takes no more requests; restart the deployment. It said: {type(cause).__name__}: {cause}"
                )
            assert self._stopped is not None
            error, told = self._stopped, [*self._active.values(), *self._waiting]
            self._waiting, self._active = [], {}
        for generation in told:
            generation.failed(error)
        self._engine.engine_core.shutdown()
        self._engine = None


def _arguments(directory: Path, decoder: Decoder, plan: Plan, options: VllmOptions, context_tokens: int) -> EngineArgs:
    precision = plan.precision or "bf16"
    block = _BLOCK_TOKENS[options.device]
    # a prompt read in pieces turns its seed's generator back, which torch cannot do on processors: vLLM (0.32) would end there
    reads_in_pieces = options.device == "cuda"
    whole_blocks = -(-context_tokens // block) * block + block
    return EngineArgs(
        model=str(directory),
        dtype=_DTYPES[precision],
        load_format="safetensors",
        trust_remote_code=False,
        generation_config="vllm",  # the repository's defaults are filled in by us, as for other engines
        seed=secrets.randbelow(2**31),
        max_model_len=context_tokens,
        max_num_seqs=plan.slots,
        max_num_batched_tokens=max(options.batch_tokens, plan.slots, 0 if reads_in_pieces else context_tokens),
        max_logprobs=MOST_LOGPROBS,
        block_size=block,
        kv_cache_memory_bytes=cache_bytes(decoder, precision, plan.slots, whole_blocks),
        gpu_memory_utilization=_SHARE_FREE,
        enable_prefix_caching=True,
        enable_chunked_prefill=reads_in_pieces,
        enforce_eager=not options.compiled,
        structured_outputs_config={"backend": "xgrammar"},
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )


def _loaded(arguments: EngineArgs, threads: int) -> LLMEngine:
    torch.set_num_threads(threads)
    return LLMEngine.from_engine_args(arguments)


def _written(tokens: list[int], told: Any, top: int | None, *, is_last: bool) -> Written:
    """`told` has the log probability and the rank of each token and of the likeliest in its place, by id."""
    if told is None or top is None:
        return Written(tokens, [0.0] * len(tokens), is_last)
    logprobs = [float(place[token].logprob) for token, place in zip(tokens, told, strict=True)]
    likeliest = [[(other, float(each.logprob)) for other, each in _ranked(place)[:top]] for place in told]
    return Written(tokens, logprobs, is_last, likeliest)


def _ranked(place: dict[int, Any]) -> list[tuple[int, Any]]:
    return sorted(place.items(), key=lambda each: int(each[1].rank))
