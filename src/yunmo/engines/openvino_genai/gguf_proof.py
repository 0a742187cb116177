"""The program that holds a tokenizer.json against llama.cpp's reading of the GGUF file that it was made of.

A tokenizer that was rebuilt a little wrong is not noticed by the model's users, only its answers are worse. The program is a process
of its own, because llama.cpp loads the whole model. It prints the first text that the two read differently, or nothing.

    python -m yunmo.engines.openvino_genai.gguf_proof MODEL.gguf tokenizer.json [a JSON array of further texts.json]
"""

import http.client
import json
import os
import secrets
import socket
import sys
import tempfile
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

from yunmo.core.difficult_texts import TEXTS

_SPECIALS_TRIED = 64
_RPC_SECONDS = 60.0

_KEPT: list[object] = []
"""What is never given back: llama.cpp's server may wait for ever for its own thread to end."""


def main(file: str, tokenizer_file: str, texts_file: str | None = None) -> None:
    """Print the problem, if there is one."""
    further = json.loads(Path(texts_file).read_text("utf-8")) if texts_file else []
    own = Tokenizer.from_file(tokenizer_file)
    composes = own.normalizer is not None
    specials = [str(each) for each in own.get_added_tokens_decoder().values()][:_SPECIALS_TRIED]
    inside = [form.format(each) for each in specials for form in ("{0}", "a{0}b", "over {0} there", "{0}{0}\n{0}")]
    with tempfile.TemporaryDirectory(prefix="yunmo-proof-") as room:
        llama = _Llama(file, Path(room) / "llama.sock")
        for number, text in enumerate((TEXTS[0], *TEXTS, *inside, *further)):
            adds_special = number == 0
            # llama.cpp never composes characters; the engine llama_cpp does it for it
            found = llama.tokens(unicodedata.normalize("NFC", text) if composes else text, adds_special)
            expected = own.encode(text, add_special_tokens=adds_special).ids
            if found != expected:
                place = next((at for at, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), len(found))
                sys.stdout.write(
                    f"{text[:60]!r} is {found[place : place + 6]} from the {place + 1}th token on, not {expected[place : place + 6]}"
                )
                return


class _Llama:
    def __init__(self, file: str, path: Path) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = file
        params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = 1, 64, 32, 32
        params.warmup = params.ui = params.fit_params = False
        params.offline, params.verbosity = True, -1
        self._path, self._key = str(path), secrets.token_hex(16)
        params.hostnames, params.api_keys = [self._path], [self._key]
        _KEPT.append(xllamacpp.Server(params))

    def tokens(self, text: str, adds_special: bool) -> list[int]:
        connection = http.client.HTTPConnection("localhost", timeout=_RPC_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_RPC_SECONDS)
        connection.sock.connect(self._path)
        try:
            body = json.dumps({"content": text, "add_special": adds_special})
            connection.request("POST", "/tokenize", body, {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"})
            found: list[int] = json.loads(connection.getresponse().read())["tokens"]
        finally:
            connection.close()
        return found


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
