"""Program that makes the eight-bit graph of an exported model.

`python -m yunmo.engines.onnx.quantize EXPORT OUTPUT FORMAT WEIGHTS` reads the folder of an fp32 export and writes the graph for the
format (`onnx` or `openvino`) into OUTPUT, with the facts and the tokenizer beside it. It speaks as `export` does, and is a process
of its own for the same reason.

ONNX Runtime computes most products with one scale for a text's activations, and those that the outputs are sensitive to with one
per token, or in fp32 (`sensitivity`). OpenVINO quantises activations by groups within each token itself, so it is given eight-bit
weights alone. On two AVX-512 VNNI cores a fine-tuned MiniLM keeps 99.5 % of its labels in both.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Literal

import msgspec

from yunmo.core.engine import Plan
from yunmo.core.errors import EngineFailed
from yunmo.engines.onnx.encode import Tokens
from yunmo.engines.onnx.exported import FACTS, GRAPH, GRAPH_INT8, TOKENIZER, Exported, output_names, read_exported
from yunmo.engines.onnx.graphs import read_graph, write_graph
from yunmo.engines.onnx.network import Passage, load_network
from yunmo.engines.onnx.passages import PASSAGES
from yunmo.engines.onnx.products import Choice, with_forms
from yunmo.engines.onnx.sensitivity import Trials, choose, fit_sites, relative_error
from yunmo.engines.telling import run_program, say

Format = Literal["onnx", "openvino"]
Weights = Literal["s8", "u8"]

_MOST_TOKENS = 64


def main() -> None:
    """Quantise as the arguments say."""
    source, output, form, weights = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    run_program(lambda: quantize(source, output, form, weights))  # type: ignore[arg-type]


def quantize(source: Path, output: Path, form: Format, weights: Weights = "s8") -> Exported:
    """Write the eight-bit graph, and return the facts with its drift from fp32 and the form of every product.

    `weights` in u8 are for processors without VNNI and take longer elsewhere.
    """
    facts = read_exported(source)
    if facts is None:
        raise EngineFailed(f"There is no finished export in {source}. Deploy the model again.")
    say("measuring what eight bits change", 0.1)
    threads = len(os.sched_getaffinity(0))
    trials = Trials(source / GRAPH, _passages(source, facts), output_names(facts.head), facts.head != "embed")
    choices: dict[str, Choice]
    if form == "openvino":
        choices = {name: forms["weights"].choice for name, forms in fit_sites(trials, ("weights",), threads).items()}
    else:
        choices = choose(trials, threads)
    say("quantising to int8", 0.7)
    write_graph(with_forms(read_graph(source / GRAPH), choices, unsigned=weights == "u8"), output / GRAPH_INT8)
    answers = [
        trials.answers(load_network(graph, Plan(engine="onnx", format=form, precision=precision)))
        for graph, precision in ((source / GRAPH, "fp32"), (output / GRAPH_INT8, "int8"))
    ]
    facts = msgspec.structs.replace(
        facts, int8_drift=relative_error(*answers), int8_forms={name: choice.form for name, choice in choices.items()}
    )
    shutil.copyfile(source / TOKENIZER, output / TOKENIZER)
    (output / FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
    say("quantised", 1.0)
    return facts


def _passages(source: Path, facts: Exported) -> list[Passage]:
    tokens = Tokens(source / TOKENIZER, facts.tokenizer)
    encodings = [tokens.truncate(text, max_tokens=_MOST_TOKENS) for text in PASSAGES]
    return [Passage(each.ids, each.type_ids if facts.tokenizer.has_token_types else None) for each in encodings]


if __name__ == "__main__":
    main()
