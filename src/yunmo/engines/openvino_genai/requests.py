"""Our requests as OpenVINO GenAI's generation configs; what it cannot do is refused."""

import secrets
from typing import Any

import openvino_genai

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Chat, Generate, Sampling
from yunmo.engines.chats import checks
from yunmo.engines.chats.text import Text

_SEEDS = 2**32


def check(request: Chat | Generate) -> None:
    """Raise Unsupported or InvalidRequest for what cannot be answered as asked."""
    sampling = request.sampling
    refused = {
        "top_logprobs": bool(request.top_logprobs),
        "logit_bias": bool(sampling.logit_bias),
        "typical_p": sampling.typical_p not in {None, 1.0},
        "beams": sampling.beams not in {None, 1},
    }
    checks.check("openvino_genai", request, refused)


def config_of(request: Chat | Generate, text: Text, room: int, choice: int) -> Any:
    """How one choice is written: at most `room` tokens, until one of the model's ends; its own defaults where nothing is asked.

    Each choice draws with a seed of its own: the request's, moved by its number, or a random one.
    """
    sampling, defaults = request.sampling, text.defaults
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = min(room, sampling.max_tokens or room)
    config.stop_token_ids = set(text.ends)
    config.eos_token_id = min(text.ends, default=0)
    config.ignore_eos = not text.ends
    config.logprobs = int(request.top_logprobs is not None)
    config.repetition_penalty = _number(sampling.repetition_penalty, defaults.get("repetition_penalty"), 1.0)
    config.presence_penalty = sampling.presence_penalty or 0.0
    config.frequency_penalty = sampling.frequency_penalty or 0.0
    samples = bool(defaults.get("do_sample")) or any((sampling.top_p, sampling.top_k, sampling.min_p))
    temperature = sampling.temperature if sampling.temperature is not None else _number(None, defaults.get("temperature"), 1.0) * samples
    if temperature > 0:
        _draw(config, sampling, defaults, temperature, choice)
    try:
        config.validate()
    except RuntimeError as error:
        reason = str(error).rsplit("\n", 1)[-1] or "a value is out of its range"
        raise InvalidRequest(f"The sampling cannot be used: {reason}", param="sampling") from error
    return config


def _draw(config: Any, sampling: Sampling, defaults: dict[str, Any], temperature: float, choice: int) -> None:
    config.do_sample = True
    config.rng_seed = secrets.randbelow(_SEEDS) if sampling.seed is None else (sampling.seed + choice) % _SEEDS
    config.temperature = temperature
    config.top_p = _number(sampling.top_p, defaults.get("top_p"), 1.0)
    top_k = int(_number(sampling.top_k, defaults.get("top_k"), 0))
    if top_k > 0:
        config.top_k = top_k
    config.min_p = _number(sampling.min_p, defaults.get("min_p"), 0.0)


def _number(asked: float | None, default: Any, otherwise: float) -> float:
    return asked if asked is not None else float(default) if isinstance(default, int | float) else otherwise
