"""Program that converts an encoder-decoder to CTranslate2's format in every precision, proven against the transformers library.

`python -m yunmo.engines.ctranslate2.convert DIRECTORY OUTPUT` runs in a process of its own, so that the memory of the
reference goes with it. Every line that it prints is JSON: `{"step", "share"}`, and at most one `{"problem"}` at the end.
"""

import json
import sys
from pathlib import Path
from typing import Any

from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.engines.ctranslate2.converted import FORMAT, PRECISIONS, Converted, sizes_of, versions, write_facts
from yunmo.engines.ctranslate2.families import Family, family_of
from yunmo.engines.ctranslate2.parts import first_line, load_tokenizer
from yunmo.engines.ctranslate2.proving import expectations, prove
from yunmo.engines.telling import run_program, say

_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError)


def main() -> None:
    """Convert as the arguments say; the exit code is 1 if it could not be done."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    run_program(lambda: convert(Path(sys.argv[1]), Path(sys.argv[2])))


def convert(directory: Path, output: Path) -> Converted:
    """Write the model in every precision with the facts of its proof.

    Raises InvalidRequest for what cannot be converted, EngineFailed for what came out otherwise.
    """
    family = _family(directory)
    say("loading the reference", 0.05)
    model = load_reference(directory, family)
    tokenizer = load_tokenizer(directory)
    say("writing sample texts", 0.3)
    expected = expectations(model, tokenizer)
    for number, (precision, quantization) in enumerate(PRECISIONS.items()):
        say(f"converting to {precision}", 0.5 + 0.2 * number)
        rows = _write(model, family, quantization, output / precision)
    settings = _settings(model)
    del model
    say("comparing with the reference", 0.9)
    proof = prove(output / "fp32", PRECISIONS["fp32"], expected, settings)
    int8 = prove(output / "int8", PRECISIONS["int8"], expected, settings)
    problem = proof.problem()
    if problem:
        raise EngineFailed(problem)
    facts = Converted(
        format=FORMAT,
        rows=rows,
        settings=settings,
        texts=len(expected),
        agreement=proof.agreement,
        error=proof.error,
        int8_error=int8.error,
        sizes=sizes_of(output),
        versions=versions(),
    )
    write_facts(output, facts)
    return facts


def load_reference(directory: Path, family: Family) -> Any:
    """The model as the transformers library computes it in fp32. Raises InvalidRequest if its weights do not fit."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, family.architecture).from_pretrained(
            str(directory),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            low_cpu_mem_usage=True,
            output_loading_info=True,
        )
    except _FAULTS as error:
        raise InvalidRequest(f"the reference cannot be loaded: {first_line(error)}") from error
    missing = sorted(report["missing_keys"]) or sorted(str(each[0]) for each in report["mismatched_keys"])
    if missing:
        raise InvalidRequest(f"the weights do not fit config.json: {missing[0]} is missing or has another shape")
    return model.eval()


def _family(directory: Path) -> Family:
    from yunmo.core.engine import ModelDescription

    names = ("config.json", "generation_config.json")
    documents = {name: json.loads((directory / name).read_text("utf-8")) for name in names if (directory / name).is_file()}
    family = family_of(ModelDescription(repository=directory.name, revision="", files={}, documents=documents))
    if family is None:
        raise InvalidRequest("its configuration describes a model that CTranslate2 does not compute exactly so")
    return family


def _write(model: Any, family: Family, quantization: str, folder: Path) -> int:
    """Save the model; returns how many tokens it knows, each of which is named by its id."""
    import torch
    from ctranslate2.converters import transformers as library

    _describe(model, family)
    try:
        with torch.no_grad():
            specification = getattr(library, family.loader)().get_model_spec(model)
        size = specification.get_source_vocabulary_size()
        rows = int(size[0] if isinstance(size, list) else size)
        names = [str(row) for row in range(rows)]
        specification.register_source_vocabulary(names)
        specification.register_target_vocabulary(names)
        _name_specials(specification.config, model, rows)
        specification.validate()
        specification.optimize(quantization)
        folder.mkdir()
        specification.save(str(folder))
    except _FAULTS as error:
        raise InvalidRequest(f"CTranslate2's converter does not take it: {first_line(error)}") from error
    return rows


def _describe(model: Any, family: Family) -> None:
    """Say in the configuration what the loaders look for there, and newer files and libraries say otherwise or not at all."""
    config = model.config
    if family.pre_norm is not None:
        config.normalize_before = family.pre_norm
        config.normalize_embedding = family.embedding_norm
    if config.model_type in {"t5", "mt5"}:
        # the loaders read from it whether scores are scaled; transformers 5 always sets it, and scales for another reason
        config.tie_word_embeddings = bool(getattr(config, "scale_decoder_outputs", False))


def _name_specials(config: Any, model: Any, rows: int) -> None:
    end = model.generation_config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    start = model.generation_config.decoder_start_token_id
    start = model.config.decoder_start_token_id if start is None else start
    if not isinstance(end, int) or not isinstance(start, int):
        raise InvalidRequest("its generation_config.json does not say with which tokens a text begins and ends")
    # a Marian model begins with nothing at all: its padding token, whose row is zero and not converted
    config.decoder_start_token = str(start if start < rows else end)
    config.bos_token = config.eos_token = config.unk_token = str(end)


def _settings(model: Any) -> dict[str, Any]:
    given: dict[str, Any] = model.generation_config.to_dict()
    return {name: value for name, value in given.items() if value is not None and not name.startswith("_")}


if __name__ == "__main__":
    main()
