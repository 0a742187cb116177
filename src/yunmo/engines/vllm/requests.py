"""Our requests as vLLM's sampling parameters; what it cannot do is refused."""

import json
from types import SimpleNamespace
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from yunmo.core.choosing import choosing_of
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Chat, Generate
from yunmo.engines.chats import checks
from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.chats.text import Text
from yunmo.engines.vllm.forms import structural_tag

MOST_LOGPROBS = 20
_SEEDS = 2**63
_HOTTEST = 2.0


def check(request: Chat | Generate) -> None:
    """Raise Unsupported or InvalidRequest for what cannot be answered as asked."""
    sampling = request.sampling
    refused = {"typical_p": sampling.typical_p not in {None, 1.0}, "beams": sampling.beams not in {None, 1}}
    checks.check("vllm", request, refused)
    if not 0 <= (request.top_logprobs or 0) <= MOST_LOGPROBS:
        raise InvalidRequest(f"`top_logprobs` is {request.top_logprobs}; it must be from 0 to {MOST_LOGPROBS}.", param="top_logprobs")
    if (sampling.temperature or 0.0) > _HOTTEST:
        raise InvalidRequest(f"`temperature` is {sampling.temperature}; this engine takes 0 to {_HOTTEST:g}.", param="temperature")


def parameters_of(request: Chat | Generate, text: Text, room: int, choice: int) -> Any:
    """How one choice is written: at most `room` tokens, until one of the model's ends; its own defaults where nothing is asked.

    A request's seed is moved by the choice's number, so that its choices differ; without one they are drawn from vLLM's own.
    """
    sampling = request.sampling
    choosing = choosing_of(sampling, SimpleNamespace(**text.defaults), text.vocabulary)
    try:
        return SamplingParams(
            max_tokens=min(room, sampling.max_tokens or room),
            temperature=min(choosing.temperature, _HOTTEST),
            top_p=choosing.top_p,
            top_k=choosing.top_k,
            min_p=choosing.min_p,
            repetition_penalty=choosing.repetition_penalty,
            frequency_penalty=choosing.frequency_penalty,
            presence_penalty=choosing.presence_penalty,
            logit_bias=choosing.logit_bias or None,
            seed=None if choosing.seed is None else (choosing.seed + choice) % _SEEDS,
            logprobs=request.top_logprobs,
            stop_token_ids=sorted(text.ends),
            ignore_eos=True,  # it is among the ends, if the model has one
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
    except ValueError as error:
        raise InvalidRequest(f"The sampling cannot be used: {error}", param="sampling") from error


def structured_output(form: Constraint) -> Any:
    """A form as vLLM's own object."""
    match form.kind:
        case "json_schema":
            return StructuredOutputsParams(json=form.value)
        case "calls":
            return StructuredOutputsParams(structural_tag=json.dumps(structural_tag(form)))
        case kind:
            return StructuredOutputsParams(**{kind: form.value})
