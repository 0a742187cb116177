"""OpenVINO GenAI's continuous batching behind one file of FastAPI: OpenAI's chat completions, streaming.

python openvino_chat.py PORT DIRECTORY
"""

import asyncio
import itertools
import json
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import jinja2
import numpy as np
import openvino as ov
import openvino_genai as genai
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from tokenizers import Tokenizer

SLOTS = 16
STOP = 2


class Body(BaseModel):
    """The part of OpenAI's request that is measured."""

    messages: list[dict[str, str]]
    max_tokens: int = 64


class Batching:
    """The pipeline and the thread that steps it."""

    def __init__(self, directory: Path) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_seqs = SLOTS
        scheduler.enable_prefix_caching = True
        self._pipeline = genai.ContinuousBatchingPipeline(str(directory), scheduler, "CPU", {})
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._template = jinja2.Template(json.loads((directory / "tokenizer_config.json").read_text())["chat_template"])
        self._numbers = itertools.count()
        self._awake = threading.Condition()
        self._new: list[tuple] = []
        self._active: list[tuple] = []
        threading.Thread(target=self._run, daemon=True).start()

    async def tokens(self, body: Body) -> AsyncIterator[tuple[str, int]]:
        """The text of the answer and its tokens, a step at a time."""
        prompt = self._template.render(messages=body.messages, add_generation_prompt=True, bos_token="", eos_token="")
        ids = ov.Tensor(np.asarray([self._tokenizer.encode(prompt, add_special_tokens=False).ids], np.int64))
        config = genai.GenerationConfig(max_new_tokens=body.max_tokens, do_sample=False, stop_token_ids={STOP}, eos_token_id=STOP)
        told: asyncio.Queue[list[int] | None] = asyncio.Queue()
        with self._awake:
            self._new.append((ids, config, asyncio.get_running_loop(), told))
            self._awake.notify()
        while (found := await told.get()) is not None:
            yield self._tokenizer.decode(found), len(found)

    def _run(self) -> None:
        while True:
            with self._awake:
                self._awake.wait_for(lambda: self._new or self._active)
                taken, self._new = self._new, []
            for ids, config, loop, told in taken:
                self._active.append((self._pipeline.add_request(next(self._numbers), ids, config), loop, told))
            self._pipeline.step()
            self._active = [each for each in self._active if self._is_under_way(*each)]

    def _is_under_way(self, handle, loop, told) -> bool:
        while handle.can_read():
            for output in handle.read().values():
                loop.call_soon_threadsafe(told.put_nowait, list(output.generated_ids))
        if handle.get_status() == genai.GenerationStatus.RUNNING:
            return True
        loop.call_soon_threadsafe(told.put_nowait, None)
        return False


app = FastAPI()
batching = Batching(Path(sys.argv[2]))


@app.post("/v1/chat/completions")
async def chat(body: Body) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        written = 0
        async for text, count in batching.tokens(body):
            written += count
            yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n"
        yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': written}})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
