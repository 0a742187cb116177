"""Generation parameters of transformers and of TGI in the terms of `core.tasks.Sampling`."""

from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import OutputFormat, Sampling
from yunmo.web.dialects.hf.bodies import GenerationParameters, Grammar, SummarizeParameters, TextGenerationParameters
from yunmo.web.dialects.hf.decode import refuse

_NO_SAMPLING = Sampling()
_WITHOUT_TWIN = ("early_stopping", "epsilon_cutoff", "eta_cutoff", "min_length", "min_new_tokens", "num_beam_groups", "penalty_alpha")


def sampling_of(parameters: GenerationParameters | None) -> Sampling:
    """The sampling that these parameters ask for. Raises Unsupported for one that we have no twin of."""
    if parameters is None:
        return _NO_SAMPLING
    refuse(parameters, _WITHOUT_TWIN)
    return Sampling(
        max_tokens=parameters.max_new_tokens or parameters.max_length,
        temperature=_temperature(parameters.do_sample, parameters.temperature),
        top_p=parameters.top_p,
        top_k=parameters.top_k,
        typical_p=parameters.typical_p,
        seed=parameters.seed,
        repetition_penalty=parameters.repetition_penalty,
        beams=parameters.num_beams,
    )


def rewriting(parameters: SummarizeParameters | None) -> tuple[Sampling, bool]:
    """The sampling of a summary or a translation, and whether a text that is too long is cut."""
    if parameters is None:
        return _NO_SAMPLING, False
    refuse(parameters, ("clean_up_tokenization_spaces",))
    return sampling_of(parameters.generate_parameters), parameters.truncation not in {None, "do_not_truncate"}


def generation(parameters: TextGenerationParameters) -> Sampling:
    """The sampling of a text generation. Raises Unsupported for what no engine has."""
    refuse(parameters, ("adapter_id",))
    for name, is_asked in (
        ("best_of", (parameters.best_of or 1) > 1),
        ("decoder_input_details", parameters.decoder_input_details),
        ("watermark", parameters.watermark),
    ):
        if is_asked:
            raise Unsupported(f"The parameter '{name}' is not supported. Leave it out.", param=name)
    return Sampling(
        max_tokens=parameters.max_new_tokens,
        temperature=_temperature(parameters.do_sample, parameters.temperature),
        top_p=parameters.top_p,
        top_k=parameters.top_k,
        typical_p=parameters.typical_p,
        seed=parameters.seed,
        stop=tuple(parameters.stop or ()),
        frequency_penalty=parameters.frequency_penalty,
        repetition_penalty=parameters.repetition_penalty,
    )


def output_format(grammar: Grammar | None) -> OutputFormat | None:
    """The form that a grammar asks for; TGI's `json` and `json_schema` both carry a JSON schema, as an object or as text."""
    if grammar is None:
        return None
    if grammar.type == "regex":
        if not isinstance(grammar.value, str):
            raise InvalidRequest("A grammar of type 'regex' takes a regular expression as its value.", param="grammar")
        return OutputFormat("regex", grammar.value)
    schema = _schema(grammar.value)
    if grammar.type == "json_schema" and isinstance(schema.get("schema"), dict):
        schema = schema["schema"]
    return OutputFormat("json_schema", msgspec.json.encode(schema).decode())


def _schema(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(f"The grammar's value is not a JSON schema: {error}.", param="grammar") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The grammar's value must be a JSON schema: an object, or the text of one.", param="grammar")
    return value


def _temperature(do_sample: bool | None, temperature: float | None) -> float | None:
    """Transformers' greedy decoding is temperature 0 here; asking to sample without saying how is temperature 1."""
    if do_sample is False:
        return 0.0
    return 1.0 if do_sample and temperature is None else temperature
