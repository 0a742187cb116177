"""The program that tries constraints out before a model is held to them, in a process of its own.

It compiles them as vLLM does, with xgrammar. What crashes, takes too long or too much memory ends here and not where all requests are answered.
A line of standard input is a Constraint as JSON; each is answered by a line with {"problem"}, empty for a form that text can be held to.
"""

import json
import resource
import signal
import sys
from typing import Any

import msgspec
import xgrammar
from transformers import AutoTokenizer

from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.vllm.forms import structural_tag

SECONDS = 1.5
_SPARE_BYTES = 1 << 30


def main(directory: str, vocabulary: int, ends: list[int]) -> None:
    """Answer lines until there are no more."""
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    tokens = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
    compiler = xgrammar.GrammarCompiler(tokens, max_threads=1, cache_enabled=False)
    _limit()
    for line in sys.stdin:
        # nothing handles the signal: it ends the process, however deep in a loop it is
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        problem = _problem(compiler, msgspec.json.decode(line, type=Constraint), ends, vocabulary)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps({"problem": problem}) + "\n")
        sys.stdout.flush()


def _problem(compiler: Any, form: Constraint, ends: list[int], vocabulary: int) -> str:
    try:
        matcher = xgrammar.GrammarMatcher(_compiled(compiler, form), override_stop_tokens=ends)
        mask = xgrammar.allocate_token_bitmask(1, vocabulary)
        is_open = matcher.fill_next_token_bitmask(mask) is False
    except (RuntimeError, ValueError, MemoryError) as error:
        return _said(str(error))
    return "" if is_open or bool(mask.any()) else "no text fits it"


def _compiled(compiler: Any, form: Constraint) -> Any:
    match form.kind:
        case "json_schema":
            return compiler.compile_json_schema(form.value, any_whitespace=True)
        case "regex":
            return compiler.compile_regex(form.value)
        case "grammar":
            return compiler.compile_grammar(form.value)
        case _:
            return compiler.compile_structural_tag(json.dumps(structural_tag(form)))


def _said(error: str) -> str:
    """The library's words without its source's path and the time."""
    lines = [line for line in error.strip().splitlines() if line.strip()]
    if not lines:
        return "it cannot be read"
    last = lines[-1]
    return (last.rpartition(".cc:")[2].partition(": ")[2] if ".cc:" in last else last)[:300]


def _limit() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is one more import
        most = int(file.read().split()[0]) * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(each) for each in sys.argv[3].split(",") if each])
