"""The program that tries constraints out before a model is held to them, in a process of its own.

It compiles them as vLLM does, with xgrammar, and speaks as `chats.trying` does.
"""

import json
import sys
from typing import Any

import xgrammar
from transformers import AutoTokenizer

from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.chats.trying import answer_lines, said
from yunmo.engines.vllm.forms import structural_tag


def main(directory: str, vocabulary: int, ends: list[int]) -> None:
    """Answer lines until there are no more."""
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    tokens = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
    compiler = xgrammar.GrammarCompiler(tokens, max_threads=1, cache_enabled=False)
    answer_lines(lambda _number, form: _problem(compiler, form, ends, vocabulary))


def _problem(compiler: Any, form: Constraint, ends: list[int], vocabulary: int) -> str:
    try:
        matcher = xgrammar.GrammarMatcher(_compiled(compiler, form), override_stop_tokens=ends)
        mask = xgrammar.allocate_token_bitmask(1, vocabulary)
        is_open = matcher.fill_next_token_bitmask(mask) is False
    except (RuntimeError, ValueError, MemoryError) as error:
        return said(error)
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


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(each) for each in sys.argv[3].split(",") if each])
