"""The one place that touches llama.cpp: its server inside this process, without a TCP port."""

import contextlib
import http.client
import os
import secrets
import socket
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.engine import Plan, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.engines.llama_cpp.options import CONTEXT_TOKENS, LlamaCppOptions

OnChunk = Callable[[bytes], bool]
"""Gets every chunk of a stream; answering True stops it."""

_BATCH_TOKENS = 128
"""Prompt tokens in one step. Others' next tokens and a cancellation wait for one step, so it is not llama.cpp's 2048
(SmolLM2-135M on two cores reads 110 tokens/s in steps of 128, 140 in steps of 2048)."""

_LOOKED_UP_TOKENS, _TRIED_TOKENS = 4, 8
"""llama.cpp's 12 and 48 are for processors that read many tokens at the price of one; these do not."""

_QUIET = -1
_RPC_SECONDS = 60.0


class Server:
    """A loaded GGUF model. Its methods block: call them from threads, several at once.

    `composes` puts texts into Unicode's composed form first, as some tokenizers do and llama.cpp never does. `is_exact`
    computes attention in 32 bits. Of `adapters` each call says which one it is for, see `selected`.
    """

    def __init__(
        self,
        model: Path,
        plan: Plan,
        *,
        composes: bool = False,
        is_exact: bool = False,
        adapters: Sequence[Path] = (),
        draft: Path | None = None,
    ) -> None:
        xllamacpp = _library()
        # llama.cpp's server insists on listening: on a Unix socket that only this user can reach, and with a key.
        self._room = tempfile.TemporaryDirectory(prefix="yunmo-llama-")
        self._socket = str(Path(self._room.name) / "llama.sock")
        self._key = secrets.token_hex(16)
        self._composes = composes
        self._adapters = len(adapters)
        params = _parameters(xllamacpp, model, plan)
        if adapters:
            _adapt(xllamacpp, params, adapters)
        if draft is not None:
            _draft(xllamacpp, params.speculative, draft, plan.threads)
        if is_exact:
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.hostnames = [self._socket]
        params.api_keys = [self._key]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            self._room.cleanup()
            raise EngineFailed(
                f"llama.cpp could not load “{model.name}” ({str(error).rstrip('.')}). "
                "Its architecture may be newer than this llama.cpp, the file damaged, or the memory too small."
            ) from None

    def selected(self, adapter: int | None) -> dict[str, Any]:
        """What a call's body says about adapters: the one at this index, or none. No call may leave it out.

        llama.cpp forgets a slot's prompt when its adapter changes, but only for calls that name their adapters, and takes
        an empty list for none at all.
        """
        if not self._adapters:
            return {}
        return {"lora": [{"id": index, "scale": float(index == adapter)} for index in range(self._adapters)]}

    def chat(self, body: bytes, on_chunk: OnChunk) -> None:
        """Stream a chat's chunks; errors of the request come as ValueError or as a chunk."""
        self._server.handle_chat_completions(self._composed(body), on_chunk)

    def generate(self, body: bytes, on_chunk: OnChunk) -> None:
        """Stream a generation's chunks; errors as in `chat`."""
        self._server.handle_completions(self._composed(body), on_chunk)

    def embed(self, body: bytes) -> bytes:
        """Embed texts or token ids."""
        answer: bytes = self._server.handle_embeddings(self._composed(body))
        return answer

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """A text's token ids, with the special ones around it that the model wants."""
        ids: list[int] = self._call("POST", "/tokenize", {"content": text, "add_special": special})["tokens"]
        return ids

    def text(self, tokens: tuple[int, ...]) -> str:
        """The text that token ids spell."""
        text: str = self._call("POST", "/detokenize", {"tokens": tokens})["content"]
        return text

    def prompt(self, body: dict[str, Any]) -> str:
        """The prompt that the model's template makes of a chat."""
        prompt: str = self._call("POST", "/apply-template", body)["prompt"]
        return prompt

    def busy_slots(self) -> int:
        """How many slots are at work."""
        return sum(slot["is_processing"] for slot in self._call("GET", "/slots", None))

    def close(self) -> None:
        """Stop and give the memory back; no call may be under way."""
        with contextlib.suppress(OSError, InvalidRequest):
            self.busy_slots()  # its loop answers this; a stop that came before the loop has begun would be lost, and waited for without end
        del self._server
        self._room.cleanup()

    def _composed(self, body: bytes) -> bytes:
        return unicodedata.normalize("NFC", body.decode()).encode() if self._composes and not body.isascii() else body

    def _call(self, method: str, path: str, body: Any) -> Any:
        connection = _UnixConnection(self._socket)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else self._composed(msgspec.json.encode(body)), headers)
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        finally:
            connection.close()
        if response.status >= 400:
            raise InvalidRequest(f"llama.cpp refused the request: {answer.get('error', {}).get('message', response.reason)}")
        return answer


def _library() -> Any:
    # The threads of one model wait for each other some thousand times a second. Spinning while they wait ruins everybody
    # when other processes want the cores too: SmolLM2-135M, eight chats, two busy cores: 4 tokens/s spinning, 40 sleeping.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineFailed(f"llama.cpp cannot be loaded ({error}). Is libgomp installed (Debian: apt install libgomp1)?") from None
    return xllamacpp


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_RPC_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _adapt(xllamacpp: Any, params: Any, adapters: Sequence[Path]) -> None:
    """Load adapters, switched off. What llama.cpp keeps of prompts outside of slots does not tell adapters apart, so it keeps nothing."""
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.n_ctx_checkpoints = 0


def _draft(xllamacpp: Any, speculative: Any, draft: Path, threads: int) -> None:
    """Have the draft propose the next tokens, a few at a time."""
    speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    speculative.draft.mparams.path = str(draft)
    speculative.draft.cpuparams.n_threads = threads
    speculative.draft.cpuparams_batch.n_threads = threads


def _speculate(xllamacpp: Any, speculative: Any) -> None:
    """Look up the last tokens in the text so far, and try what followed them there; the model's own choice decides on each."""
    speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    speculative.ngram_simple.size_n = _LOOKED_UP_TOKENS
    speculative.ngram_simple.size_m = _TRIED_TOKENS


def _parameters(xllamacpp: Any, model: Path, plan: Plan) -> Any:
    context_tokens = plan.context_tokens or CONTEXT_TOKENS
    options = read_options(plan, LlamaCppOptions)
    embedding = options.embedding
    batch_tokens = context_tokens if embedding else options.batch_tokens or _BATCH_TOKENS
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"model"}
    params.n_parallel = plan.slots
    params.n_ctx = plan.slots * context_tokens
    # One cache per slot: a unified one was half as fast with eight chats at once (24 to 50 tokens/s with SmolLM2-135M),
    # because every token then looks over the cells of all chats; and it would let one prompt take all the context.
    params.kv_unified = options.kv_unified
    params.n_batch = batch_tokens
    params.n_ubatch = batch_tokens if embedding else min(batch_tokens, 512)
    params.cpuparams.n_threads = plan.threads
    params.cpuparams_batch.n_threads = plan.threads
    params.cache_ram_mib = options.prompt_cache_mib
    params.fit_params = False
    params.warmup = False  # a trial run that made loading 0.3 s longer (several, on busy cores) and the first answer no sooner
    params.n_threads_http = 2
    params.ui = False
    params.offline = True
    params.verbosity = _QUIET
    if options.speculation is not None:
        _speculate(xllamacpp, params.speculative)
    if embedding:
        params.embedding = True
        if options.pooling is not None:
            params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
    return params
